"""How fast this machine is: real steps of a method, timed on noise."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator

from sspcm_kedro.batch import Batch
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.compiled import learning_step
from sspcm_kedro.engine.optimizer import TrainingConfig, adam
from sspcm_kedro.engine.precision import allow_tf32, set_precision
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pipelines.plan.cost import META, blank_batch, blank_method, step_cost


@dataclass(frozen=True)
class Throughput:
    """What a device did.

    Attributes:
        tflops: 10^12 counted FLOPs per second of whole training steps.
        device: as torch calls it.
        labeled: people with labels in the steps that were timed.
        unlabeled: people without.
    """

    tflops: float
    device: str
    labeled: int
    unlabeled: int


def measure(
    config: MethodConfig, network: NetworkConfig, keypoints: int, view: ViewConfig,
    training: TrainingConfig, machine: MachineConfig, *, labeled: int, unlabeled: int,
    repeat: int = 5,
) -> Throughput:  # fmt: skip
    """Time real steps of a method on noise, its optimizer included; the median counts.

    Args:
        config: the method; it is given stored predictions, as in a round.
        network, keypoints, view, training, machine: of ``timed_step``.
        labeled: people with labels in a batch.
        unlabeled: people without.
        repeat: steps that are timed; two go before, for the device to settle.
    """

    def batch(device: torch.device) -> Batch:
        return blank_batch(
            labeled, keypoints, view.input_hw, view.codec, unlabeled=True, stored=True,
            mirrors=view.mirrors, others=unlabeled, device=device,
        )  # fmt: skip

    method = blank_method(config, network, keypoints, view.codec, META, training.average_decay)
    counted = step_cost(method, batch(META), whole=machine.compile in ("step", "graph"))
    device = machine.pick()
    step, given = timed_step(config, network, keypoints, view, training, machine), batch(device)
    seconds = [step(given) for _ in range(repeat + 2)]
    tflops = counted.flops / statistics.median(seconds[2:]) / 1e12
    return Throughput(tflops, str(device), labeled, unlabeled)


def timed_step(
    config: MethodConfig, network: NetworkConfig, keypoints: int, view: ViewConfig,
    training: TrainingConfig, machine: MachineConfig,
) -> Callable[[Batch], float]:  # fmt: skip
    """What does an optimizer step of a method whose weights are noise, and tells the seconds until
    the device has done it.

    Args:
        config: the method.
        network: of the method.
        keypoints: how many.
        view: has the codec.
        training: has the precision, and whether averages are kept.
        machine: has the device, and how steps are compiled.

    Raises:
        BadInput: the device cannot record steps.
    """
    machine.need_compile()
    device = machine.pick()
    method = blank_method(config, network, keypoints, view.codec, device, training.average_decay)
    method.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    set_precision(method, training.precision)
    learn = learning_step(method, machine.compile)
    optimizer, rng = adam(method, training.learning_rate), Generator(device).manual_seed(0)

    def seconds(batch: Batch) -> float:
        began = time.perf_counter()
        with allow_tf32(training.precision == "tf32"):
            optimizer.zero_grad(set_to_none=True)
            learn(batch, rng, 1)
            optimizer.step()
            next(method.parameters()).flatten()[0].item()  # waits for the device
        return time.perf_counter() - began

    return seconds
