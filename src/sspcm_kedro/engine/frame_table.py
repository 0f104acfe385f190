"""The keypoints of a video as arrays, a row a person and frame: what tables and exports are of."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from sspcm_kedro.pose.smooth import smooth_points

HIDDEN, UNSURE, CLEAR = 0, 1, 2
"""Visibility: outside of the image, below the threshold, and the rest."""


def mark_visibility(
    keypoints: np.ndarray, scores: np.ndarray, image_hw: np.ndarray, threshold: float
) -> np.ndarray:
    """Visibility (n, k) of predicted keypoints: 0 outside of the image, 1 below the threshold, 2.

    Args:
        keypoints: (n, k, 2) image pixels; pixels reach half a pixel beyond their centers.
        scores: (n, k).
        image_hw: (n, 2) height and width of each one's image.
        threshold: of the scores; a point that reaches it is clear.
    """
    last = image_hw[:, None, ::-1] - 0.5
    inside = ((keypoints >= -0.5) & (keypoints <= last)).all(axis=2)
    return np.where(inside, np.where(scores >= threshold, CLEAR, UNSURE), HIDDEN)


@dataclass(frozen=True)
class FrameTable:
    """The predicted people of one video, frame by frame; a frame may have several, or none.

    Attributes:
        names: the k keypoints.
        count: frames of the video that were read.
        frames: (n) number of the frame, from 0.
        seconds: (n) when it is shown.
        tracks: (n) who it is, from 0.
        boxes: (n, 4) what was cut out, x0, y0, x1, y1 in image pixels.
        image_hw: (n, 2) height and width of the frame.
        keypoints: (n, k, 2) image pixels, smoothed if that was asked for.
        scores: (n, k).
        probabilities: (n, k) of being right before they were smoothed; nan where not measured.
        visibility: (n, k) 0 outside of the image, 1 score below the threshold, 2 clear.
        measured: (n, k, 2) the keypoints before they were smoothed.
    """

    names: tuple[str, ...]
    count: int
    frames: np.ndarray
    seconds: np.ndarray
    tracks: np.ndarray
    boxes: np.ndarray
    image_hw: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    visibility: np.ndarray
    measured: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def smoothed(self, cell: np.ndarray, threshold: float) -> "FrameTable":
        """The same with each track smoothed over time (``pose.smooth``).

        Keypoints below the threshold count as not seen: their places follow from the others. Scores
        stay, and visibility is that of the new places.

        Args:
            cell: (n) a heatmap cell of each row, in image pixels.
            threshold: of the scores.
        """
        keypoints = self.measured.astype(np.float64)
        for track in np.unique(self.tracks):
            rows = np.flatnonzero(self.tracks == track)
            seen = np.where(self.scores[rows] >= threshold, self.scores[rows], 0)
            keypoints[rows] = smooth_points(
                self.seconds[rows], self.measured[rows], seen, float(np.median(cell[rows]))
            )
        keypoints = keypoints.astype(np.float32)
        visibility = mark_visibility(keypoints, self.scores, self.image_hw, threshold)
        return replace(self, keypoints=keypoints, visibility=visibility)

    def to_frame(self) -> pd.DataFrame:
        """A row a keypoint: frame, time (s), track, keypoint, x, y (image pixels), score, v; where
        they are known, the probability of being right; where it was smoothed, x_raw, y_raw."""
        n, k = self.scores.shape
        columns = {
            "frame": self.frames.repeat(k),
            "time": self.seconds.repeat(k).round(6),
            "track": self.tracks.repeat(k),
            "keypoint": np.tile(np.array(self.names, object), n),
            **_points(self.keypoints, ""),
            "score": self.scores.reshape(-1).astype(float).round(4),
            "v": self.visibility.reshape(-1),
        }
        if np.isfinite(self.probabilities).any():
            columns["probability"] = self.probabilities.reshape(-1).astype(float).round(4)
        if not np.array_equal(self.keypoints, self.measured):
            columns |= _points(self.measured, "_raw")
        return pd.DataFrame(columns)

    def to_columns(self) -> pd.DataFrame:
        """All of it, a row a person and frame; ``from_columns`` reads it back."""
        columns = {name: list(getattr(self, name).reshape(len(self), -1))
                   if getattr(self, name).ndim > 1 else getattr(self, name)
                   for name in ARRAYS}  # fmt: skip
        frame = pd.DataFrame(columns)
        frame.attrs |= {"names": list(self.names), "count": self.count}
        return frame

    @classmethod
    def from_columns(cls, frame: pd.DataFrame) -> "FrameTable":
        """The table of which ``to_columns`` made columns."""
        names, n = tuple(frame.attrs["names"]), len(frame)
        shapes = {"boxes": (n, 4), "image_hw": (n, 2), "scores": (n, len(names)),
                  "probabilities": (n, len(names)), "visibility": (n, len(names)),
                  "keypoints": (n, len(names), 2), "measured": (n, len(names), 2)}  # fmt: skip
        arrays: dict[str, Any] = {}
        for name in ARRAYS:
            values = np.array(frame[name].tolist(), DTYPES.get(name, np.float32))
            arrays[name] = values.reshape(shapes.get(name, (n,)))
        return cls(names=names, count=int(frame.attrs["count"]), **arrays)


ARRAYS = tuple(f.name for f in fields(FrameTable) if f.name not in ("names", "count"))
DTYPES = {"frames": np.int64, "tracks": np.int64, "image_hw": np.int64, "visibility": np.int64,
          "seconds": np.float64}  # fmt: skip
"""Of the arrays; the others are float32."""


def _points(points: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    flat = points.reshape(-1, 2).astype(float).round(2)
    return {f"x{suffix}": flat[:, 0], f"y{suffix}": flat[:, 1]}
