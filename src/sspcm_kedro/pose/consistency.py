"""Position inconsistency: which two predictions of a keypoint agree best (SSPCM, section 3; PCM).

Two teachers, each now and in an earlier period, give four candidate pairs. Their order is fixed:

    0 (A now, B now)   1 (A earlier, B now)   2 (A now, B earlier)   3 (A earlier, B earlier)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Real, Shaped
from torch import Tensor

from sspcm_kedro.pose.heatmap import peaks

Positions = tuple[Real[Tensor, "b k 2"], Real[Tensor, "b k 2"]]
"""What one teacher predicts, now and earlier: points in any frame, the same for both teachers."""
Heatmaps = tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]
"""What one teacher predicts, now and earlier, as heatmaps."""
Pair = tuple[Shaped[Tensor, "b k *features"], Shaped[Tensor, "b k *features"]]
"""Two of anything that is predicted of each keypoint."""


@dataclass(frozen=True)
class PairChoice:
    """The pair that agrees best, per keypoint.

    Attributes:
        pair: its index, ties to the lowest.
        inconsistency: the distance of its two positions as a share of the frame's diagonal, 0 to 1.
        distances: of all four pairs, as shares of the diagonal.
    """

    pair: Int[Tensor, "b k"]
    inconsistency: Float[Tensor, "b k"]
    distances: Float[Tensor, "4 b k"]


def choose_pair(first: Positions, second: Positions, frame_hw: tuple[int, int]) -> PairChoice:
    """The least inconsistent of the four pairs.

    Args:
        first: positions of teacher A, now and earlier, in any frame.
        second: positions of teacher B, now and earlier, in the same frame.
        frame_hw: size of that frame in its own unit (cells or pixels); its diagonal is the unit of
            inconsistency.
    """
    pairs = [(a, b) for b in second for a in first]
    diagonal = (frame_hw[0] ** 2 + frame_hw[1] ** 2) ** 0.5
    distances = torch.stack([(a - b).float().norm(dim=2) for a, b in pairs]) / diagonal
    # argmin may return any of equal minima; the first that equals the least is the lowest.
    inconsistency = distances.amin(dim=0)
    pair = (distances == inconsistency).to(torch.uint8).argmax(dim=0)
    return PairChoice(pair, inconsistency, distances)


def gather_pair(choice: PairChoice, first: Pair, second: Pair) -> Pair:
    """Both sides of the chosen pairs: A's and B's, from what each predicts now and earlier."""
    shape = (*choice.pair.shape, *[1] * (first[0].ndim - 2))
    a_earlier, b_earlier = (choice.pair % 2 == 1).reshape(shape), (choice.pair >= 2).reshape(shape)
    return torch.where(a_earlier, first[1], first[0]), torch.where(b_earlier, second[1], second[0])


def correct_heatmaps(
    first: Heatmaps, second: Heatmaps
) -> tuple[Float[Tensor, "b k h w"], PairChoice]:
    """Per keypoint the mean heatmap of the pair whose peaks lie closest, and the choice.

    Heatmaps are averaged, never coordinates: between two far peaks there is nothing.
    """
    frame_hw = (first[0].shape[2], first[0].shape[3])
    a_now, a_earlier, b_now, b_earlier = (peaks(heatmaps)[0] for heatmaps in (*first, *second))
    choice = choose_pair((a_now, a_earlier), (b_now, b_earlier), frame_hw)
    a, b = gather_pair(choice, first, second)
    return 0.5 * (a + b), choice
