"""From histories, labels, predictions and metrics to figures and a page."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sspcm_kedro.data.instances import Instances, evenly_spaced
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import check_people, check_unit
from sspcm_kedro.engine.choice import Choice
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.figures.charts import learning_curves, per_keypoint_bars, pseudo_label_quality
from sspcm_kedro.figures.reliability import reliability_diagram
from sspcm_kedro.figures.sheets import prediction_sheet, pseudo_label_sheet
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.pipelines.reporting.people import bordered_crops, label_points, person_errors
from sspcm_kedro.pose.skeleton import Skeleton

SHOWN = 8
"""People on a sheet."""


def draw_curves(
    method: MethodConfig, scores: dict[str, Any], comparison: pd.DataFrame, *stages: pd.DataFrame
) -> Figure:
    """Warm-up and rounds as one training, and the comparison, on the same axes.

    Args:
        method: what the rounds trained.
        scores: the comparison's, under its name.
        comparison: its history.
        stages: the histories of warm-up, round 1, ...
    """
    rounds = pd.concat(stages, ignore_index=True)
    return learning_curves(
        {f"{method.kind} in rounds": rounds, name_of(scores): comparison}, pck_unit_of(scores)
    )


def draw_pseudo_labels(
    predictions: dict[str, Any],
    corrected: dict[str, Any],
    unlabeled: Instances,
    hidden_truth: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    machine: MachineConfig,
) -> Figure:
    """Unlabeled people, before and after correction; the truth where it is known.

    Raises:
        BadInput: the labels are of other people, or the tables of several ingestions.
    """
    check_unit(skeleton.to_dict(), unlabeled=unlabeled, hidden_truth=hidden_truth)
    for what, stored in (("pseudo-labels", predictions), ("corrected labels", corrected)):
        remedy = "Make them again: kedro run --pipelines rounds"
        check_people(stored, unlabeled, f"{what} of the last round", remedy)
    rows = evenly_spaced(len(unlabeled), SHOWN)
    channels = list(skeleton.evaluated_channels)
    truth = hidden_truth.take(rows).gather(channels)
    crops = bordered_crops(unlabeled.take(rows), view, machine)
    labelers = predictions["keypoints"][:, rows][:, :, channels].numpy() + view.border
    known = bool((truth.visibility > 0).any())
    return pseudo_label_sheet(
        crops, labelers[0], labelers[1] if len(labelers) == 2 else None,
        corrected["keypoints"][rows][:, channels].numpy() + view.border,
        corrected["kept"][rows][:, channels].numpy().astype(bool),
        label_points(truth, view) + view.border if known else None,
        truth.visibility if known else None,
        skeleton.evaluated.limbs,
    )  # fmt: skip


def draw_predictions(
    predictions: dict[str, Any],
    comparison: dict[str, Any],
    validation: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    machine: MachineConfig,
) -> Figure:
    """Validation people: truth, and the networks that comparison and method deploy.

    Raises:
        BadInput: the predictions are of other people.
    """
    for stored, pipeline in ((predictions, "evaluation"), (comparison, "comparison")):
        where, remedy = f"predictions of {pipeline}", "Predict again: kedro run --pipelines "
        check_people(stored, validation, where, f"{remedy}{pipeline}")
    rows = evenly_spaced(len(validation), SHOWN)
    channels = list(skeleton.evaluated_channels)
    people = validation.take(rows).gather(channels)
    shown, errors = {}, {}
    for networks in (comparison, predictions):
        name = networks["deployed"]
        points = networks[f"{name}.keypoints"][rows][:, channels]
        shown[name] = points.numpy() + view.border
        errors[name] = person_errors(to_image(points, people, view.frame), people)
    truth = label_points(people, view) + view.border
    return prediction_sheet(
        bordered_crops(validation.take(rows), view, machine), shown, truth, people.visibility,
        skeleton.evaluated.limbs, errors, flip_pairs=skeleton.evaluated.flip_pairs,
    )  # fmt: skip


def draw_keypoints(metrics: dict[str, Any]) -> Figure:
    """PCK keypoint by keypoint, networks side by side."""
    scores = {name: row["PCK_per_keypoint"] for name, row in networks_in(metrics).items()}
    names = list(next(iter(scores.values())))
    values = {net: np.array([own[name] for name in names], float) for net, own in scores.items()}
    return per_keypoint_bars(values, names, pck_unit_of(networks_in(metrics)))


def draw_quality(rounds: list[dict[str, float]], skeleton: Skeleton) -> Figure:
    """Accuracy of the pseudo-labels round by round; says so where no truth is known."""
    if rounds:
        return pseudo_label_quality(rounds, skeleton.pck_unit)
    return _says("No truth is known of the unlabeled people.")


def draw_reliability(
    labels: dict[str, Any],
    metrics: dict[str, Any],
    network: dict[str, Any],
    comparison: dict[str, Any],
    skeleton: Skeleton,
) -> Figure:
    """Share of right pseudo-labels and predictions, and their error, by probability.

    Args:
        labels: what ``measure_probabilities`` gives; empty of methods that measure none.
        metrics: say which network ships.
        network: what ``measure_deployed`` gives of the method's network; empty where nobody could
            be measured.
        comparison: of the comparison's.
        skeleton: says what PCK's unit is.
    """
    measured = {whose: {**labels[whose], "tolerance": labels["tolerance"]}
                for whose in ("held_out", "unlabeled") if whose in labels}  # fmt: skip
    shipped = network if Choice.from_dict(metrics["choice"]).ships_network else comparison
    if shipped:
        measured["validation"] = {**shipped, "tolerance": shipped["confidence"]["tolerance"]}
    if measured:
        return reliability_diagram(measured, skeleton.pck_unit)
    return _says("Nothing could be measured: no keypoint's truth is known in PCK's unit.")


def _says(text: str) -> Figure:
    figure = Figure(figsize=(6, 2))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def networks_in(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores of networks, without the choice between them and those of pseudo-labels."""
    others = {"choice", "pseudo_labels"}
    return {name: scores for name, scores in metrics.items() if name not in others}


def pck_unit_of(scores: dict[str, dict[str, Any]]) -> str | None:
    """What PCK measures by in scores by network; None where they do not say."""
    return next((row["PCK_unit"] for row in scores.values() if "PCK_unit" in row), None)


def name_of(comparison: dict[str, Any]) -> str:
    """What the comparison is called: the first row of its scores."""
    return next(iter(comparison))
