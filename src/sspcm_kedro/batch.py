"""What a training step sees: weak views on the device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from sspcm_kedro.augment.occlude import Donors


@dataclass(frozen=True)
class Labeled:
    """Weak views with their targets.

    Attributes:
        images: normalized.
        heatmaps: the targets, in cells.
        weights: 0 where a keypoint has no target.
    """

    images: Float[Tensor, "b 3 H W"]
    heatmaps: Float[Tensor, "b k h w"]
    weights: Float[Tensor, "b k"]


@dataclass(frozen=True)
class Unlabeled:
    """Weak views without labels.

    Attributes:
        images: normalized.
        weights: 1 for the keypoints that the labeled people have.
        earlier: heatmaps that each of the method's ``labelers`` predicted in an earlier period,
            moved with the image; None where there is no earlier period.
        donors: people to cut occluders from; None where the batch itself serves.
        flip_order: which keypoint each one is in a mirrored view; None where training mirrors
            nobody, so that no mirrored view means anything.
        corrected: heatmaps of the one label a keypoint that a round's correction left, moved with
            the image, each as high as the label is likely right. None without rounds.
    """

    images: Float[Tensor, "b 3 H W"]
    weights: Float[Tensor, "b k"]
    earlier: tuple[Float[Tensor, "b k h w"], ...] | None = None
    donors: Donors | None = None
    flip_order: tuple[int, ...] | None = None
    corrected: Float[Tensor, "b k h w"] | None = None


@dataclass(frozen=True)
class Batch:
    """One step's people; ``unlabeled`` is None in supervised training."""

    labeled: Labeled
    unlabeled: Unlabeled | None = None

    @property
    def size(self) -> int:
        """How many people it has, of both kinds."""
        others = 0 if self.unlabeled is None else len(self.unlabeled.images)
        return len(self.labeled.images) + others


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A batch, or any part of it, with what ``change`` makes of its tensors in their place."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return tuple(map_tensors(part, change) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        parts = {name: map_tensors(part, change) for name, part in vars(value).items()}
        return replace(value, **parts)
    return value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a batch, in the order in which ``map_tensors`` changes them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from tensors_of(part)
    elif hasattr(value, "__dataclass_fields__"):
        for part in vars(value).values():
            yield from tensors_of(part)
