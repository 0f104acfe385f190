"""What every learning algorithm is, and what several of them share."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from sspcm_kedro.augment.affine import AffineConfig
from sspcm_kedro.augment.draws import Draws
from sspcm_kedro.augment.fixed_views import FixedViews
from sspcm_kedro.augment.occlude import CutOcclude, DonorSource
from sspcm_kedro.batch import Batch, Labeled
from sspcm_kedro.config import Settings
from sspcm_kedro.pose.geometry import move_points
from sspcm_kedro.pose.heatmap import HeatmapCodec
from sspcm_kedro.pose.losses import keypoint_mse

MakeNet = Callable[[int], nn.Module]
"""Builds a network, given its place in ``nets.ROLES``; those of different places start apart."""

AVERAGES = "averages"
"""Where a method keeps the averages of its networks, if it does."""

UnlabeledField = Literal["images", "earlier", "corrected", "donors"]
STORED: frozenset[UnlabeledField] = frozenset({"earlier", "corrected", "donors"})
"""What a round stores of the unlabeled people."""


class Method(nn.Module, ABC):
    """One learning algorithm: owns its networks; knows no loader, file or tracker.

    Attributes:
        networks: the trained networks, by names of ``nets.ROLES``.
        deployed: the name of the one that ships.
        labelers: the names of the one or two whose predictions a round stores as pseudo-labels.
        averages: the moving averages of their weights, by the same names; empty if none are kept.
        reads: the fields of ``batch.Unlabeled`` that a step reads. None: all people in a batch are
            labeled. ``earlier`` and ``corrected`` are needs that only rounds meet; ``donors`` may
            be missing.
        held_out: the share of the labeled people that only its last stage learns from, so that it
            can be measured on them how likely the labelers are right.
        finish: the share of its last stage, at the end, that learns from labels alone.
        backward: told each network's loss as ``Losses`` says; None leaves all to the caller.
    """

    networks: nn.ModuleDict
    deployed: str
    labelers: tuple[str, ...]
    reads: frozenset[UnlabeledField] = frozenset({"images"})
    held_out: float = 0.0
    finish: float = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.averages = nn.ModuleDict()
        self.decay = 0.0
        self.backward: Callable[[Tensor], None] | None = None

    @property
    def needs_unlabeled(self) -> bool:
        """Whether it learns from unlabeled people."""
        return bool(self.reads)

    def learners(self, *, last: bool) -> tuple[str, ...]:
        """The names of the networks that a stage trains; all of them in each, by default.

        Args:
            last: whether it is the last stage of the training.
        """
        return tuple(self.networks)

    def begin(self, *, last: bool, step: int = 0) -> None:
        """Called before a stage's first step, with what the ``step`` steps before it left."""

    @abstractmethod
    def training_step(self, batch: Batch, rng: Draws) -> dict[str, Tensor]:
        """Scalars by name; those named ``loss/...`` are summed and minimized."""

    def keep_averages(self, decay: float) -> None:
        """Keep beside each network the moving average of its weights (Polyak and Juditsky, 1992).

        Args:
            decay: share of the average that a step leaves, once there have been many.
        """
        self.decay = decay
        for name, net in self.networks.items():
            self.averages[name] = copy.deepcopy(net).requires_grad_(False).eval()

    @property
    def frozen(self) -> tuple[nn.Module, ...]:
        """Groups of networks that it only reads, besides the averages."""
        return ()

    @property
    def shipped(self) -> nn.ModuleDict:
        """The networks that predict: the averages where they are kept."""
        return self.averages if len(self.averages) else self.networks

    def train(self, mode: bool = True) -> "Method":
        """As every module, but averages never gather statistics of their own."""
        super().train(mode)
        self.averages.eval()
        return self

    def after_step(self, step: int) -> None:
        """Called with the number of optimizer steps done, after each of them.

        An average of few steps forgets sooner: after step n it keeps (1 + n) / (10 + n) at most.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name in self.averaging() if len(self.averages) else ():
            move_average(self.averages[name], self.networks[name], decay)

    def averaging(self) -> tuple[str, ...]:
        """The names of the networks whose averages a step moves; all of them, by default."""
        return tuple(self.networks)

    def averaged_networks(self) -> nn.ModuleDict:
        """The averages, for a method that learns from them (``MethodSettings.reads_averages``).

        Raises:
            ValueError: none are kept.
        """
        if not len(self.averages):
            raise ValueError(f"{type(self).__name__} learns from averages: call keep_averages")
        return self.averages

    def losses(self, **weights: float) -> "Losses":
        """An empty collection of the losses of one step.

        Args:
            weights: of its parts (``supervised``, ``consistency``, ...) in what is minimized.
        """
        return Losses(weights, self.backward)

    def add_supervised(
        self, losses: "Losses", labeled: Labeled, names: Sequence[str] | None = None
    ) -> None:
        """Add the part ``supervised``, on labeled people, of each network or of those named."""
        for name in names or self.networks:
            predicted = self.networks[name](labeled.images)
            loss = keypoint_mse(predicted, labeled.heatmaps, labeled.weights)
            losses.add(name, supervised=loss)


class Losses:
    """What one step minimizes, gathered network by network.

    Args:
        weights: of the parts.
        backward: told the weighted sum of each ``add`` at once, so that what a network's pass keeps
            for its backward pass is freed before the next network passes; what is gathered has no
            gradient then. None gathers losses that have one.
    """

    def __init__(
        self, weights: Mapping[str, float], backward: Callable[[Tensor], None] | None
    ) -> None:
        self._weights, self._backward = weights, backward
        self._found: dict[str, dict[str, Tensor]] = {part: {} for part in weights}

    def add(self, network: str, **parts: Tensor) -> None:
        """Add a network's loss of one part, or those of several that share a pass.

        Raises:
            ValueError: it has a loss of that part already.
        """
        for part in parts:
            if network in self._found[part]:
                raise ValueError(f"{network} has a loss called {part} already: add their sum once")
        if self._backward is not None:
            weighted = [self._weights[part] * loss for part, loss in parts.items()]
            self._backward(torch.stack(weighted).sum())
            parts = {part: loss.detach() for part, loss in parts.items()}
        for part, loss in parts.items():
            self._found[part][network] = loss

    def scalars(self) -> dict[str, Tensor]:
        """Of each part ``loss/<part>``, the weighted sum over networks, which is minimized; and
        each network's, unweighted, under ``<network>/loss/<part>``, which is not."""
        found = {part: each for part, each in self._found.items() if each}
        scalars: dict[str, Tensor] = {}
        for part, each in found.items():
            scalars[f"loss/{part}"] = self._weights[part] * torch.stack(list(each.values())).sum()
            scalars |= {f"{name}/loss/{part}": loss.detach() for name, loss in each.items()}
        return scalars


