"""The yardstick: the labels alone."""

from typing import Literal

from torch import Tensor, nn

from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.batch import Batch
from sspcm_kedro.methods.base import MakeNet, Method, MethodSettings
from sspcm_kedro.pose.heatmap import HeatmapCodec


class Supervised(Method):
    """One network, labeled people, weak views (SimpleBaseline's training).

    In rounds its predictions are stored and corrected like any other's, for the annotation queue;
    it learns from none of them.
    """

    deployed = "student"
    labelers = ("student",)
    reads = frozenset()

    def __init__(self, make_net: MakeNet) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"student": make_net(2)})

    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        losses = self.losses(supervised=1.0)
        self.add_supervised(losses, batch.labeled)
        return losses.scalars()


class SupervisedConfig(MethodSettings):
    """Supervised training has no settings of its own."""

    labels_read = frozenset()
    kind: Literal["supervised"]

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> Supervised:
        return Supervised(make_net)
