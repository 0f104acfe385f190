"""Correction of stored pseudo-labels, and the occluders that reliable ones give."""

import torch
from torch import Tensor

from sspcm_kedro.pose.consistency import choose_pair, gather_pair

PAIRS = {1: ("now_earlier",), 2: ("now_now", "earlier_now", "now_earlier", "earlier_earlier")}
"""The pairs that one network or two offer, by their ``pair`` number: when each member predicted."""


def correct(
    keypoints: tuple[Tensor, Tensor],
    scores: tuple[Tensor, Tensor],
    frame_hw: tuple[int, int],
    *,
    min_score: float,
    max_inconsistency: float,
    spread: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Per keypoint, the pair of predictions that agrees best (SSPCM, section 3), as one label.

    Args:
        keypoints: now and earlier, each (t, n, k, 2) of t networks, in the frame's pixels. Two
            teachers A and B offer four pairs; a single network, one: itself now and earlier.
        scores: now and earlier, each (t, n, k).
        frame_hw: (height, width) of the frame; its diagonal is the unit of inconsistency.
        min_score: a keypoint is kept where the pair's mean score exceeds it,
        max_inconsistency: and its two positions are no further apart than this.
        spread: of views, now and earlier, each (t, n, k), where people were seen in several.

    Returns:
        keypoints (n, k, 2), score, inconsistency, pair and kept (n, k), and the pair's mean spread
        where that is given. A kept keypoint lies midway
        between its two positions; a rejected one stays at the likelier of the two, since between
        two far peaks there is nothing.
    """
    first, second = _members(*keypoints)
    choice = choose_pair(first, second, frame_hw)
    a, b = gather_pair(choice, first, second)
    score_a, score_b = gather_pair(choice, *_members(*scores))
    score = (score_a + score_b) / 2
    agree = choice.inconsistency <= max_inconsistency
    likelier = torch.where((score_a >= score_b)[..., None], a, b)
    seen = {}
    if spread is not None:
        seen["spread"] = torch.stack(gather_pair(choice, *_members(*spread))).mean(dim=0)
    return {
        **seen,
        "keypoints": torch.where(agree[..., None], (a + b) / 2, likelier),
        "score": score,
        "inconsistency": choice.inconsistency,
        "pair": choice.pair.to(torch.int32),
        "kept": (agree & (score > min_score)).to(torch.uint8),
    }


def _members(now: Tensor, earlier: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What the first and the second member of a pair may be."""
    if len(now) == 1:  # four equal pairs, of which the first is chosen
        return (now[0], now[0]), (earlier[0], earlier[0])
    return (now[0], earlier[0]), (now[1], earlier[1])


def occluder_bank(keypoints: Tensor, kept: Tensor, frame_hw: tuple[int, int]) -> Tensor:
    """Rows (q, 3) of person, x, y in input pixels: kept keypoints (n, k, 2) inside the crop."""
    height, width = frame_hw
    x, y = keypoints.unbind(dim=2)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    person, keypoint = torch.nonzero(kept & inside, as_tuple=True)
    return torch.cat([person[:, None].float(), keypoints[person, keypoint]], dim=1)
