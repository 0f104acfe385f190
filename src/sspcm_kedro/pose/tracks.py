"""Who is who from frame to frame: predicted people matched to those of the frames before."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, Real

MEMORY = 15
"""Frames after which somebody who was not seen is somebody new."""

LEAST = 0.1
"""Overlap below which two people are two: the mean of OKS and of the boxes' IoU."""


def box_iou(
    first: Real[np.ndarray, "n 4"], second: Real[np.ndarray, "m 4"]
) -> Float[np.ndarray, "n m"]:
    """Intersection over union of boxes x0, y0, x1, y1; 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)


def oks_between(
    first: Real[np.ndarray, "n k 2"],
    second: Real[np.ndarray, "m k 2"],
    areas: Real[np.ndarray, " n"],
    sigmas: Float[np.ndarray, " k"],
) -> Float[np.ndarray, "n m"]:
    """OKS of predicted people, over all keypoints, by the areas of the first ones."""
    squared = ((first[:, None] - second[None]) ** 2).sum(axis=3)
    scale = 2 * (areas[:, None, None] + np.spacing(1)) * (2 * sigmas) ** 2
    return np.exp(-squared / scale).mean(axis=2)


@dataclass
class Tracker:
    """Gives the people of frame after frame their track ids, from 0 and never given again.

    The pairs of people and tracks whose overlap (mean of OKS and IoU) is largest in sum are made by
    the Hungarian method; a person without a pair begins a track.

    Attributes:
        sigmas: k OKS sigmas.
    """

    sigmas: np.ndarray
    _boxes: dict[int, np.ndarray] = field(default_factory=dict)
    _points: dict[int, np.ndarray] = field(default_factory=dict)
    _seen: dict[int, int] = field(default_factory=dict)
    _frame: int = -1
    _next: int = 0

    def assign(
        self, keypoints: Real[np.ndarray, "n k 2"], boxes: Real[np.ndarray, "n 4"]
    ) -> Int[np.ndarray, " n"]:
        """The track id of each person of the next frame, all in image pixels."""
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow, and few commands need it

        self._frame += 1
        alive = [t for t, seen in self._seen.items() if self._frame - seen <= MEMORY]
        tracks = np.full(len(keypoints), -1)
        if alive and len(keypoints):
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
            points = np.stack([self._points[t] for t in alive])
            iou = box_iou(boxes, np.stack([self._boxes[t] for t in alive]))
            overlap = (oks_between(keypoints, points, areas, self.sigmas) + iou) / 2
            pairs = linear_sum_assignment(np.where(overlap >= LEAST, overlap, 0), maximize=True)
            for person, place in zip(*pairs, strict=True):
                if overlap[person, place] >= LEAST:
                    tracks[person] = alive[place]
        for person in np.flatnonzero(tracks < 0):
            tracks[person], self._next = self._next, self._next + 1
        for person, track in enumerate(tracks.tolist()):
            self._boxes[track], self._points[track] = boxes[person], keypoints[person]
            self._seen[track] = self._frame
        return tracks
