"""People as columns: one row a person, the same table for every source."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Instances:
    """People, one row each, in the order of their source.

    Attributes:
        ids: (n) unique instance ids.
        image_ids: (n) ids of their images; people of one image share it.
        paths: (n) image files.
        image_hw: (n, 2) image sizes, (height, width).
        boxes: (n, 4) person boxes x0, y0, x1, y1 in image pixels.
        areas: (n) areas in square pixels, the scale of OKS.
        box_scores: (n) detector confidence; 1 for annotated boxes.
        keypoints: (n, k, 2) image pixels, (x, y); 0 where visibility is 0.
        visibility: (n, k) 0 not annotated, 1 annotated but covered, 2 visible.
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

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of Instances must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Any) -> "Instances":
        """The given rows (indices, slice or mask), in that order."""
        return Instances(*(getattr(self, field.name)[rows] for field in fields(self)))

    def without_labels(self) -> "Instances":
        """The same people with every keypoint erased (visibility 0)."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        columns["keypoints"] = np.zeros_like(self.keypoints)
        columns["visibility"] = np.zeros_like(self.visibility)
        return Instances(**columns)

    def to_frame(self) -> pd.DataFrame:
        """A flat table for the catalog: scalars as columns, keypoints and visibility as lists."""
        return pd.DataFrame(
            {
                "id": self.ids,
                "image_id": self.image_ids,
                "path": self.paths,
                "height": self.image_hw[:, 0],
                "width": self.image_hw[:, 1],
                "x0": self.boxes[:, 0],
                "y0": self.boxes[:, 1],
                "x1": self.boxes[:, 2],
                "y1": self.boxes[:, 3],
                "area": self.areas,
                "box_score": self.box_scores,
                "keypoints": list(self.keypoints.reshape(len(self), 2 * self.keypoints.shape[1])),
                "visibility": list(self.visibility),
            }
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Instances":
        """The people of a table (with at least one row) that ``to_frame`` made."""
        n = len(frame)
        visibility = np.array(frame["visibility"].tolist(), dtype=np.int64)
        keypoints = np.array(frame["keypoints"].tolist(), dtype=np.float32)
        return cls(
            ids=frame["id"].to_numpy(np.int64),
            image_ids=frame["image_id"].to_numpy(np.int64),
            paths=frame["path"].to_numpy(object),
            image_hw=frame[["height", "width"]].to_numpy(np.int64),
            boxes=frame[["x0", "y0", "x1", "y1"]].to_numpy(np.float32),
            areas=frame["area"].to_numpy(np.float32),
            box_scores=frame["box_score"].to_numpy(np.float32),
            keypoints=keypoints.reshape(n, visibility.shape[1], 2),
            visibility=visibility,
        )
