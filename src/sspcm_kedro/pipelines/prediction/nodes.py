"""From a folder of images to keypoints."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field, model_validator
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.views import crops_of
from sspcm_kedro.data.whose import as_unit, check_people, whose
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.overlays import draw_overlays, tile_frame
from sspcm_kedro.figures.style import readable
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pose.metrics import rescore
from sspcm_kedro.sources.checks import need_folder, verify_images
from sspcm_kedro.sources.coco_format import read_boxes
from sspcm_kedro.sources.coco_writer import coco_content
from sspcm_kedro.sources.image_folder import read_image_folder

logger = logging.getLogger(__name__)

REMEDY = "Predict them again: kedro run --pipelines prediction --params prediction.images=FOLDER"
WHOLE = "each image was taken as one person"


class PredictionConfig(Settings):
    """What to predict on.

    Attributes:
        images: a folder.
        boxes: a COCO file with the people's boxes, its file names relative to ``images``. Without
            it each image, also of sub-folders, is taken as one person who fills it.
        detections: a detector's result list for the images of ``boxes``, instead of its boxes.
        shown: people on the overlay sheet, evenly spaced.
    """

    images: Path | None = None
    boxes: Path | None = None
    detections: Path | None = None
    shown: int = Field(default=24, ge=1, le=1000)

    @model_validator(mode="after")
    def _listed(self) -> "PredictionConfig":
        if self.detections is not None and self.boxes is None:
            raise ValueError(
                "detections know images by id; set prediction.boxes to the COCO file listing them"
            )
        return self


def find_people(config: PredictionConfig) -> Instances:
    """The people to predict on: those of the boxes, or each image as one person.

    Raises:
        BadInput: no folder was given, a file breaks a rule, or an image does not decode.
    """
    if config.images is None:
        remedy = "kedro run --pipelines prediction --params prediction.images=FOLDER"
        raise BadInput("parameter prediction.images", "must name a folder of images", remedy)
    need_folder(config.images)
    if config.boxes is None:
        people = read_image_folder(config.images)
        logger.warning("No boxes were given (prediction.boxes): %s", WHOLE)
    else:
        people = read_boxes(config.boxes, config.images, detections=config.detections)
    (marked,) = as_unit([verify_images(people)], {})
    return marked


def predict_people(
    model: TrainedModel, people: Instances, evaluation: EvaluationConfig, machine: MachineConfig
) -> dict[str, Any]:
    """``keypoints`` (n, k, 2) in canonical input pixels, their ``scores`` (n, k), and whose."""
    if model.choice:
        logger.info("The %s predicts", readable(model.choice["ships"]))
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
    and ``keypoint_scores`` (k). Every keypoint has v 2: a network places all of them.
    """
    check_people(predictions, people, "predictions", REMEDY)
    scores = predictions["scores"].numpy()
    names = {path: _below(path, str(config.images)) for path in people.paths}
    persons = rescore(people.box_scores, scores, threshold=evaluation.score_threshold)
    keypoints = to_image(predictions["keypoints"], people, model.view.frame)
    return coco_content(
        people, names, keypoints, np.full(scores.shape, 2), model.skeleton,
        description=f"Predicted keypoints; {'boxes were given' if config.boxes else WHOLE}",
        further={
            "score": persons.astype(float).round(4).tolist(),
            "keypoint_scores": scores.astype(float).round(4).tolist(),
        },
    )  # fmt: skip


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
    crops = Crops(shown, tile, border=0, workers=machine.workers)
    pixels = crops[torch.arange(len(shown))].numpy()
    return draw_overlays(pixels, shown.boxes, tile, points, titles, model.skeleton)
