"""How right the rounds' pseudo-labels were, where the truth of the unlabeled people is known."""

from typing import Any

import numpy as np
from torch import Tensor

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import check_people, check_unit
from sspcm_kedro.engine.calibration import label_errors, reliability
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.pose.metrics import pck, pck_reference
from sspcm_kedro.pose.skeleton import Skeleton

ROUNDS_AGAIN = "Make them again: kedro run --pipelines rounds"


def score_pseudo_labels(
    hidden_truth: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    evaluation: EvaluationConfig,
    *rounds: dict[str, Any],
) -> list[dict[str, float]]:
    """PCK of the unlabeled people's pseudo-labels in each round, where their truth is known.

    Args:
        hidden_truth: the unlabeled people with their labels, which nothing else reads.
        skeleton: their keypoints.
        view: the frame of the predictions.
        evaluation: the PCK threshold.
        rounds: predictions and corrected labels of round 1, of round 2, ...

    Returns:
        A row a round: teacher_a and teacher_b, where two networks label; the mean of all that do;
        corrected (all keypoints), kept_corrected and kept_mean (corrected labels and plain mean,
        over the kept keypoints alone), rejected, and the share kept of the keypoints whose truth is
        known. Empty where no truth is known.

    Raises:
        BadInput: the labels of a round are of other people.
    """
    people = hidden_truth
    check_unit(skeleton.to_dict(), hidden_truth=people)
    if not (people.visibility > 0).any():
        return []
    reference = pck_reference(people.keypoints, people.visibility, people.boxes, skeleton.torso)

    def quality(keypoints: Tensor, among: np.ndarray | bool = True) -> float:
        predicted = to_image(keypoints, people, view.frame)
        visibility = people.visibility * np.asarray(among)
        threshold = evaluation.pck_threshold
        return pck(predicted, people.keypoints, visibility, reference, threshold=threshold).mean

    rows = []
    pairs = zip(rounds[::2], rounds[1::2], strict=True)
    for number, (predictions, corrected) in enumerate(pairs, start=1):
        for what, stored in (("pseudo-labels", predictions), ("corrected labels", corrected)):
            check_people(stored, people, f"{what} of round {number}", ROUNDS_AGAIN)
        labelers, label = predictions["keypoints"], corrected["keypoints"]
        names = ("teacher_a", "teacher_b") if len(labelers) == 2 else ()
        mean, kept = labelers.mean(dim=0), corrected["kept"].numpy().astype(bool)
        rows.append({
            "round": number,
            **{name: quality(own) for name, own in zip(names, labelers, strict=False)},
            "mean": quality(mean), "corrected": quality(label),
            "kept_corrected": quality(label, kept), "kept_mean": quality(mean, kept),
            "rejected": quality(label, ~kept),
            "kept": float(kept[people.visibility > 0].mean()),
        })  # fmt: skip
    return rows


def measure_probabilities(
    hidden_truth: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    method: MethodConfig,
    corrected: dict[str, Any],
    report: dict[str, Any],
) -> dict[str, Any]:
    """How well the last round's probabilities say which labels are right, by whom it is measured.

    Args:
        hidden_truth: the unlabeled people with their labels, which nothing else reads.
        skeleton: their keypoints.
        view: the frame of the labels.
        method: its tolerance says what is right.
        corrected: labels of the last round.
        report: of that round's correction.

    Returns:
        ``reliability`` of ``held_out``, the labeled people whom no teacher learned from, and of
        ``unlabeled`` people, where their truth is known; and the ``tolerance``. Empty of methods
        that hold nobody out.

    Raises:
        BadInput: the labels are of other people.
    """
    if "calibration" not in report:
        return {}
    check_people(corrected, hidden_truth, "corrected labels of the last round", ROUNDS_AGAIN)
    tolerance = method.label_rules().tolerance
    measured = {"tolerance": tolerance, "held_out": report["calibration"]}
    errors = label_errors(corrected["keypoints"], hidden_truth, skeleton, view.frame)
    known = np.isfinite(errors)
    if known.any():
        probability = corrected["probability"].numpy()[known]
        measured["unlabeled"] = reliability(probability, errors[known], tolerance)
    return measured
