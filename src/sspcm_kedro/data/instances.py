"""People as columns: one row a person, the same table for every source."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd


def as_text(ids: Any) -> np.ndarray:
    """Ids (n) as a column of text."""
    values = np.asarray(ids)
    if values.dtype.kind in "iu":
        return values.astype(str).astype(object)
    return np.array([str(value) for value in ids], object)


def crowds_of(frame: pd.DataFrame) -> np.ndarray:
    """(n) which rows of a table of people are crowds; nobody where it does not say."""
    if "crowd" not in frame:
        return np.zeros(len(frame), bool)
    return frame["crowd"].eq(True).to_numpy(bool)  # other tables' rows, joined to it, say nothing


@dataclass(frozen=True)
class Instances:
    """People, one row each, in the order of their source.

    Attributes:
        ids: (n) unique instance ids.
        image_ids: (n) ids of their images; people of one image share it.
        paths: (n) image files.
        image_hw: (n, 2) image sizes, (height, width), in image pixels.
        boxes: (n, 4) person boxes x0, y0, x1, y1 in image pixels.
        areas: (n) areas in square image pixels, the scale of OKS.
        box_scores: (n) detector confidence; 1 for annotated boxes.
        keypoints: (n, k, 2) image pixels, (x, y); 0 where visibility is 0.
        visibility: (n, k) 0 not annotated, 1 annotated but covered, 2 visible.
        head_sizes: (n) 0.6 times the diagonal of the head box in pixels, the length of MPII's PCKh;
            nan where unknown.
        source_ids: (n) text, what the people's own file calls them; their ids by default.
        source_image_ids: (n) text, what their own file calls their images; image_ids by default.
            Sources renumber ids that two of their files share: files to hand in need these.
        crowds: (n) true where the box holds several people (COCO's iscrowd); false by default.
        checksums: (n) CRC32 of the images' files, as they were when they were verified; -1, by
            default, where nobody has looked.
        unit: text, equal in all tables of one ingestion (``data.whose``); empty where nobody said.
    """

    ids: np.ndarray
    image_ids: np.ndarray
    paths: np.ndarray
    image_hw: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    box_scores: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    head_sizes: np.ndarray = field(default_factory=lambda: np.empty(0))
    source_ids: np.ndarray = field(default_factory=lambda: np.empty(0))
    source_image_ids: np.ndarray = field(default_factory=lambda: np.empty(0))
    crowds: np.ndarray = field(default_factory=lambda: np.empty(0))
    checksums: np.ndarray = field(default_factory=lambda: np.empty(0))
    unit: str = ""

    def __post_init__(self) -> None:
        defaults = {
            "head_sizes": lambda: np.full(len(self.ids), np.nan, np.float32),
            "source_ids": lambda: as_text(self.ids),
            "source_image_ids": lambda: as_text(self.image_ids),
            "crowds": lambda: np.zeros(len(self.ids), bool),
            "checksums": lambda: np.full(len(self.ids), -1, np.int64),
        }
        for name, default in defaults.items():
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, default())  # frozen: there is no other way
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of Instances must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Any) -> "Instances":
        """The given rows (indices, slice or mask), in that order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def without_labels(self, rows: slice | np.ndarray = slice(None)) -> "Instances":
        """The same people; of all, or of those in ``rows``, each keypoint erased (visibility 0)."""
        keypoints, visibility = self.keypoints.copy(), self.visibility.copy()
        keypoints[rows], visibility[rows] = 0, 0
        return replace(self, keypoints=keypoints, visibility=visibility)

    def gather(self, channels: Sequence[int]) -> "Instances":
        """The same people with the keypoints of these channels, in this order."""
        keypoints, visibility = (a[:, list(channels)] for a in (self.keypoints, self.visibility))
        return replace(self, keypoints=keypoints, visibility=visibility)

    def scatter(self, channels: Sequence[int], size: int) -> "Instances":
        """The same people with ``size`` keypoints: theirs at these channels, visibility 0 else."""
        keypoints = np.zeros((len(self), size, 2), self.keypoints.dtype)
        visibility = np.zeros((len(self), size), self.visibility.dtype)
        keypoints[:, list(channels)] = self.keypoints
        visibility[:, list(channels)] = self.visibility
        return replace(self, keypoints=keypoints, visibility=visibility)

    @staticmethod
    def join(parts: "Sequence[Instances]") -> "Instances":
        """The people of all parts (at least one), one part after the other; parts of several units
        are of none together."""
        columns = {n: np.concatenate([getattr(part, n) for part in parts]) for n in COLUMNS}
        units = {part.unit for part in parts}
        return Instances(**columns, unit=units.pop() if len(units) == 1 else "")

    def to_frame(self) -> pd.DataFrame:
        """A flat table for the catalog: scalars as columns, keypoints and visibility as lists.

        Columns ``head_size``, ``source_id``, ``source_image_id``, ``crowd`` and ``crc32`` are there
        where they say more than their defaults.
        """
        size = self.visibility.shape[1]
        frame = pd.DataFrame(
            {
                "id": self.ids,
                "image_id": self.image_ids,
                "path": self.paths,
                **dict(zip(("height", "width"), self.image_hw.T, strict=True)),
                **dict(zip(("x0", "y0", "x1", "y1"), self.boxes.T, strict=True)),
                "area": self.areas,
                "box_score": self.box_scores,
                "keypoints": list(self.keypoints.reshape(len(self), 2 * size)),
                "visibility": list(self.visibility),
            }
        )
        frame.attrs["keypoints"] = size  # which a table of nobody could not tell
        if self.unit:
            frame.attrs["unit"] = self.unit
        more = {}
        if not np.isnan(self.head_sizes).all():
            more["head_size"] = self.head_sizes
        if (self.source_ids != as_text(self.ids)).any():
            more["source_id"] = self.source_ids
        if (self.source_image_ids != as_text(self.image_ids)).any():
            more["source_image_id"] = self.source_image_ids
        if self.crowds.any():
            more["crowd"] = self.crowds
        if (self.checksums >= 0).any():
            more["crc32"] = self.checksums
        return frame.assign(**more)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Instances":
        """The people of a table that ``to_frame`` made."""
        n, size = len(frame), frame.attrs.get("keypoints")
        if size is None:
            size = len(frame["visibility"].iloc[0])

        def text(column: str, default: str) -> np.ndarray:
            said = frame[column] if column in frame else pd.Series(None, frame.index, object)
            return said.where(said.notna(), as_text(frame[default])).to_numpy(object)

        return cls(
            ids=frame["id"].to_numpy(np.int64),
            image_ids=frame["image_id"].to_numpy(np.int64),
            paths=frame["path"].to_numpy(object),
            image_hw=frame[["height", "width"]].to_numpy(np.int64),
            boxes=frame[["x0", "y0", "x1", "y1"]].to_numpy(np.float32),
            areas=frame["area"].to_numpy(np.float32),
            box_scores=frame["box_score"].to_numpy(np.float32),
            keypoints=np.array(frame["keypoints"].tolist(), np.float32).reshape(n, size, 2),
            visibility=np.array(frame["visibility"].tolist(), np.int64).reshape(n, size),
            head_sizes=frame["head_size"].to_numpy(np.float32)
            if "head_size" in frame
            else np.full(n, np.nan, np.float32),
            source_ids=text("source_id", "id"),
            source_image_ids=text("source_image_id", "image_id"),
            crowds=crowds_of(frame),
            checksums=frame["crc32"].fillna(-1).to_numpy(np.int64)
            if "crc32" in frame
            else np.full(n, -1, np.int64),
            unit=frame.attrs.get("unit", ""),
        )


COLUMNS = tuple(field.name for field in fields(Instances) if field.name != "unit")
"""The attributes that have a row a person."""


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Up to ``most`` row numbers, evenly over ``count`` rows, always the same."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
