"""From videos to tables of keypoints, and to videos that show them."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.data.video_stream import VideoInfo, stream_video
from sspcm_kedro.datasets.labeled_videos import DrawnVideo, PredictedVideo
from sspcm_kedro.engine.boxes import (
    BoxedFrame,
    boxes_of_table,
    detected_boxes,
    need_videos,
    read_box_table,
)
from sspcm_kedro.engine.boxes import whole_frames as each_whole
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frame_table import FrameTable
from sspcm_kedro.engine.frames import read_ahead
from sspcm_kedro.engine.runtime import use_runtime
from sspcm_kedro.engine.video import Found, cells_of, collect, follow, predict_boxed
from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import Predictions
from sspcm_kedro.figures.labeled_frames import LabeledFrames
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.nets.detector import Detector, load_detector
from sspcm_kedro.pipelines.prediction.config import PredictionConfig, find_videos
from sspcm_kedro.pipelines.prediction.nodes import export_formats, say_who_predicts

logger = logging.getLogger(__name__)


def predict_videos(
    model: TrainedModel,
    config: PredictionConfig,
    evaluation: EvaluationConfig,
    machine: MachineConfig,
) -> Iterator[PredictedVideo]:
    """Each video's table, as soon as it is predicted.

    Raises:
        BadInput: a setting breaks a rule. A video that does not decode is left out, with an error
            in the log, as long as there is another.
    """
    if config.detections is not None:
        rule, remedy = "is of images", "Give videos a CSV table: prediction.boxes=FILE.csv"
        raise BadInput("parameter prediction.detections", rule, remedy)
    say_who_predicts(model)
    videos, device = find_videos(config.images), machine.pick()
    flip_test = evaluation.averages_mirrored(model.view)
    if config.runtime == "onnxruntime":
        model = use_runtime(model, device)
    boxes = _box_source(config, videos, device)
    failed: list[BadInput] = []
    for video in videos:
        name = _name(video, config)
        try:
            total = VideoInfo.of(video).frames
            if config.boxes == "previous":
                found = follow(model, stream_video(video), flip_test=flip_test, device=device,
                               threshold=config.threshold)  # fmt: skip
            else:
                found = predict_boxed(
                    model, boxes(video, name), flip_test=flip_test, device=device,
                    batch=config.batch, workers=machine.decoders,
                )  # fmt: skip
            yield PredictedVideo(name, _table_of(found, total, name, model, config, evaluation))
        except BadInput as error:
            logger.error("%s", error)
            failed.append(error)
    if failed and len(failed) == len(videos):
        raise failed[0]


def _name(video: Path, config: PredictionConfig) -> str:
    """What a video is called: its path below the folder of videos."""
    return video.relative_to(config.root).as_posix()


def _table_of(
    found: Iterator[Found], total: int, name: str, model: TrainedModel, config: PredictionConfig,
    evaluation: EvaluationConfig,
) -> FrameTable:  # fmt: skip
    table = collect(
        model, show_progress(found, total, name), threshold=config.threshold,
        nms_threshold=evaluation.nms_threshold,
    )  # fmt: skip
    if not len(table):
        logger.warning("%s: nobody is on any of its %d frames", name, table.count)
    return table.smoothed(cells_of(table, model), config.threshold) if config.smooth else table


def _box_source(
    config: PredictionConfig, videos: Sequence[Path], device: torch.device
) -> Callable[[Path, str], Iterator[BoxedFrame]]:
    """What gives the frames of a video, and the boxes of their people."""
    detector: Detector | None = None
    table: pd.DataFrame | None = None
    if config.boxes == "detector":
        detector = load_detector(config.detector, config.min_box_score, device)
    elif isinstance(config.boxes, Path):
        table = read_box_table(config.boxes)
        if all(video.is_file() for video in videos):  # else it is told of as it is opened
            need_videos(config.boxes, table, [_name(video, config) for video in videos])
    elif config.boxes is None:
        logger.warning("No boxes were given (prediction.boxes): each frame was taken as one person")

    def boxes(video: Path, name: str) -> Iterator[BoxedFrame]:
        frames = stream_video(video)
        if detector is not None:
            return detected_boxes(frames, detector)
        return each_whole(frames) if table is None else boxes_of_table(frames, table, name)

    return boxes


def draw_videos(
    tables: Callable[[str], FrameTable], model: TrainedModel, config: PredictionConfig
) -> Iterator[DrawnVideo]:
    """Each video with its keypoints; of those that do not decode there is none."""
    for video in find_videos(config.images):
        name = _name(video, config)
        try:
            info = VideoInfo.of(video)
            frames = LabeledFrames(tables(name), model.skeleton.limbs).draw(
                read_ahead(stream_video(video))
            )
            with_bar = show_progress(frames, info.frames, f"drawing {name}")
            yield DrawnVideo(name, with_bar, info.rate)
        except BadInput as error:
            logger.error("%s", error)


def export_videos(
    tables: Callable[[str], FrameTable], model: TrainedModel, config: PredictionConfig
) -> dict[str, bytes]:
    """All tables in the formats of ``prediction.formats``: the content of files by
    ``format/name``.

    Keypoints outside of the frame are not there. Videos that do not decode have no table.
    """
    if not config.formats:
        return {}
    found: dict[str, FrameTable] = {}
    for video in find_videos(config.images):
        name = _name(video, config)
        try:
            found[name] = tables(name)
        except BadInput as error:
            logger.error("%s", error)
    if not found:
        return {}
    keys = ("keypoints", "visibility", "scores", "image_hw", "frames", "tracks", "boxes")
    all_of: dict[str, Any] = {
        key: np.concatenate([getattr(table, key) for table in found.values()]) for key in keys
    }
    visibility = all_of.pop("visibility")
    keypoints = np.where(visibility[..., None] > 0, all_of.pop("keypoints"), np.nan)
    files = tuple(name for name, table in found.items() for _ in range(len(table)))
    counts = {name: table.count for name, table in found.items()}
    made = Predictions(model.skeleton, keypoints, files=files, frame_counts=counts, **all_of)
    return export_formats(config.formats, made)
