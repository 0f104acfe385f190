"""Position inconsistency: which two predictions of a keypoint agree best (SSPCM, section 3; PCM).

Two teachers, each now and in an earlier period, give four candidate pairs. Their order is fixed:

    0 (A now, B now)   1 (A earlier, B now)   2 (A now, B earlier)   3 (A earlier, B earlier)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sspcm_kedro.pose.heatmap import peaks


@dataclass(frozen=True)
class Choice:
    """The pair that agrees best, per keypoint.

    Attributes:
        pair: (b, k) index of the pair, ties to the lowest.
        inconsistency: (b, k) distance of its two positions over the diagonal of the frame, 0 to 1.
        distances: (p, b, k) distances of all four pairs over the diagonal.
    """

    pair: Tensor
    inconsistency: Tensor
    distances: Tensor


def choose_pair(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], frame_hw: tuple[int, int]
) -> Choice:
    """The least inconsistent of the four pairs.

    Args:
        first: positions (b, k, 2) of teacher A, now and earlier, in any frame.
        second: positions of teacher B, now and earlier, in the same frame.
        frame_hw: size of that frame; its diagonal is the unit.
    """
    pairs = [(a, b) for b in second for a in first]
    diagonal = (frame_hw[0] ** 2 + frame_hw[1] ** 2) ** 0.5
    distances = torch.stack([(a - b).float().norm(dim=2) for a, b in pairs]) / diagonal
    # argmin may return any of equal minima; counting the strictly better ones keeps the lowest.
    inconsistency = distances.amin(dim=0)
    pair = (distances == inconsistency).to(torch.uint8).argmax(dim=0)
    return Choice(pair, inconsistency, distances)


def pick(options: tuple[Tensor, Tensor], earlier: Tensor) -> Tensor:
    """Per keypoint the second of two (b, k, ...) where ``earlier`` (b, k), else the first."""
    mask = earlier.reshape(*earlier.shape, *[1] * (options[0].ndim - 2))
    return torch.where(mask, options[1], options[0])


def members(
    choice: Choice, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The two members (b, k, ...) of the chosen pairs, from what each teacher offers."""
    return pick(first, choice.pair % 2 == 1), pick(second, choice.pair >= 2)


def least_inconsistent(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Tensor, Choice]:
    """Per keypoint, the mean heatmap (b, k, h, w) of the pair whose peaks lie closest, and the
    choice.

    Heatmaps are averaged, never coordinates: between two far peaks there is nothing.
    """
    frame_hw = (first[0].shape[2], first[0].shape[3])
    positions = [tuple(peaks(h)[0] for h in teacher) for teacher in (first, second)]
    choice = choose_pair(positions[0], positions[1], frame_hw)  # type: ignore[arg-type]
    a, b = members(choice, first, second)
    return 0.5 * (a + b), choice
