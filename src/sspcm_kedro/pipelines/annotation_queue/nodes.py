"""From corrected labels to a folder that annotation tools open."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from sspcm_kedro.config import Settings
from sspcm_kedro.data.crops import Crops
from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.data.whose import check_people
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.errors import BadInput
from sspcm_kedro.exports import DraftFormat, Predictions, export_drafts
from sspcm_kedro.figures.overlays import draw_overlays, tile_frame
from sspcm_kedro.machine import MachineConfig
from sspcm_kedro.pose.skeleton import Skeleton
from sspcm_kedro.sources.annotation_import import flat_names
from sspcm_kedro.sources.coco_writer import coco_content

VISIBLE, DOUBTFUL = 2, 1
"""Visibility of kept and of rejected keypoints in the draft; tools show 1 as covered."""


class QueueConfig(Settings):
    """Who is asked for labels.

    Attributes:
        people: how many at most; those whose labels are the least likely right first.
        shown: how many of them the contact sheet shows.
        formats: of other tools, besides COCO, that the drafts are written in, into ``exports``.
        scorer: whose labels the drafts are in tables of DeepLabCut, which reads those of the scorer
            in its config.yaml alone.
    """

    people: int = Field(default=50, ge=1, le=10**9)
    shown: int = Field(default=60, ge=1, le=1000)
    formats: tuple[DraftFormat, ...] = ()
    scorer: str = Field(default="sspcm", pattern=r"^[^/\\]+$", max_length=200)


def select_people(
    corrected: dict[str, Tensor],
    labeled: Instances,
    unlabeled: Instances,
    skeleton: Skeleton,
    view: ViewConfig,
    config: QueueConfig,
    machine: MachineConfig,
) -> tuple[dict[str, Any], Figure]:
    """The people whose labels are the least likely right, mean of their keypoints.

    Where that is not measured, those whose pairs of predictions lie furthest apart.

    Args:
        corrected: corrected labels of the last round, a row an unlabeled person.
        labeled: nobody of these is asked for again.
        unlabeled: the people.
        skeleton: their keypoints.
        view: the frame of the corrected labels.
        config: how many.
        machine: that reads their pixels.

    Returns:
        ``annotations``, a COCO file with the corrected labels as a draft, and ``images``, the image
        file of each of its file names, and ``exports``, the content of further files by name; and a
        sheet with the same people in the same order.

    Raises:
        BadInput: the labels are of other people, nothing tells them apart, or nobody is unlabeled.
    """
    where = "corrected labels of the last round"
    remedy = "Run the rounds again: kedro run --pipelines warmup,rounds"
    check_people(corrected, unlabeled, where, remedy)
    taught = list(skeleton.trained)  # the other channels of a union are noise
    what, doubt = doubt_of(corrected)
    if not doubt[:, taught].any():
        rule = "must disagree somewhere, to tell who needs labels; one network has no second "
        rule += "opinion in its first round"
        raise BadInput(where, rule, "Train more rounds: training.rounds=2")
    doubtful = doubt[:, taught].double().mean(dim=1).numpy()
    order = np.argsort(-doubtful, kind="stable")
    unknown = ~np.isin(unlabeled.ids[order], labeled.ids)
    rows = order[unknown][: config.people]
    if not len(rows):
        rule = "at least one person must have no label yet, and every one has"
        raise BadInput("unlabeled people", rule, "Add people to the source")
    people = unlabeled.take(rows)
    names = flat_names(unlabeled.paths)
    points = to_image(corrected["keypoints"][rows], people, view.frame)
    kept = corrected["kept"][rows].numpy().astype(bool)
    known = np.isin(np.arange(skeleton.size), taught)
    drafts = np.where(known[:, None], inside(points, people), 0)
    annotations = coco_content(
        people, names, drafts, np.where(kept, VISIBLE, DOUBTFUL) * known, skeleton,
        description=f"Drafts: pseudo-labels, the person of the highest {what} first",
        further={what.replace(" ", "_"): doubtful[rows].round(4).tolist()},
    )  # fmt: skip
    images = {names[path]: path for path in dict.fromkeys(people.paths)}
    exports = export_queue(people, names, drafts, 1 - doubt[rows].numpy(), known, skeleton,
                           config.formats, config.scorer)  # fmt: skip
    shown = slice(config.shown)
    titles = [
        f"{place} ({doubtful[row]:.2f}) {names[path]}"
        for place, (row, path) in enumerate(zip(rows, people.paths, strict=True), start=1)
    ]
    first, tile = people.take(shown), tile_frame(view.frame)
    crops = Crops(first, tile, border=0, workers=machine.decoders)
    sheet = draw_overlays(
        crops[torch.arange(len(first))].numpy(), first.boxes, tile,
        np.where(known[:, None], points, np.nan)[shown], titles[shown], skeleton, kept=kept[shown],
    )  # fmt: skip
    return {"annotations": annotations, "images": images, "exports": exports}, sheet


def export_queue(
    people: Instances, names: Mapping[str, str], drafts: np.ndarray, scores: np.ndarray,
    known: np.ndarray, skeleton: Skeleton, formats: Sequence[DraftFormat], scorer: str = "sspcm",
) -> dict[str, bytes]:  # fmt: skip
    """The drafts in further formats: the content of files by ``format/name``.

    Args:
        people: the n people.
        names: what each image file is called.
        drafts: (n, k, 2) image pixels.
        scores: (n, k) how likely each is right, or how well predictions agree.
        known: (k) keypoints that there are labels of.
        skeleton: the k keypoints.
        formats: of which tools.
        scorer: whose labels they are in tables.
    """
    folder = {"sleap": "images/default/", "label_studio": ""}  # else a folder of labeled-data
    files = {}
    for kind in formats:
        start = folder.get(kind, "labeled-data/default/")
        made = Predictions(
            skeleton, np.where(known[:, None], drafts, np.nan), scores.clip(0, 1),
            tuple(start + names[path] for path in people.paths), people.image_hw,
            boxes=people.boxes, scorer=scorer,
        )  # fmt: skip
        files |= {f"{kind}/{name}": content
                  for name, content in export_drafts(kind, made).items()}  # fmt: skip
    return files


def doubt_of(corrected: dict[str, Tensor]) -> tuple[str, Tensor]:
    """What is doubtful of labels, and how much (n, k): their probability of being wrong where it
    is measured, else the pair's inconsistency."""
    if "probability" in corrected:
        return "probability of being wrong", 1 - corrected["probability"]
    return "inconsistency", corrected["inconsistency"]


def inside(points: np.ndarray, people: Instances) -> np.ndarray:
    """Points (n, k, 2), those outside their image moved to its edge, where tools can grasp them."""
    last = people.image_hw[:, None, ::-1] - 1
    return np.clip(points, 0, last)
