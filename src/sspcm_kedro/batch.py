"""What a training step sees: weak views on the device."""

from dataclasses import dataclass

from torch import Tensor

from sspcm_kedro.augment.occlude import Donors


@dataclass(frozen=True)
class Labeled:
    """Weak views with targets: images (b, 3, H, W), heatmaps (b, k, h, w), weights (b, k)."""

    images: Tensor
    heatmaps: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Unlabeled:
    """Weak views without labels.

    Attributes:
        images: (b, 3, H, W).
        weights: (b, k) 1 for the keypoints that the labeled people have.
        earlier: what each of the method's ``labelers`` predicted in an earlier period, (b, k, h, w)
            each, moved with the image; None where there is no earlier period.
        donors: people to cut occluders from; None where the batch itself serves.
    """

    images: Tensor
    weights: Tensor
    earlier: tuple[Tensor, ...] | None = None
    donors: Donors | None = None


@dataclass(frozen=True)
class Batch:
    """One step's people; ``unlabeled`` is None in supervised training."""

    labeled: Labeled
    unlabeled: Unlabeled | None = None
