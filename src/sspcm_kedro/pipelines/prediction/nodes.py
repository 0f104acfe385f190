"""From images to keypoints."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.image_file import read_rgb
from sspcm_kedro.data.instances import Instances, as_text, evenly_spaced
from sspcm_kedro.data.progress import show_progress
from sspcm_kedro.data.views import crops_of
from sspcm_kedro.data.whose import as_unit, check_people, whose
from sspcm_kedro.engine.evaluate import EvaluationConfig, detect
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.frame_table import mark_visibility
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import ExportFormat, Predictions, export_predictions
from sspcm_kedro.figures.overlays import draw_overlays, tile_frame
from sspcm_kedro.figures.style import readable
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.nets.detector import load_detector
from sspcm_kedro.pipelines.prediction.config import PredictionConfig
from sspcm_kedro.pose.metrics import rescore
from sspcm_kedro.pose.skeleton import DEFAULT_SIGMA
from sspcm_kedro.sources.checks import need_folder, verify_images
from sspcm_kedro.sources.coco_format import read_boxes
from sspcm_kedro.sources.coco_records import AREA_OF_BOX
from sspcm_kedro.sources.coco_writer import coco_content
from sspcm_kedro.sources.image_folder import read_images

logger = logging.getLogger(__name__)

REMEDY = "Predict them again: kedro run --pipelines prediction --params prediction.images=FOLDER"
WHOLE = "each image was taken as one person"


def find_people(config: PredictionConfig, machine: MachineConfig) -> Instances:
    """The people to predict on: those of the boxes, or each image as one person.

    Raises:
        BadInput: no images were given, a file breaks a rule, or an image does not decode.
    """
    root, boxes = config.root, config.boxes
    assert config.images is not None  # else there were no root
    if boxes == "previous":
        rule, remedy = "must be of videos", "Set prediction.boxes=detector, or null"
        raise BadInput("parameter prediction.boxes = previous", rule, remedy)
    need_folder(root)
    if isinstance(boxes, Path):
        people = read_boxes(boxes, root, detections=config.detections)
        if config.images.is_file():
            mine = [path for path in set(people.paths) if Path(path) == config.images]
            people = _need_somebody(people.take(np.isin(people.paths, mine)), boxes)
    else:
        people = read_images(config.images)
        if boxes is None:
            logger.warning("No boxes were given (prediction.boxes): %s", WHOLE)
        else:
            people = _detect(people, config, machine)
    (marked,) = as_unit([verify_images(people)], {})
    return marked


def _detect(images: Instances, config: PredictionConfig, machine: MachineConfig) -> Instances:
    """The people whom a detector finds on images, of which each is a row."""
    detector = load_detector(config.detector, config.min_box_score, machine.pick())
    rows, boxes, scores = [], [], []
    numbered = show_progress(enumerate(images.paths), len(images), "finding people")
    for row, path in numbered:
        ((found, sure),) = detector.detect([np.asarray(read_rgb(path))])
        rows += [row] * len(found)
        boxes.append(found)
        scores.append(sure)
    empty = len(images) - len(set(rows))
    if empty:
        logger.warning("The detector found nobody on %d of %d images", empty, len(images))
    corners = np.concatenate(boxes).astype(np.float32)
    people = replace(
        images.take(np.array(rows, int)),
        ids=np.arange(1, len(rows) + 1),
        source_ids=as_text(range(1, len(rows) + 1)),
        boxes=corners,
        areas=(AREA_OF_BOX * (corners[:, 2:] - corners[:, :2]).prod(axis=1)).astype(np.float32),
        box_scores=np.concatenate(scores).astype(np.float32),
    )
    return _need_somebody(people, "prediction.boxes = detector")


def _need_somebody(people: Instances, where: object) -> Instances:
    if not len(people):
        remedy = "Lower prediction.min_box_score, name other categories, or give boxes"
        raise BadInput(where, "there must be somebody on the images, and nobody is", remedy)
    return people


def say_who_predicts(model: TrainedModel) -> None:
    """Log which of the run's networks it is, why, and what speaks against trusting that."""
    if model.choice:
        logger.info("The %s predicts. %s", readable(model.choice["ships"]), model.choice["reason"])
        if model.choice["doubt"]:
            logger.warning("%s", model.choice["doubt"])


def predict_people(
    model: TrainedModel, people: Instances, evaluation: EvaluationConfig, machine: MachineConfig
) -> dict[str, Any]:
    """``keypoints`` (n, k, 2) in canonical input pixels, their ``scores`` (n, k), and whose."""
    say_who_predicts(model)
    crops = crops_of(people, model.view, machine)
    predictions = model.predict(crops, evaluation, machine.pick(), "people")
    return {**predictions, **whose(people)}