@dataclass(frozen=True)
class LabelRules:
    """What makes a round's stored pseudo-labels reliable, and what is pasted over reliable ones.

    Attributes:
        min_score: a keypoint is kept where its two predictions' mean score exceeds it,
        max_inconsistency: and they are no further apart, as a share of the input's diagonal.
        occlude: cuts limbs out at kept keypoints and pastes them onto others.
        views: in which a round shows each person to the networks that label; None for the person as
            it is and, if training mirrors, mirrored.
        held_out: share of the labeled people on whom it is measured how likely labels are right;
            0 measures nothing.
        tolerance: a label is right up to this distance from the truth, as a share of the PCK unit.
        min_probability: where that is measured, a keypoint is kept that is right this likely,
            whatever the first two rules say.
        donors: whose limbs are pasted.
    """

    min_score: float = 0.1
    max_inconsistency: float = 0.1
    occlude: CutOcclude = field(default_factory=CutOcclude)
    views: FixedViews | None = None
    held_out: float = 0.0
    tolerance: float = 0.2
    min_probability: float = 0.5
    donors: DonorSource = "batch"


def _unmirrored(affine: AffineConfig) -> AffineConfig:
    if affine.flip_probability:
        raise ValueError(
            "flip_probability must be 0 for a strong view, whose left and right keypoints do not "
            "swap; view.weak.flip_probability mirrors"
        )
    return affine


