"""What training costs, before it is paid: counted on shapes alone, without numbers or data.

Networks and batches live on the meta device, and the step that is counted there is the method's
own. A multiplication and an addition are two FLOPs; convolutions and matrix products are counted,
and nothing else (normalization, activation, warping, losses and the optimizer are small beside
them, in FLOPs).
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from sspcm_kedro.augment.draws import Undrawn
from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.methods.base import Method, total_loss
from sspcm_kedro.nets import ROLES, NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

META = torch.device("meta")


def flop_counter() -> "FlopCounterMode":
    """Counts within its ``with``."""
    from torch.utils import flop_counter as torchs  # noqa: PLC0415 - slow, and few commands need it

    return torchs.FlopCounterMode(display=False)


@dataclass(frozen=True)
class StepCost:
    """One optimizer step of a method.

    Attributes:
        labeled: labeled images in the batch.
        unlabeled: unlabeled images in the batch.
        labeled_networks: how many networks the labeled images go through.
        unlabeled_networks: how many the unlabeled ones go through, frozen copies included.
        forwards: passes of a batch through a network.
        backwards: of these, passes that a gradient goes back through.
        forward_flops: of the whole step.
        backward_flops: of the whole step.
        activation_bytes: the most that forward passes keep at once for backward ones.
    """

    labeled: int
    unlabeled: int
    labeled_networks: int
    unlabeled_networks: int
    forwards: int
    backwards: int
    forward_flops: int
    backward_flops: int
    activation_bytes: int

    @property
    def flops(self) -> int:
        """Forward and backward."""
        return self.forward_flops + self.backward_flops


@dataclass(frozen=True)
class Memory:
    """Bytes that a training holds. A lower bound: there is workspace and fragmentation on top.

    Attributes:
        parameters: of all networks, frozen copies and statistics of batch norm included.
        gradients: of what is trained; with shards their sum, and those of the shard at hand.
        optimizer: Adam's two moments.
        activations: what the largest step keeps for its backward passes, a shard at a time.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer + self.activations


def blank_method(
    config: MethodConfig,
    network: NetworkConfig,
    keypoints: int,
    codec: HeatmapCodec,
    device: torch.device = META,
    average_decay: float | None = None,
) -> Method:
    """The method on a device, its networks at random; published weights are not looked for.

    Where ``training.average_decay`` is given it keeps averages of its networks' weights.
    """
    bare = network.bare()
    with device:
        method = config.build(
            lambda index: bare.build(keypoints, ROLES[index], stride=codec.stride), codec
        )
        if average_decay is not None:
            method.keep_averages(average_decay)
    return method


def blank_batch(
    size: int,
    keypoints: int,
    input_hw: tuple[int, int],
    codec: HeatmapCodec,
    *,
    unlabeled: bool,
    stored: bool,
    mirrors: bool = True,
    others: int | None = None,
    device: torch.device = META,
) -> Batch:
    """A batch of noise, or on the meta device of nothing.

    Args:
        size: labeled people.
        keypoints: keypoints, k.
        input_hw: size of the images.
        codec: whose heatmaps are learned.
        unlabeled: whether there are unlabeled people.
        stored: whether they come with predictions and limbs of an earlier period, as in a round.
        mirrors: whether training mirrors people.
        others: unlabeled people; as many as labeled ones by default.
        device: where.
    """
    with device:
        heatmaps = (size, keypoints, *codec.heatmap_hw(input_hw))
        weights = torch.ones(size, keypoints)
        labeled = Labeled(torch.randn(size, 3, *input_hw), torch.rand(heatmaps), weights)
        if not unlabeled:
            return Batch(labeled)
        size = others or size
        images, weights = torch.randn(size, 3, *input_hw), torch.ones(size, keypoints)
        heatmaps = (size, *heatmaps[1:])
        flip_order = tuple(range(keypoints)) if mirrors else None
        if not stored:
            return Batch(labeled, Unlabeled(images, weights, flip_order=flip_order))
        donors = Donors(torch.randn(size, 3, *input_hw), torch.full((size, 1, 2), 8.0))
        earlier = (torch.rand(heatmaps), torch.rand(heatmaps))
        corrected = torch.rand(heatmaps)
        return Batch(labeled, Unlabeled(images, weights, earlier, donors, flip_order, corrected))


