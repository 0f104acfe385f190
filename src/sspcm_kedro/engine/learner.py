"""One training from settings: networks, optimiser and schedule, and all that a resume needs."""

import hashlib
import json
from typing import Any

import torch
from torch import nn

from sspcm_kedro.data.loader import mixed_seed
from sspcm_kedro.engine.optimiser import StepDecay, adam
from sspcm_kedro.engine.settings import TrainingConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import NAMES, MakeNet, Method
from sspcm_kedro.nets import NetworkConfig

State = dict[str, Any]
"""Tensors, numbers and text: what ``torch.load(weights_only=True)`` reads."""


def network_maker(network: NetworkConfig, keypoints: int, seed: int) -> MakeNet:
    """Builds the networks of an experiment; the i-th's weights depend on (seed, i) alone."""

    def make(index: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # torch's initialisers know no other generator
            torch.manual_seed(mixed_seed(seed, 5, index))
            return network.build(keypoints, NAMES[index])

    return make


class Learner:
    """A method with its optimiser, and where it stands.

    Attributes:
        method: on its device.
        optimiser: over the method's parameters.
        schedule: over the whole training.
        epoch: epochs done.
        history: a row for each of them.
    """

    def __init__(
        self, method: MethodConfig, make_net: MakeNet, training: TrainingConfig,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.method: Method = method.build(make_net).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimiser = adam(self.method, training.learning_rate)
        total = training.epochs * training.steps
        self.schedule = StepDecay(training.learning_rate, training.milestones, total)
        self.epoch = 0
        self.history: list[dict[str, float | str]] = []

    def state(self, fingerprint: str) -> State:
        """All that is needed to go on, and the fingerprint of what it came from."""
        return {
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "fingerprint": fingerprint,
            "deployed": self.method.deployed,
        }

    def restore(self, state: State) -> None:
        """Go on from a state. Networks and optimiser end up on this learner's device."""
        self.method.load_state_dict(state["method"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch = state["epoch"]
        self.history = list(state["history"])


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits that change when any of the parts (JSON-able, or frames' bytes) does."""
    digest = hashlib.sha256()
    for part in parts:
        data = (
            part
            if isinstance(part, bytes)
            else json.dumps(part, sort_keys=True, default=str).encode()
        )
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def networks_of(state: State, network: NetworkConfig, keypoints: int) -> dict[str, nn.Module]:
    """The trained networks in a state, by name, on the CPU and in eval mode."""
    prefix = "networks."
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in state["method"].items():
        if key.startswith(prefix):
            name, _, rest = key.removeprefix(prefix).partition(".")
            weights.setdefault(name, {})[rest] = value
    networks = {}
    for name, values in weights.items():
        maker = network_maker(network.bare(), keypoints, 0)
        net = maker(NAMES.index(name)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        net.load_state_dict(values)
        networks[name] = net.eval()
    return networks
