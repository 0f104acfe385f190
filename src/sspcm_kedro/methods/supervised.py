"""The yardstick: the labels alone."""

from typing import Literal

from torch import Generator, Tensor, nn

from sspcm_kedro.batch import Batch
from sspcm_kedro.config import Settings
from sspcm_kedro.methods.base import MakeNet, Method, per_network
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse


class Supervised(Method):
    """One network, labeled people, weak views (SimpleBaseline's training)."""

    deployed = "student"
    needs_unlabeled = False

    def __init__(self, make_net: MakeNet) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"student": make_net(2)})

    def training_step(self, batch: Batch, rng: Generator) -> dict[str, Tensor]:
        labeled = batch.labeled
        predicted = self.networks["student"](labeled.images)
        loss = keypoint_mse(predicted, labeled.heatmaps, labeled.weights)
        return {"loss/supervised": loss, **per_network("supervised", self.networks, [loss])}


class SupervisedConfig(Settings):
    """Supervised training has no settings of its own."""

    kind: Literal["supervised"]

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> Supervised:
        return Supervised(make_net)
