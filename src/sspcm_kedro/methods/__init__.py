"""Learning algorithms, and the tagged union that chooses one.

A new method is a file with a ``Method`` and its config, and one word in the union below.
"""

from typing import Annotated

from pydantic import Field, RootModel, model_validator

from sspcm_kedro.methods.base import MakeNet, Method
from sspcm_kedro.methods.pose_cons import PoseConsConfig
from sspcm_kedro.methods.pose_dual import PoseDualConfig
from sspcm_kedro.methods.sspcm import SSPCMConfig
from sspcm_kedro.methods.supervised import SupervisedConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec


class MethodConfig(
    RootModel[
        Annotated[
            SupervisedConfig | PoseConsConfig | PoseDualConfig | SSPCMConfig,
            Field(discriminator="kind"),
        ]
    ]
):
    """Which algorithm a run trains."""

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> Method:
        """The algorithm, its networks made by ``make_net``."""
        return self.root.build(make_net, codec)


class ComparisonConfig(MethodConfig):
    """A method that needs no stored predictions."""

    @model_validator(mode="after")
    def _keeps_its_own_past(self) -> "ComparisonConfig":
        if isinstance(self.root, SSPCMConfig) and self.root.snapshot_every is None:
            raise ValueError(
                "a comparison of kind sspcm has no rounds to read an earlier period from; "
                "set comparison.snapshot_every (optimizer steps)"
            )
        return self
