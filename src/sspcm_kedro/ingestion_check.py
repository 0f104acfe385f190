"""Whether people and settings go together: five lines after ingestion, and what does not fit."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import EvaluationConfig
from sspcm_kedro.engine.stage import check_held_out
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.parameters import parse
from sspcm_kedro.pose.geometry import crop_extents
from sspcm_kedro.pose.skeleton import Skeleton

logger = logging.getLogger(__name__)

LEAST_FILLED = 0.7
"""Boxes fill at least this share of what they would fill of an input of the best aspect; below it
there is a warning. People of all postures fill no input wholly: COCO's do not, as published."""


@dataclass(frozen=True)
class Fit:
    """How people fit into the network's input; medians, where nothing else is said.

    Attributes:
        box_hw: height and width of boxes, in image pixels.
        aspect: of boxes, width by height.
        filled: the share of the input's area that a box fills before padding, on average.
        best_aspect: that of which boxes would fill most.
        best_filled: that share.
        scale: input pixels an image pixel.
        unit: PCK's unit in image pixels; None where nobody has it.
    """

    box_hw: tuple[float, float]
    aspect: float
    filled: float
    best_aspect: float
    best_filled: float
    scale: float
    unit: float | None


def box_shape(people: Instances) -> tuple[tuple[float, float], float]:
    """The median (height, width) of boxes in image pixels, and their median aspect (w by h)."""
    width, height = np.maximum(people.boxes[:, 2:] - people.boxes[:, :2], 1).T.astype(float)
    return (float(np.median(height)), float(np.median(width))), float(np.median(width / height))


def median_unit(people: Instances, skeleton: Skeleton) -> float | None:
    """The median length of PCK's unit in image pixels: the torso, else a box's longer side."""
    if skeleton.torso is None:
        return float(np.median((people.boxes[:, 2:] - people.boxes[:, :2]).max(axis=1)))
    a, b = skeleton.torso
    both = (people.visibility[:, a] > 0) & (people.visibility[:, b] > 0)
    apart = people.keypoints[both, a] - people.keypoints[both, b]
    return float(np.median(np.linalg.norm(apart, axis=1))) if both.any() else None


def measure_fit(people: Instances, skeleton: Skeleton, view: ViewConfig) -> Fit:
    """How the people, at least one, fit into the input."""
    box_hw, aspect = box_shape(people)
    boxes = people.boxes.astype(float)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    aspects = width / height
    filled = _filled(aspects, view.input_hw[1] / view.input_hw[0])
    tried = np.quantile(aspects, np.linspace(0, 1, 41))
    best = max(tried.tolist(), key=lambda one: _filled(aspects, one))
    scale = view.input_hw[1] / float(np.median(crop_extents(boxes, view.frame)[1][:, 0]))
    unit = median_unit(people, skeleton)
    return Fit(box_hw, aspect, filled, best, _filled(aspects, best), scale, unit)


def _filled(aspects: np.ndarray, aspect: float) -> float:
    """The share of inputs of an aspect that boxes of these aspects (n) fill, on average."""
    return float(np.minimum(aspects / aspect, aspect / aspects).mean())


def check_lines(
    parts: Mapping[str, Instances], skeleton: Skeleton, view: ViewConfig, threshold: float
) -> tuple[list[str], list[str]]:
    """Five lines about people and settings, and the warnings.

    Args:
        parts: ``labeled``, ``unlabeled`` and ``validation``.
        skeleton: their keypoints.
        view: how they are shown to the network.
        threshold: of PCK, in its unit.
    """
    people = parts["labeled"]
    fit = measure_fit(people, skeleton, view)
    (height, width), input_hw = fit.box_hw, view.input_hw
    on_one = np.unique(people.paths.astype(str), return_counts=True)[1].max()
    counts = ", ".join(f"{len(parts[name]):,} {name}" for name in ("labeled", "unlabeled"))
    pairs = ", ".join(f"{skeleton.names[a]} - {skeleton.names[b]}" for a, b in skeleton.flip_pairs)
    unit = "a box's longer side"
    if skeleton.torso is not None:
        unit = " to ".join(skeleton.names[keypoint] for keypoint in skeleton.torso)
    long = "on nobody" if fit.unit is None else (
        f"{fit.unit:.0f} px in the median; right is what is off by at most {threshold:g} of it, "
        f"{threshold * fit.unit:.1f} px or {threshold * fit.unit * fit.scale:.1f} input pixels"
    )  # fmt: skip
    lines = [
        f"people: {counts}, {len(parts['validation']):,} validation; "
        f"at most {on_one} labeled on an image",
        f"boxes: {width:.0f} x {height:.0f} px (width x height, median), aspect {fit.aspect:.2f}",
        f"input: {input_hw[1]} x {input_hw[0]} px, aspect {input_hw[1] / input_hw[0]:.2f}; "
        f"boxes fill {fit.filled:.0%} of it; an image pixel is {fit.scale:.2f} input pixels",
        f"flip pairs: {pairs or 'none'}; mirroring is {'on' if view.mirrors else 'off'}",
        f"PCK's unit: {unit}, {long}",
    ]
    return lines, [*_warnings(fit, skeleton, view)]


def _warnings(fit: Fit, skeleton: Skeleton, view: ViewConfig) -> list[str]:
    found = []
    if fit.filled < LEAST_FILLED * fit.best_filled:
        found.append(
            f"the input's aspect is far from the boxes', which fill {fit.filled:.0%} of it and "
            f"would fill {fit.best_filled:.0%} of one of aspect {fit.best_aspect:.2f} "
            "(width by height): change view.input_hw"
        )
    if fit.unit is not None and fit.unit < 1:
        found.append(
            f"PCK's unit is {fit.unit:.2g} px in the median: keypoints must be in pixels of the "
            "image, not in shares of it"
        )
    if view.mirrors and not skeleton.flip_pairs:
        found.append(
            "people are mirrored in training, and no keypoints swap sides: set source.flip_pairs, "
            "or, where left and right differ, view.weak.flip_probability=0"
        )
    return found


class IngestionCheck:
    """Says the five lines once people are split, and refuses labeled people who are too few to
    measure pseudo-labels on before a comparison is trained with them."""

    def __init__(self) -> None:
        self._warms_up = False

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        self._warms_up = any(node.name == "warmup.training" for node in pipeline.nodes)

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol, inputs: dict[str, Any]) -> None:
        if node.name == "comparison.training" and self._warms_up:
            method: MethodConfig = _typed(catalog, "method", MethodConfig)
            check_held_out(
                inputs["labeled"], inputs["skeleton"], method.label_rules().held_out,
                inputs["params:seed"],
            )  # fmt: skip

    @hook_impl
    def after_node_run(
        self, node: Node, catalog: CatalogProtocol, outputs: dict[str, Any], inputs: dict[str, Any]
    ) -> None:
        if node.name != "ingestion.split" or not len(outputs["labeled"]):
            return
        view: ViewConfig = _typed(catalog, "view", ViewConfig)
        evaluation: EvaluationConfig = _typed(catalog, "evaluation", EvaluationConfig)
        lines, warnings = check_lines(outputs, inputs["skeleton"], view, evaluation.pck_threshold)
        for line in lines:
            logger.info(line)
        for warning in warnings:
            logger.warning(warning)


def _typed(catalog: CatalogProtocol, name: str, kind: Any) -> Any:
    """A parameter; Kedro's context has made no object of one that the run's nodes do not read."""
    value = catalog.load(f"params:{name}")
    return value if isinstance(value, kind) else parse(name, value, kind)