def step_cost(method: Method, batch: Batch, *, whole: bool = False) -> StepCost:
    """Count a step of a method, both on the meta device: its own ``training_step``, and backward.

    Args:
        method: on the meta device.
        batch: there, too.
        whole: one backward pass goes through all networks, in place of one through each.

    Raises:
        ValueError: they are on another device, where the step would be computed.
    """
    if {t.device for t in (*method.parameters(), batch.labeled.images)} != {META}:
        raise ValueError("a step is counted on the meta device; use blank_method and blank_batch")
    passes, backwards, kept = Counter[str](), Counter[str](), _Kept(method)
    seen = set[tuple[str, bool]]()
    unlabeled = 0 if batch.unlabeled is None else len(batch.unlabeled.images)
    most = max(len(batch.labeled.images), unlabeled)

    def watch(name: str, net: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def passed(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            both = len(inputs[0]) > most  # labeled and unlabeled people in one pass
            seen.update((name, labeled) for labeled in (True, False)
                        if both or labeled == (inputs[0] is batch.labeled.images))  # fmt: skip
            passes[name] += 1
            if output.requires_grad:
                output.register_hook(lambda gradient: backwards.update([name]))

        return net.register_forward_hook(passed)

    kinds = {type(net) for net in method.networks.values()}
    networks = {name: net for name, net in method.named_modules() if type(net) in kinds}
    handles = [watch(name, net) for name, net in networks.items()]  # frozen copies among them
    method.train()
    backward_flops: list[int] = []

    def backward(loss: Tensor) -> None:
        with flop_counter() as counter:
            loss.backward()
        backward_flops.append(counter.get_total_flops())

    method.backward = None if whole else backward
    with (
        flop_counter() as step,
        saved_tensors_hooks(kept.keep, lambda tensor: tensor),
    ):
        rest = total_loss(method.training_step(batch, Undrawn()))
        if rest.requires_grad:
            backward(rest)
    method.backward = None
    for handle in handles:
        handle.remove()
    method.zero_grad(set_to_none=True)
    return StepCost(
        labeled=len(batch.labeled.images),
        unlabeled=unlabeled,
        labeled_networks=len({name for name, labeled in seen if labeled}),
        unlabeled_networks=len({name for name, labeled in seen if not labeled}),
        forwards=passes.total(),
        backwards=backwards.total(),
        forward_flops=step.get_total_flops() - sum(backward_flops),
        backward_flops=sum(backward_flops),
        activation_bytes=kept.most,
    )


class _Kept:
    """Storages that autograd keeps for backward, each counted once; parameters are not counted.

    Attributes:
        most: bytes that it kept at the same time.
    """

    def __init__(self, method: nn.Module) -> None:
        self.most, self._bytes = 0, 0
        self._own = {t.untyped_storage()._cdata for t in (*method.parameters(), *method.buffers())}
        self._kept = Counter[int]()

    def keep(self, tensor: Tensor) -> Tensor:
        alias, storage = tensor.detach(), tensor.untyped_storage()
        if storage._cdata not in self._own:
            if not self._kept[storage._cdata]:
                self._bytes += storage.nbytes()
                self.most = max(self.most, self._bytes)
            self._kept[storage._cdata] += 1
            weakref.finalize(alias, self._freed, storage._cdata, storage.nbytes())
        return alias

    def _freed(self, storage: int, size: int) -> None:
        self._kept[storage] -= 1
        self._bytes -= 0 if self._kept[storage] else size


def prediction_flops(network: nn.Module, input_hw: tuple[int, int]) -> int:
    """FLOPs of one image through a network on the meta device, without flip test."""
    with torch.no_grad(), flop_counter() as counter:
        network.eval()(torch.empty(1, 3, *input_hw, device=META))
    return counter.get_total_flops()


def memory_of(method: Method, steps: Iterable[StepCost], shards: int = 1) -> Memory:
    """What training a method needs, given the kinds of steps that it does one after another, and
    in how many parts it does each."""
    return Memory(
        parameters=_bytes((*method.parameters(), *method.buffers())),
        gradients=(1 + (shards > 1)) * _bytes(p for p in method.parameters() if p.requires_grad),
        optimizer=_adam_bytes(method),
        activations=max(step.activation_bytes for step in steps) // shards,
    )


def checkpoint_bytes(method: Method) -> int:
    """Tensors of a stored training state (``Learner.state``): networks, copies and Adam."""
    return _bytes(method.state_dict().values()) + _adam_bytes(method)


def label_bytes(
    people: int, keypoints: int, labelers: int = 2, *, views: bool = False
) -> dict[str, int]:
    """What a round stores about unlabeled people, of whom so many networks predict the keypoints;
    of the occluders the most that there can be.

    With ``views`` also how these spread, and how likely labels are right.
    """
    number, index = 4, 8
    seen, told = (4, 5 + 2) if views else (3, 5)  # numbers a keypoint
    return {
        "predictions": people * (index + labelers * keypoints * seen * number),
        "corrected": people * (index + keypoints * told * number + keypoints),
        "occluders": people * (index + keypoints * 3 * number),
    }


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _adam_bytes(method: Method) -> int:
    """Two moments the size of each parameter, and a counter of 4 bytes a parameter tensor."""
    trained = [p for p in method.parameters() if p.requires_grad]
    return 2 * _bytes(trained) + 4 * len(trained)


def hours(flops: float, tflops: float) -> float:
    """How long so many FLOPs take at 10^12 FLOPs a second times ``tflops``."""
    return flops / (tflops * 1e12) / 3600
