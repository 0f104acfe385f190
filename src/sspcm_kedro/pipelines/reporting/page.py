"""The nodes of the page: what the run was, and report.html."""

import math
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from rich.console import Console

from sspcm_kedro.config import Settings, Share
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import check_people
from sspcm_kedro.engine.fingerprint import fingerprint, people_text
from sspcm_kedro.errors import BadInput
from sspcm_kedro.figures.style import readable
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pipelines.reporting.cases import collect_cases
from sspcm_kedro.pipelines.reporting.html import Numbers, page_html
from sspcm_kedro.pipelines.reporting.nodes import name_of, networks_in
from sspcm_kedro.pipelines.reporting.tables import choice_lines, comparison_table, explain_columns
from sspcm_kedro.pose.skeleton import Skeleton


class PublishedConfig(Settings):
    """What others report for the same benchmark; only ever shown beside what was measured here.

    Attributes:
        scores: 0 to 1, by the names of our own, for each of their networks.
        source: where they are printed.
    """

    scores: dict[str, dict[str, Share]] = Field(default={})
    source: str | None = None

    @model_validator(mode="after")
    def _sourced(self) -> "PublishedConfig":
        if self.scores and not self.source:
            raise ValueError("published scores need their source")
        return self


def describe_run(
    metrics: dict[str, Any],
    labeled: Instances,
    unlabeled: Instances,
    validation: Instances,
    skeleton: Skeleton,
    comparison: pd.DataFrame,
    *stages: pd.DataFrame,
) -> dict[str, Any]:
    """What the run was: whose people, how long it trained. (A hook adds its settings and revision.)

    Args:
        metrics: all numbers of the run.
        labeled: people who teach.
        unlabeled: people without labels.
        validation: people who evaluate.
        skeleton: their keypoints.
        comparison: the comparison's history.
        stages: the histories of warm-up, round 1, ...

    Returns:
        ``people`` and ``images`` by table; ``keypoints``, how many; ``data`` and ``results``,
        digests; ``seconds`` of optimizer steps of ``method`` and ``comparison``, None where an
        older version has not counted them.
    """
    tables = {"labeled": labeled, "unlabeled": unlabeled, "validation": validation}
    return {
        "people": {name: len(people) for name, people in tables.items()},
        "images": {name: len(set(people.paths)) for name, people in tables.items()},
        "keypoints": skeleton.evaluated.size,
        "data": fingerprint(*((name, people_text(people)) for name, people in tables.items())),
        "results": fingerprint(metrics),
        "seconds": {"method": _seconds(*stages), "comparison": _seconds(comparison)},
    }


def _seconds(*histories: pd.DataFrame) -> float | None:
    """The training time of some histories together; None if an epoch does not say it."""
    if not all("seconds" in history for history in histories):
        return None
    total = sum(float(np.sum(history["seconds"].to_numpy(float))) for history in histories)
    return total if math.isfinite(total) else None


def tell_scores(
    metrics: dict[str, Any], comparison: dict[str, Any], published: PublishedConfig
) -> Numbers:
    """What the page says of the scores; prints them, and which network is shipped, on the terminal.

    Args:
        metrics: all numbers of the run.
        comparison: the comparison's scores, under its name.
        published: of others.

    Raises:
        BadInput: the numbers do not say which network is shipped.
    """
    if "choice" not in metrics:
        rule = "must say which network is shipped, and an older version of this project made it"
        raise BadInput("metrics", rule, "Make it again: kedro run --pipelines evaluation")
    reference = name_of(comparison)
    networks = {
        name: {
            key: value for key, value in scores.items() if not isinstance(value, str | list | dict)
        }
        for name, scores in networks_in(metrics).items()
    }
    labels, notes = explain_columns(networks_in(metrics))
    theirs = {f"{name} (published)": scores for name, scores in published.scores.items()}
    Console().print(
        comparison_table(networks, reference=reference, published=theirs, labels=labels)
    )
    for note in [*choice_lines(metrics["choice"]), *notes]:
        Console().print(note)
    notes = [
        *notes,
        f"The {readable(reference)} learned from the same labels, with the same network and weak "
        "view, in as many optimizer steps as the whole training of the method.",
    ]
    if any(name.endswith("_last") for name in networks):
        notes.append("Networks are averages of their weights over training; those called last have "
                     "the weights after the last step.")  # fmt: skip
    if theirs:
        notes.append(f"Published scores are not measured here: {published.source}.")
    found = {
        name: scores["PCK_per_keypoint"]
        for name, scores in networks_in(metrics).items()
        if "PCK_per_keypoint" in scores
    }
    return Numbers(metrics["choice"], {**networks, **theirs}, labels, found, notes)


def report(
    metrics: dict[str, Any],
    comparison_scores: dict[str, Any],
    published: PublishedConfig,
    run_record: dict[str, Any],
    validation_predictions: dict[str, Any],
    comparison_predictions: dict[str, Any],
    validation: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    machine: MachineConfig,
    **figures: bytes,
) -> str:
    """One page with everything, to be sent to others; prints the scores on the terminal.

    Args:
        metrics: all numbers of the run.
        comparison_scores: the comparison's, under its name.
        published: scores of others.
        run_record: what the run was.
        validation_predictions: of the method's networks.
        comparison_predictions: of the comparison's.
        validation: the people they are of.
        skeleton: their keypoints.
        view: the frame of the predictions.
        machine: reads the images.
        figures: PNG files by their names in the catalog.

    Raises:
        BadInput: the numbers do not say which network is shipped, or predictions are of others.
    """
    numbers = tell_scores(metrics, comparison_scores, published)
    networks = {}
    for stored, pipeline in (
        (validation_predictions, "evaluation"), (comparison_predictions, "comparison")
    ):  # fmt: skip
        remedy = f"Predict again: kedro run --pipelines {pipeline}"
        check_people(stored, validation, f"predictions of {pipeline}", remedy)
        networks[stored["deployed"]] = stored
    ships = metrics["choice"]["ships"]
    order = sorted(networks, key=lambda name: name != ships)
    cases = collect_cases(
        {name: networks[name] for name in order}, validation, skeleton, view, machine
    )
    return page_html(numbers, run_record, cases, figures)