StrongView = Annotated[AffineConfig, AfterValidator(_unmirrored)]
"""The random similarity between the weak view that a teacher reads and a student's strong one."""


class MethodSettings(Settings):
    """The numbers of a method.

    Attributes:
        labels_read: names of the settings that training on labels alone reads; None stands for all
            of them. A change of any other one trains no warm-up again.
        last_read: names of the settings that the last stage of a training alone reads. A change of
            one trains no other stage again.
        reads_averages: whether it learns from the moving averages of its networks' weights, so that
            ``training.average_decay`` must be set.
    """

    labels_read: ClassVar[frozenset[str] | None] = None
    last_read: ClassVar[frozenset[str]] = frozenset()
    reads_averages: ClassVar[bool] = False

    def read(self, *, labels_only: bool, last: bool = True) -> dict[str, Any]:
        """The settings that training reads, JSON-able: its whole, or where there are labels alone.

        Args:
            labels_only: whether all people are labeled.
            last: whether it is the last stage, or all of them.
        """
        if labels_only and self.labels_read is not None:
            return self.model_dump(mode="json", include={"kind", *self.labels_read})
        return self.model_dump(mode="json", exclude=None if last else set(self.last_read))

    def build(self, make_net: MakeNet, codec: HeatmapCodec) -> Method:
        """The algorithm, its networks made by ``make_net``."""
        raise NotImplementedError

    def label_rules(self) -> LabelRules:
        """The method's own rules where it has them. Else its stored labels are for people alone
        (sheets, annotation queue), and the defaults serve."""
        return LabelRules()


@torch.no_grad()
def move_average(average: nn.Module, net: nn.Module, decay: float | Tensor) -> None:
    """Every number of ``average``, statistics included, towards that of ``net`` by 1 - decay."""
    means: list[Tensor] = []
    values: list[Tensor] = []
    for mean, value in zip(_numbers(average), _numbers(net), strict=True):
        if not mean.is_floating_point():  # a counter
            mean.copy_(value)
        elif isinstance(decay, Tensor):
            mean.lerp_(value, 1 - decay)
        else:
            means.append(mean)
            values.append(value)
    if means and not isinstance(decay, Tensor):  # a GPU is told of all of them at once
        torch._foreach_lerp_(means, values, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def _numbers(net: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers."""
    yield from net.parameters()
    yield from net.buffers()


def total_loss(scalars: Mapping[str, Tensor]) -> Tensor:
    """The sum of the scalars named ``loss/...``: what is minimized."""
    return torch.stack([v for name, v in scalars.items() if name.startswith("loss/")]).sum()


@torch.no_grad()
def pseudo_heatmaps(networks: Iterable[nn.Module], images: Tensor) -> list[Tensor]:
    """Heatmaps (b, k, h, w) that each network predicts on weak views (b, 3, H, W), as targets."""
    networks = list(networks)
    with freeze_statistics(*networks):
        return [net(images) for net in networks]


@torch.no_grad()
def move_keypoints(
    codec: HeatmapCodec, keypoints: Tensor, theta: Tensor, hw: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Gaussians (b, k, h, w) of keypoints (b, k, 2) in a strong view, and weights (b, k): 0 where
    one is out of its frame.

    Args:
        codec: draws them.
        keypoints: (x, y) in input pixels of the weak view.
        theta: maps (b, 2, 3) of input pixels, from weak to strong view.
        hw: size of both views, in input pixels.
    """
    visibility = torch.ones_like(keypoints[..., 0])
    return codec.encode(move_points(keypoints, theta), visibility, hw)


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Batch norm uses what it recorded in training; afterwards the network is in its mode again."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)


@contextmanager
def freeze_statistics(*networks: nn.Module) -> Iterator[None]:
    """Batch norm uses the batch's statistics without recording them.

    The release lets these label-free passes move the running statistics (docs/method.md).
    """
    layers = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def input_hw(images: Tensor) -> tuple[int, int]:
    """(height, width) of images (b, 3, H, W)."""
    _, _, height, width = images.shape
    return height, width