def write_keypoints(
    predictions: dict[str, Tensor],
    people: Instances,
    model: TrainedModel,
    config: PredictionConfig,
    evaluation: EvaluationConfig,
) -> dict[str, Any]:
    """A COCO keypoint file in image pixels; file names are relative to ``prediction.images``.

    Each annotation also has a ``score``, that of the box times the mean of the clear keypoints',
    and ``keypoint_scores`` (k); where they were measured, ``keypoint_probabilities`` (k), of being
    right. A keypoint has v 2, or 1 below ``prediction.threshold``; outside of
    its image it has, as COCO says it, v 0 and no place. Of people whom a detector found twice the
    better scored one is left (OKS-NMS).
    """
    rows, keypoints, scores, visibility = _locate(predictions, people, model, config, evaluation)
    persons = rescore(people.box_scores[rows], scores, threshold=evaluation.score_threshold)
    further = {"score": persons, "keypoint_scores": scores}
    likely = model.probabilities(scores, flip_test=evaluation.flip_test)
    if np.isfinite(likely).any():
        further["keypoint_probabilities"] = likely
    return coco_content(
        people.take(rows), _names(people, config), keypoints, visibility, model.skeleton,
        description=f"Predicted keypoints; {'boxes were given' if config.boxes else WHOLE}",
        further={key: of.astype(float).round(4).tolist() for key, of in further.items()},
    )  # fmt: skip


def export_keypoints(
    predictions: dict[str, Tensor],
    people: Instances,
    model: TrainedModel,
    config: PredictionConfig,
    evaluation: EvaluationConfig,
) -> dict[str, bytes]:
    """The same in the formats of ``prediction.formats``: the content of files by ``format/name``.

    Keypoints outside of their image are not there.
    """
    if not config.formats:
        return {}
    rows, keypoints, scores, visibility = _locate(predictions, people, model, config, evaluation)
    shown, names = people.take(rows), _names(people, config)
    return export_formats(config.formats, Predictions(
        model.skeleton, np.where(visibility[..., None] > 0, keypoints, np.nan), scores,
        tuple(names[path] for path in shown.paths), shown.image_hw, boxes=shown.boxes,
    ))  # fmt: skip


def export_formats(formats: Sequence[ExportFormat], made: Predictions) -> dict[str, bytes]:
    """The content of files by ``format/name``.

    Raises:
        BadInput: a format cannot have these predictions, or its library is not installed.
    """
    return {f"{kind}/{name}": content for kind in formats
            for name, content in export_predictions(kind, made).items()}  # fmt: skip


def _locate(
    predictions: dict[str, Tensor], people: Instances, model: TrainedModel,
    config: PredictionConfig, evaluation: EvaluationConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rows (n) of the people who are left, their keypoints (n, k, 2) in image pixels, scores and
    visibility (n, k)."""
    check_people(predictions, people, "predictions", REMEDY)
    keypoints = to_image(predictions["keypoints"], people, model.view.frame)
    scores = predictions["scores"].numpy()
    visibility = mark_visibility(keypoints, scores, people.image_hw, config.threshold)
    rows = np.arange(len(people))
    if config.boxes == "detector":
        sigmas = np.asarray(model.skeleton.sigmas or [DEFAULT_SIGMA] * model.skeleton.size)
        view = model.view.frame
        kept, _ = detect(keypoints, predictions["scores"], people, view, sigmas, evaluation)
        rows = np.sort(kept)
    return rows, keypoints[rows], scores[rows], visibility[rows]


def _names(people: Instances, config: PredictionConfig) -> dict[str, str]:
    """What each image file is called."""
    return {path: _below(path, str(config.root)) for path in people.paths}


def _below(path: str, folder: str) -> str:
    """A path relative to a folder above it; stored people have absolute paths."""
    return Path(os.path.abspath(path)).relative_to(os.path.abspath(folder)).as_posix()


def draw_predictions(
    predictions: dict[str, Tensor],
    people: Instances,
    model: TrainedModel,
    config: PredictionConfig,
    machine: MachineConfig,
) -> Figure:
    """Some of the people with their keypoints, over the name of their image."""
    check_people(predictions, people, "predictions", REMEDY)
    rows = evenly_spaced(len(people), config.shown)
    shown, frame = people.take(rows), model.view.frame
    points = to_image(predictions["keypoints"][rows], shown, frame)
    titles = [Path(path).name for path in shown.paths]
    tile = tile_frame(frame)
    crops = Crops(shown, tile, border=0, workers=machine.decoders)
    pixels = crops[torch.arange(len(shown))].numpy()
    return draw_overlays(pixels, shown.boxes, tile, points, titles, model.skeleton)
