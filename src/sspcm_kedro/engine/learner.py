"""One training from settings: networks, optimizer and schedule, and all that a resume needs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from torch import nn

from sspcm_kedro.engine.compiled import learning_step
from sspcm_kedro.engine.fit import EpochPart
from sspcm_kedro.engine.optimizer import TrainingConfig, adam
from sspcm_kedro.engine.precision import set_precision
from sspcm_kedro.machine import Compile
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import AVERAGES, MakeNet, Method
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.seeds import Stream, stream_seed

State = dict[str, Any]
"""Tensors, numbers and text: what ``torch.load(weights_only=True)`` reads."""

FIRST = ["stage", "epoch", "step"]
"""The first columns of a history."""


def network_maker(network: NetworkConfig, keypoints: int, seed: int, *, stride: int = 4) -> MakeNet:
    """Builds the networks of an experiment; the i-th's weights depend on (seed, i) alone."""

    def make(index: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # torch's initializers know no other generator
            torch.manual_seed(stream_seed(seed, Stream.WEIGHTS, index))
            return network.build(keypoints, ROLES[index], stride=stride)

    return make


class Learner:
    """A method with its optimizer, and where it stands.

    Attributes:
        kind: of the method.
        method: on its device.
        optimizer: over the method's parameters.
        schedule: over the whole training.
        learn: the method's training step with its backward pass, or what is made of them.
        epoch: epochs done.
        part: where the next one stands; None at its start.
        history: a row for each of them.

    Raises:
        BadInput: the method learns from averages that the training does not keep.
    """

    def __init__(
        self, method: MethodConfig, make_net: MakeNet, codec: HeatmapCodec,
        training: TrainingConfig, device: torch.device, compiled: Compile | None = None,
    ) -> None:  # fmt: skip
        training.check(method)
        self.kind = method.kind
        built = method.build(make_net, codec)
        if training.average_decay is not None:
            built.keep_averages(training.average_decay)
        set_precision(built, training.precision)
        self.method: Method = built.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = adam(self.method, training.learning_rate, training.backbone_rate)
        self.schedule = training.schedule()
        self.learn = learning_step(self.method, compiled)
        self.epoch = 0
        self.part: EpochPart | None = None
        self.history: list[dict[str, float | str]] = []

    def state(self, origin: Mapping[str, Any]) -> State:
        """All that is needed to go on, and what ``record.origin`` says of what it came from."""
        return {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "part": None if self.part is None else asdict(self.part),
            "history": self.history,
            "kind": self.kind,
            "deployed": self.method.deployed,
            "labelers": list(self.method.labelers),
            **origin,
        }

    def table(self) -> pd.DataFrame:
        """The history; in the middle of a first epoch its first columns, without a line."""
        return pd.DataFrame(self.history) if self.history else pd.DataFrame(columns=FIRST)

    def restore(self, state: State) -> None:
        """Go on from a state. Networks and optimizer end up on this learner's device."""
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        part = state.get("part")  # checkpoints of older versions are all of whole epochs
        self.part = None if part is None else EpochPart(**part)
        self.history = list(state["history"])


def is_averaged(state: State) -> bool:
    """Whether averages of the weights are kept beside the weights."""
    return any(key.startswith(f"{AVERAGES}.") for key in state["method"])


def networks_of(
    state: State, network: NetworkConfig, keypoints: int, *, stride: int = 4, last: bool = False
) -> dict[str, nn.Module]:
    """The trained networks in a state, by name, on the CPU and in eval mode.

    Args:
        state: of a learner.
        network: what they are.
        keypoints: their channels.
        stride: input pixels a heatmap cell.
        last: with the weights after the last step, where averages are kept beside them, which are
            what predicts.
    """
    prefix = "networks." if last or not is_averaged(state) else f"{AVERAGES}."
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state["method"].items():
        if key.startswith(prefix):
            name, _, rest = key.removeprefix(prefix).partition(".")
            weights.setdefault(name, {})[rest] = value
    networks: dict[str, nn.Module] = {}
    for name, values in weights.items():
        maker = network_maker(network.bare(), keypoints, 0, stride=stride)
        net = maker(ROLES.index(name)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        net.load_state_dict(values)
        networks[name] = net.eval()
    return networks
