"""Networks, and the tagged union that chooses one."""

from typing import Annotated, Literal, Self

from pydantic import Field, RootModel
from torch import nn

from sspcm_kedro.config import Settings
from sspcm_kedro.nets.hrnet import HRNetConfig
from sspcm_kedro.nets.simple_baseline import SimpleBaselineConfig
from sspcm_kedro.nets.small_baseline import SmallBaselineConfig
from sspcm_kedro.nets.weights import PublishedConfig

ROLES = ("teacher_a", "teacher_b", "student")
"""What the networks of a method may be called; each starts from weights of its own."""

OneNetwork = SmallBaselineConfig | SimpleBaselineConfig | HRNetConfig
"""Every kind of network; the README says what one is."""


class TeacherStudentConfig(Settings):
    """Networks by role: large teachers train a small student, or one teacher differs."""

    kind: Literal["teacher_student"]
    teacher: OneNetwork = Field(discriminator="kind")
    teacher_b: OneNetwork | None = Field(
        default=None, discriminator="kind", description="null: as ``teacher``"
    )
    student: OneNetwork = Field(discriminator="kind")

    def of(self, name: str) -> OneNetwork:
        """The network of a role."""
        if name == "student":
            return self.student
        return (self.teacher_b or self.teacher) if name == "teacher_b" else self.teacher

    def bare(self) -> Self:
        """The same networks without weights to start from."""
        parts = {"teacher": self.teacher, "teacher_b": self.teacher_b, "student": self.student}
        return self.model_copy(update={name: net and net.bare() for name, net in parts.items()})


class NetworkConfig(
    RootModel[Annotated[OneNetwork | TeacherStudentConfig, Field(discriminator="kind")]]
):
    """Which network all networks of a run have, or which the teachers and which the student."""

    def of(self, name: str) -> OneNetwork:
        """The network of a role: teacher_a, teacher_b or student."""
        return self.root.of(name) if isinstance(self.root, TeacherStudentConfig) else self.root

    def files(self) -> list[str]:
        """What its networks start from: names of weights, or of files."""
        values = [self.of(name).model_dump() for name in ROLES]
        names = (v.get(key) for v in values for key in ("weights", "checkpoint"))
        return sorted({name for name in names if name})

    def need_start(self) -> None:
        """Refuse what its networks could not start from, before anything is built.

        Raises:
            BadInput: a file does not exist, a name is unknown, or its package is not installed.
        """
        for name in ROLES:
            if isinstance(network := self.of(name), PublishedConfig):
                network.need_start()

    def fetch_start(self) -> None:
        """Download what its networks start from, where it is not on this machine yet.

        Raises:
            BadInput: it cannot be had.
        """
        fetched: list[OneNetwork] = []
        for name in ROLES:
            network = self.of(name)
            if isinstance(network, PublishedConfig) and network not in fetched:
                network.fetch_start()
                fetched.append(network)

    def bare(self) -> Self:
        """The same without weights to start from: what trained weights are loaded into."""
        return type(self)(self.root.bare())

    def build(self, keypoints: int, name: str = "student", *, stride: int = 4) -> nn.Module:
        """The network of a role; all have the same unless the kind is ``teacher_student``."""
        return self.of(name).build(keypoints, stride=stride)


def parameter_count(net: nn.Module) -> int:
    """Trainable numbers in a network."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
