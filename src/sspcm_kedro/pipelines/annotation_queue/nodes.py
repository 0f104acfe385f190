"""From corrected labels to a folder that annotation tools open."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.coco_writer import coco_content
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.returned import flat_names
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.engine.settings import MachineConfig, ViewConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pipelines.overlays import draw_people
from sspcm_kedro.pose.skeleton import Skeleton

VISIBLE, DOUBTFUL = 2, 1
"""Visibility of kept and of rejected joints in the draft; tools show 1 as covered."""


class QueueConfig(Settings):
    """Who is asked for labels.

    Attributes:
        people: how many at most; the most inconsistent first.
        shown: how many of them the contact sheet shows.
    """

    people: int = Field(default=50, ge=1)
    shown: int = Field(default=60, ge=1)


def queue(
    corrected: dict[str, Tensor],
    labelled: pd.DataFrame,
    unlabelled: pd.DataFrame,
    skeleton: dict[str, Any],
    view: ViewConfig,
    config: QueueConfig,
    machine: MachineConfig,
) -> tuple[dict[str, Any], Figure]:
    """The people whose pairs of predictions lie furthest apart, mean of their joints.

    Args:
        corrected: corrected labels of the last round, a row an unlabelled person.
        labelled: nobody of these is asked for again.
        unlabelled: the people.
        skeleton: their joints.
        view: the frame of the corrected labels.
        config: how many.
        machine: that reads their pixels.

    Returns:
        ``annotations``, a COCO file with the corrected labels as a draft, and ``images``, the image
        file of each of its file names; and a sheet with the same people in the same order.

    Raises:
        BadInput: the labels are of other people, or nobody is unlabelled.
    """
    if corrected["ids"].tolist() != unlabelled["id"].tolist():
        raise BadInput(
            "corrected labels of the last round",
            "must be of the unlabelled people, who are others by now",
            "Run the rounds again: kedro run --pipelines warmup,rounds",
        )
    inconsistency = corrected["inconsistency"].double().mean(dim=1).numpy()
    order = np.argsort(-inconsistency, kind="stable")
    unknown = ~np.isin(unlabelled["id"].to_numpy()[order], labelled["id"].to_numpy())
    rows = order[unknown][: config.people]
    if not len(rows):
        rule = "at least one person must have no label yet, and every one has"
        raise BadInput("unlabelled people", rule, "Add people to the source")
    people, joints = Instances.from_frame(unlabelled.iloc[rows]), Skeleton.from_dict(skeleton)
    names = flat_names(unlabelled["path"])
    points = to_image(corrected["keypoints"][rows], people, view.input_hw)
    kept = corrected["kept"][rows].numpy().astype(bool)
    annotations = coco_content(
        people, names, inside(points, people), np.where(kept, VISIBLE, DOUBTFUL), joints,
        description="Drafts: pseudo-labels, the most inconsistent person first",
        further={"inconsistency": inconsistency[rows].round(4).tolist()},
    )  # fmt: skip
    images = {names[path]: path for path in dict.fromkeys(people.paths)}
    shown = slice(config.shown)
    titles = [
        f"{place} ({inconsistency[row]:.2f}) {names[path]}"
        for place, (row, path) in enumerate(zip(rows, people.paths, strict=True), start=1)
    ]
    sheet = draw_people(
        people.take(shown), points[shown], titles[shown], joints, view.input_hw, machine,
        kept=kept[shown],
    )  # fmt: skip
    return {"annotations": annotations, "images": images}, sheet


def inside(points: np.ndarray, people: Instances) -> np.ndarray:
    """Points (n, k, 2), those outside their image moved to its edge, where tools can grasp them."""
    last = people.image_hw[:, None, ::-1] - 1
    return np.clip(points, 0, last)
