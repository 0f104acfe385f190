"""A video to the keypoints of its people: in batches, told apart, marked, in one table."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from sspcm_kedro.data.video_stream import VideoFrame
from sspcm_kedro.engine.boxes import BoxedFrame, whole_box
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frame_table import DTYPES, FrameTable, mark_visibility
from sspcm_kedro.engine.frames import BATCH, FrameKeypoints, predict_frames, read_ahead
from sspcm_kedro.pose.geometry import crop_extents, crop_matrix
from sspcm_kedro.pose.metrics import oks_nms, rescore
from sspcm_kedro.pose.skeleton import DEFAULT_SIGMA
from sspcm_kedro.pose.tracks import Tracker

MARGIN = 1.25
"""Factor on both sides of the extent of keypoints, to have a box for the next frame."""

Found = tuple[BoxedFrame, FrameKeypoints]


def predict_boxed(
    model: TrainedModel, boxed: Iterable[BoxedFrame], *, flip_test: bool, device: torch.device,
    batch: int = BATCH, workers: int = 2,
) -> Iterator[Found]:  # fmt: skip
    """Frames of which the boxes are known, with their keypoints; as ``predict_frames``.

    The images are dropped on the way: what comes out has an empty one.
    """
    waiting: deque[BoxedFrame] = deque()

    def images() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for one in boxed:
            waiting.append(_without_pixels(one))
            yield one.frame.image, one.boxes

    found = predict_frames(
        model, images(), flip_test=flip_test, device=device, batch=batch, workers=workers
    )
    for keypoints in found:
        yield waiting.popleft(), keypoints


def follow(
    model: TrainedModel, frames: Iterable[VideoFrame], *, flip_test: bool, device: torch.device,
    threshold: float,
) -> Iterator[Found]:  # fmt: skip
    """One person or animal, boxed on each frame by its clear keypoints on the one before.

    The first box is all of the frame, and so is the next one after a frame with fewer than two
    keypoints at or above the threshold. Frame follows frame: there are no batches.
    """
    box, one, first = None, np.ones(1, np.float32), np.zeros(1, np.int64)
    for frame in read_ahead(frames):
        whole = whole_box(frame.image)
        boxes = whole if box is None else box
        (keypoints,) = predict_frames(
            model, [(frame.image, boxes)], flip_test=flip_test, device=device, workers=1
        )
        box = box_around(keypoints.keypoints[0], keypoints.scores[0] >= threshold, whole)
        yield _without_pixels(BoxedFrame(frame, boxes, one, first)), keypoints


def box_around(points: np.ndarray, clear: np.ndarray, whole: np.ndarray) -> np.ndarray | None:
    """The box (1, 4) of clear points (k, 2), with ``MARGIN``, inside the whole; or None.

    A side is at least a quarter of the other: points may lie on a line.
    """
    if clear.sum() < 2:
        return None
    low, high = points[clear].min(axis=0), points[clear].max(axis=0)
    sides = high - low
    half = np.maximum(sides, sides.max() / 4) * MARGIN / 2
    center = (low + high) / 2
    box = np.concatenate([center - half, center + half])[None].astype(np.float32)
    box = np.clip(box, whole[:, [0, 1, 0, 1]], whole[:, [2, 3, 2, 3]])
    return box if (box[:, 2:] - box[:, :2] >= 1).all() else None


def collect(
    model: TrainedModel, found: Iterable[Found], *, threshold: float, nms_threshold: float
) -> FrameTable:
    """The people of all frames, each once, told apart over time, their keypoints marked.

    Whose track is given is somebody of their own, however near another one.

    Args:
        model: that predicted.
        found: frame by frame; drawn to its end.
        threshold: of keypoint scores: those below are marked, and do not count for a person.
        nms_threshold: OKS above which two people of a frame are one, the better scored.
    """
    names, frame = model.skeleton.names, model.view.frame
    sigmas = np.asarray(model.skeleton.sigmas or [DEFAULT_SIGMA] * len(names), np.float64)
    tracker, parts, count = Tracker(sigmas), [], 0
    for boxed, predicted in found:
        count = max(count, boxed.frame.index + 1)
        rows = np.arange(len(boxed.boxes))
        if len(rows) > 1 and boxed.tracks is None:
            persons = rescore(boxed.scores, predicted.scores, threshold=threshold)
            areas = crop_extents(boxed.boxes, frame)[1].prod(axis=1)
            kept = oks_nms(predicted.keypoints, persons, areas, sigmas, threshold=nms_threshold)
            rows = np.sort(kept)
        keypoints, scores, probabilities = (part[rows] for part in predicted)
        boxes = boxed.boxes[rows]
        known = boxed.tracks
        tracks = tracker.assign(keypoints, boxes) if known is None else known[rows]
        hw = np.tile(boxed.frame.image.shape[:2], (len(rows), 1))
        parts.append({
            "frames": np.full(len(rows), boxed.frame.index),
            "seconds": np.full(len(rows), boxed.frame.seconds),
            "tracks": tracks, "boxes": boxes, "image_hw": hw, "keypoints": keypoints,
            "scores": scores, "probabilities": probabilities, "measured": keypoints,
            "visibility": mark_visibility(keypoints, scores, hw, threshold),
        })  # fmt: skip
    joined = {
        name: np.concatenate([part[name] for part in parts]).astype(DTYPES.get(name, np.float32))
        for name in parts[0]
    }
    return FrameTable(names=names, count=count, **joined)


def cells_of(table: FrameTable, model: TrainedModel) -> np.ndarray:
    """(n) a heatmap cell of each row, in image pixels."""
    return model.view.stride / crop_matrix(table.boxes, model.view.frame)[:, 0, 0]


def _without_pixels(boxed: BoxedFrame) -> BoxedFrame:
    """The same, of which the image has its size alone and takes no memory."""
    shape = boxed.frame.image.shape
    return boxed._replace(
        frame=boxed.frame._replace(image=np.broadcast_to(np.zeros(1, np.uint8), shape))
    )
