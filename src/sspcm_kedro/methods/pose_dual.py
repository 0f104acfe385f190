"""PoseDual (Xie, Wang, Wu and Wang, ICCV 2021): two networks teach each other."""

from typing import ClassVar, Literal

from sspcm_kedro.methods.pose_cons import CutoutSettings, PoseCons


class PoseDual(PoseCons):
    """Each network learns, on a view cut out at the other's keypoints, what the other saw.

    The strong view is shared by both. The supervised loss is the mean of theirs.
    """

    deployed = "teacher_a"
    labelers = ("teacher_a", "teacher_b")
    places: ClassVar = {"teacher_a": 0, "teacher_b": 1}
    supervised_weight = 0.5


class PoseDualConfig(CutoutSettings):
    """PoseDual's numbers: two networks."""

    kind: Literal["pose_dual"]
    method = PoseDual
