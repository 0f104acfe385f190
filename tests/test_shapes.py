"""Shapes in annotations: wrong ones are refused in the tests, and cost nothing in production."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import TypeCheckError

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.augment.occlude import Donors, draw_keypoints
from sspcm_kedro.batch import Labeled
from sspcm_kedro.data.views import normalize
from sspcm_kedro.pose.geometry import move_points, warp
from typechecker import unchecked


@pytest.mark.parametrize(
    "call",
    [
        lambda: move_points(torch.zeros(2, 5, 2), torch.zeros(3, 2, 3)),  # n is 2 and 3
        lambda: move_points(torch.zeros(2, 5, 3), torch.zeros(2, 2, 3)),  # points in space
        lambda: warp(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 2, 3)),
        lambda: draw_keypoints(torch.zeros(2, 5, 1), 3, torch.Generator()),
        lambda: Donors(torch.zeros(2, 3, 8, 8), torch.zeros(3, 1, 2)),
        lambda: Labeled(torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 2, 2), torch.zeros(2, 4)),
        lambda: normalize(torch.zeros(2, 1, 8, 8)),  # gray
        lambda: RandomAffine(scale="0.25"),
    ],
)
def test_what_does_not_fit_its_annotation_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_whole_numbers_are_floats():
    assert RandomAffine(scale=0, rotation=30).rotation == 30


def test_production_checks_nothing():
    """Without the hook a function is the one that was written: no wrapper around it."""
    code = (
        "from sspcm_kedro.pose.geometry import move_points; import sys;"
        "assert not hasattr(move_points, '__wrapped__'); assert 'beartype' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert unchecked(move_points) is not move_points
