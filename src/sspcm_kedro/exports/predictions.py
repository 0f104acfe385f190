"""Predicted keypoints as arrays, which every format is written from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from sspcm_kedro.pose.skeleton import Skeleton


@dataclass(frozen=True)
class Predictions:
    """n instances: people or animals, each on an image or on a frame of a video.

    Attributes:
        skeleton: the k keypoints.
        keypoints: (n, k, 2) x, y in image pixels; nan where there is none.
        scores: (n, k) how surely each is right, 0 to 1.
        files: (n) the image, or the video, of each, as the format is to call it; with slashes.
        image_hw: (n, 2) (height, width) of the image or frame.
        frames: (n) the frame of the video, from 0; None where files are images.
        tracks: (n) who it is over time, from 0, -1 where nobody knows; None: nobody knows.
        boxes: (n, 4) x0, y0, x1, y1 in image pixels; None: what the keypoints span.
        frame_counts: how many frames a video has, where tables are to have a row for each; without
            it they end with the last frame that has somebody.
        scorer: whose labels drafts in tables are, which DeepLabCut looks for.
    """

    skeleton: Skeleton
    keypoints: np.ndarray
    scores: np.ndarray
    files: tuple[str, ...]
    image_hw: np.ndarray
    frames: np.ndarray | None = None
    tracks: np.ndarray | None = None
    boxes: np.ndarray | None = None
    frame_counts: Mapping[str, int] = field(default_factory=dict)
    scorer: str = "sspcm"

    def __post_init__(self) -> None:
        n, k = len(self.files), self.skeleton.size
        shapes = {"keypoints": (n, k, 2), "scores": (n, k), "image_hw": (n, 2), "frames": (n,),
                  "tracks": (n,), "boxes": (n, 4)}  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ValueError(f"{name} must be {shape}, got {np.shape(value)}")

    def tables(self) -> dict[str | None, str]:
        """The videos that get a table each, and what it is called; of images None, once."""
        if self.frames is None:
            return {None: ""}
        return {**short_names([*self.files, *self.frame_counts])}

    def present(self) -> np.ndarray:
        """(n, k) which keypoints there are."""
        return np.asarray(np.isfinite(self.keypoints).all(axis=-1))

    def image_names(self) -> list[str]:
        """(n) what each image is called; of a frame the video's name and the frame's number."""
        if self.frames is None:
            return list(self.files)
        return [f"{file}/{frame:06d}.jpg"
                for file, frame in zip(self.files, self.frames.tolist(), strict=True)]  # fmt: skip

    def instance_scores(self) -> np.ndarray:
        """(n) the mean score of the keypoints that there are; 0 where there is none."""
        present = self.present()
        total = np.where(present, self.scores, 0).sum(axis=1)
        return total / np.maximum(present.sum(axis=1), 1)

    def spanned_boxes(self) -> np.ndarray:
        """(n, 4) the boxes, or what the keypoints span; zeros where there is none."""
        if self.boxes is not None:
            return np.asarray(self.boxes, np.float64)
        present = self.present()[..., None]
        low = np.where(present, self.keypoints, np.inf).min(axis=1, initial=np.inf)
        high = np.where(present, self.keypoints, -np.inf).max(axis=1, initial=-np.inf)
        boxes = np.concatenate([low, high], axis=1)
        return np.where(present.any(axis=1), boxes, 0.0)


def short_names(files: Iterable[str]) -> dict[str, str]:
    """What tables of files are called: without folders and suffix; with folders where several
    would be called the same, and where those still are, with the suffix too."""
    paths = {file: PurePath(file) for file in files}
    forms = {file: (path.stem, path.with_suffix("").as_posix(), file)
             for file, path in paths.items()}  # fmt: skip
    chosen = dict.fromkeys(forms, 0)
    while True:
        names = {file: forms[file][form] for file, form in chosen.items()}
        count = Counter(names.values())
        shared = [file for file, form in chosen.items() if form < 2 and count[names[file]] > 1]
        if not shared:
            return names
        chosen |= {file: chosen[file] + 1 for file in shared}
