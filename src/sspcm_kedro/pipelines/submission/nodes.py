"""From test people to the file to hand in."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import crops_of
from sspcm_kedro.data.whose import check_people, whose
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.export import TrainedModel
from sspcm_kedro.errors import BadInput
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.submission.predictions import coco_submission, mpii_submission
from sspcm_kedro.sources.mpii_mat import read_test_images

REMEDY = "Predict them again: kedro run --pipelines submission"


class SubmissionConfig(Settings):
    """What is handed in, and to whom.

    Attributes:
        kind: the server's format: a zip with COCO's results, or MPII's mat.
        network: whose predictions: of the network that evaluation chose to ship, of the student
            (what the method deploys), or of what pipeline ``comparison`` trained.
        release: MPII's original mat, which says where the server looks for each person.
    """

    kind: Literal["coco", "mpii"] = "coco"
    network: Literal["shipped", "student", "comparison"] = "shipped"
    release: Path | None = None

    @model_validator(mode="after")
    def _placed(self) -> "SubmissionConfig":
        if self.kind == "mpii" and self.release is None:
            raise ValueError("kind mpii needs release, the path of mpii_human_pose_v1_u12_1.mat")
        return self


def predict_test(
    model: TrainedModel,
    instances: dict[str, Instances],
    submission: SubmissionConfig,
    evaluation: EvaluationConfig,
    machine: MachineConfig,
) -> dict[str, Any]:
    """``keypoints`` (n, k, 2) in canonical input pixels, their ``scores`` (n, k), and whose.

    Raises:
        BadInput: the source has no test people, or they cannot be handed in.
    """
    people = people_to_predict(instances)
    _images(people, submission)  # before the long work
    crops = crops_of(people, model.view, machine)
    predictions = model.predict(crops, evaluation, machine.pick(), "test people")
    return {**predictions, **whose(people)}


def submit_coco(
    predictions: dict[str, Tensor],
    instances: dict[str, Instances],
    model: TrainedModel,
    submission: SubmissionConfig,
    evaluation: EvaluationConfig,
) -> list[dict[str, Any]]:
    """COCO's results."""
    people = people_to_predict(instances)
    check_people(predictions, people, "test_predictions", REMEDY)
    return coco_submission(
        predictions["keypoints"], predictions["scores"], people, _images(people, submission),
        model.view.frame, model.skeleton, evaluation,
    )  # fmt: skip


def submit_mpii(
    predictions: dict[str, Tensor],
    instances: dict[str, Instances],
    model: TrainedModel,
    submission: SubmissionConfig,
) -> list[dict[str, Any]]:
    """MPII's ``pred``."""
    people = people_to_predict(instances)
    check_people(predictions, people, "test_predictions", REMEDY)
    assert submission.release is not None
    images, places = read_test_images(submission.release), _images(people, submission)
    rectangles = _numbers(people.source_ids, "people", "Set the source's test to the original mat")
    row_of = {place: row for row, place in enumerate(images.places)}
    strange = sorted(set(places.tolist()) - set(row_of))
    if strange:
        rule = f"must list every test person's image, and annolist {strange[0]} is no test image"
        raise BadInput(submission.release, rule, "Name the mat that the source reads too")
    return mpii_submission(
        predictions["keypoints"], people, model.view.frame, model.skeleton,
        images=images.names, rectangles=images.people,
        image=np.array([row_of[place] for place in places.tolist()]), rectangle=rectangles - 1,
    )  # fmt: skip


def people_to_predict(instances: dict[str, Instances]) -> Instances:
    """The people of part ``test``.

    Raises:
        BadInput: there are none.
    """
    if "test" not in instances:
        rule = "must have people to hand in predictions for (test), and has none"
        raise BadInput("parameter source", rule, "Give the source a test part; docs/data.md shows")
    return instances["test"]


def _numbers(names: np.ndarray, what: str, remedy: str) -> np.ndarray:
    """What the set's own files call images or people (n), as the numbers that servers know."""
    strange = [name for name in names if not str(name).isdecimal()]
    if strange:
        rule = f"must be called by a number in the set's files, found {strange[0]!r}"
        raise BadInput(f"{what} of the test part", rule, remedy)
    return names.astype(np.int64)


def _images(people: Instances, submission: SubmissionConfig) -> np.ndarray:
    """The numbers of the people's images (n): COCO's ids, MPII's places from 1."""
    remedies = {
        "coco": "COCO's server knows images by their ids: use COCO's own image list",
        "mpii": "MPII's server knows places in the original mat: set the source's test to it",
    }
    return _numbers(people.source_image_ids, "images", remedies[submission.kind])
