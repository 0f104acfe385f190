"""The five lines after ingestion, and their warnings."""

import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.ingestion_check import IngestionCheck, check_lines
from sspcm_kedro.pose.skeleton import Skeleton

SKELETON = Skeleton(("snout", "left_ear", "right_ear", "tail"), ((1, 2),), torso=(0, 3))


def people(count: int, image: tuple[int, int] = (100, 200)) -> Instances:
    """Each on an image of its own, in a box of 40 x 20 px; snout and tail are 30 px apart."""
    points = np.array([(10, 20), (12, 18), (12, 22), (40, 20)], np.float32)
    return Instances(
        ids=np.arange(count), image_ids=np.arange(count),
        paths=np.array([f"{row}.png" for row in range(count)], object),
        image_hw=np.tile(image, (count, 1)), boxes=np.tile(np.float32([5, 10, 45, 30]), (count, 1)),
        areas=np.full(count, 800, np.float32), box_scores=np.ones(count, np.float32),
        keypoints=np.tile(points, (count, 1, 1)), visibility=np.full((count, 4), 2),
    )  # fmt: skip


PARTS = {"labeled": people(3), "unlabeled": people(1500), "validation": people(2)}
FITTING = ViewConfig(input_hw=(32, 64), padding=1.0)


def test_five_lines():
    lines, warnings = check_lines(PARTS, SKELETON, FITTING, 0.1)
    assert lines == [
        "people: 3 labeled, 1,500 unlabeled, 2 validation; at most 1 labeled on an image",
        "boxes: 40 x 20 px (width x height, median), aspect 2.00",
        "input: 64 x 32 px, aspect 2.00; boxes fill 100% of it; "
        "an image pixel is 1.60 input pixels",
        "flip pairs: left_ear - right_ear; mirroring is on",
        "PCK's unit: snout to tail, 30 px in the median; right is what is off by at most "
        "0.1 of it, 3.0 px or 4.8 input pixels",
    ]
    assert not warnings


def test_an_input_of_another_aspect_and_mirrors_without_pairs_are_warned_of():
    portrait = ViewConfig(input_hw=(96, 64))
    alone = replace(SKELETON, flip_pairs=(), torso=None)
    lines, warnings = check_lines(PARTS, alone, portrait, 0.05)
    assert "boxes fill 33% of it" in lines[2]
    assert lines[3] == "flip pairs: none; mirroring is on"
    assert "a box's longer side, 40 px in the median" in lines[4]
    aspect, mirrored = warnings
    assert "fill 33% of it and would fill 100% of one of aspect 2.00" in aspect
    assert "set source.flip_pairs" in mirrored and "view.weak.flip_probability=0" in mirrored
    unmirrored = ViewConfig.model_validate({"input_hw": (32, 64), "weak": {"flip_probability": 0}})
    assert not check_lines(PARTS, alone, unmirrored, 0.05)[1]


def test_boxes_of_all_aspects_are_not_warned_of():
    """No input is full of standing and lying people."""
    labeled = people(4)  # of aspect 2, but for three of 1, 1/2 and 1/4
    labeled.boxes[:3] = [(0, 0, 40, 40), (0, 0, 20, 40), (0, 0, 10, 40)]
    lines, warnings = check_lines(
        {**PARTS, "labeled": labeled}, SKELETON, ViewConfig(input_hw=(64, 32)), 0.1
    )
    assert "boxes fill 56% of it" in lines[2]  # (1/4 + 1/2 + 1 + 1/2) / 4: no input is better
    assert not warnings


def test_labels_in_shares_of_the_image_are_warned_of():
    labeled = people(3)
    labeled.keypoints[:] /= 100
    _, warnings = check_lines({**PARTS, "labeled": labeled}, SKELETON, FITTING, 0.1)
    assert warnings == [
        "PCK's unit is 0.3 px in the median: keypoints must be in pixels of the image, not in "
        "shares of it"
    ]


def test_a_unit_that_nobody_has_is_said():
    labeled = people(3)
    labeled.visibility[:, 3] = 0
    lines, _ = check_lines({**PARTS, "labeled": labeled}, SKELETON, FITTING, 0.1)
    assert lines[4] == "PCK's unit: snout to tail, on nobody"


@pytest.mark.parametrize(("kind", "warms_up", "refused"), [
    ("many_view", True, True), ("many_view", False, False), ("sspcm", True, False),
])  # fmt: skip
def test_too_few_to_measure_on_are_refused_before_the_comparison_is_trained(
    kind, warms_up, refused
):
    """Of four, two are held out, and none of them has a unit; without a warm-up nobody is."""
    labeled = people(4)
    labeled.visibility[:, 3] = 0
    training = node(lambda x: x, "a", "b", name="comparison.training")
    nodes = [training, *([node(lambda x: x, "b", "c", name="warmup.training")] * warms_up)]
    catalog = DataCatalog({"params:method": MemoryDataset({"kind": kind})})
    check = IngestionCheck()
    check.before_pipeline_run(pipeline(nodes))
    inputs = {"labeled": labeled, "skeleton": SKELETON, "params:seed": 0}
    with pytest.raises(BadInput, match="held-out labeled people") if refused else nullcontext():
        check.before_node_run(training, catalog, inputs)


@pytest.mark.parametrize(("name", "lines"), [("ingestion.split", 5), ("ingestion.read", 0)])
def test_ingestion_says_them(name, lines, caplog):
    catalog = DataCatalog({
        "params:view": MemoryDataset({"input_hw": [32, 64]}),  # no object where no node reads it
        "params:evaluation": MemoryDataset({"pck_threshold": 0.1}),
    })  # fmt: skip
    ran = node(lambda x: x, "skeleton", "labeled", name=name)
    with caplog.at_level(logging.INFO, "sspcm_kedro"):
        IngestionCheck().after_node_run(ran, catalog, PARTS, {"skeleton": SKELETON})
    assert len(caplog.records) == lines
