"""How likely labels are right: features, errors, the fitted model and its reliability."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sspcm_kedro.engine.calibration import (
    Calibration,
    calibrate,
    cross_probabilities,
    features,
    label_errors,
    reliability,
)
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import Skeleton

FRAME = CropFrame((40, 60), padding=1.0)


def test_features_are_score_agreement_and_spread():
    corrected = {"score": torch.tensor([[0.5, 0.0]]), "inconsistency": torch.tensor([[0.0, 0.1]]),
                 "spread": torch.tensor([[0.045, 0.0]])}  # fmt: skip
    wanted = [[[0.5, math.log(0.5), math.log(0.005), math.log(0.05)],
               [0.001, math.log(0.001), math.log(0.105), math.log(0.005)]]]  # fmt: skip
    np.testing.assert_allclose(features(corrected), wanted, rtol=1e-6)


def seen(people):
    """People whose boxes are the frame, so that input and image pixels are the same."""
    boxes = np.tile(np.array([0, 0, 60, 40], np.float32), (len(people), 1))
    return replace(people, boxes=boxes)


@pytest.mark.parametrize("torso", [None, (0, 1)])
def test_errors_are_in_pck_units_and_nan_where_nothing_is_known(make_people, torso):
    people = seen(make_people("ab"))
    people.keypoints[0] = [[10, 10], [10, 30], [20, 10]]
    people.keypoints[1] = [[10, 10], [40, 10], [20, 10]]
    people.visibility[1, 0] = 0
    labels = torch.tensor(people.keypoints) + torch.tensor([[3.0, 4.0]])
    found = label_errors(labels, people, Skeleton(("a", "b", "c"), torso=torso), FRAME)
    if torso is None:  # the longer side of the box
        wanted = [[5 / 60] * 3, [np.nan, 5 / 60, 5 / 60]]
    else:  # the second person has no torso
        wanted = [[5 / 20] * 3, [np.nan] * 3]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_model_is_the_penalized_maximum_of_the_likelihood():
    """Against a general optimizer of the textbook's objective, on standardized features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)) * [2, 5] + [1, -3]
    right = x[:, 0] + rng.normal(size=60) > 1
    doubted = np.concatenate([x, x.mean(axis=0)[None].repeat(2, axis=0)])
    truth = np.append(right, [True, False]) * 2.0 - 1
    z = (doubted - doubted.mean(axis=0)) / doubted.std(axis=0)

    def objective(w):
        return 0.5 * w[1:] @ w[1:] + np.log1p(np.exp(-truth * (w[0] + z @ w[1:]))).sum()

    best = minimize(objective, np.zeros(3), tol=1e-10).x
    new = np.array([[[0.0, 1.0], [3.0, -8.0]]])
    standard = (new - doubted.mean(axis=0)) / doubted.std(axis=0)
    wanted = 1 / (1 + np.exp(-(best[0] + standard @ best[1:])))
    np.testing.assert_allclose(Calibration(x, right)(new), wanted, atol=2e-4)


@pytest.mark.parametrize(("right", "wanted"), [([True] * 3, 4 / 5), ([False] * 3, 1 / 5)])
def test_a_handful_that_agree_make_nothing_certain(right, wanted):
    """Laplace's rule of succession, where all labels look alike."""
    same = np.ones((3, 2))
    assert Calibration(same, np.array(right))(same) == pytest.approx([wanted] * 3, abs=1e-4)


def test_nobodys_own_truth_speaks_for_them():
    rng = np.random.default_rng(1)
    x, right = rng.normal(size=(30, 2)), rng.random(30) < 0.6
    groups = np.repeat(np.arange(10), 3)
    first = cross_probabilities(x, right, groups)
    for person in (0, 4, 9):
        own = groups == person
        other = cross_probabilities(x, np.where(own, ~right, right), groups)
        np.testing.assert_array_equal(first[own], other[own])
        assert (first != other).any()
    two = groups < 2
    assert ((p := cross_probabilities(x[two], right[two], groups[two])) > 0).all() and (p < 1).all()


def test_reliability_by_hand():
    probability = np.array([0.05, 0.55, 0.57, 0.95, 1.0])
    errors = np.array([0.9, 0.2, 0.21, 0.1, 0.05])
    found = reliability(probability, errors, 0.2)
    assert found["labels"] == 5 and found["right"] == pytest.approx(0.6)
    squares = 0.05**2 + 0.45**2 + 0.57**2 + 0.05**2 + 0
    assert found["brier"] == pytest.approx(squares / 5)
    assert found["bins"] == [
        pytest.approx({"probability": 0.05, "right": 0, "error": 0.9, "labels": 1}),
        pytest.approx({"probability": 0.56, "right": 0.5, "error": 0.205, "labels": 2}),
        pytest.approx({"probability": 0.975, "right": 1, "error": 0.075, "labels": 2}),
    ]


def labels_of(people, keypoints: torch.Tensor) -> dict[str, torch.Tensor]:
    shape = keypoints.shape[:2]
    rng = torch.Generator().manual_seed(0)
    return {"keypoints": keypoints, "score": torch.rand(shape, generator=rng),
            "inconsistency": torch.zeros(shape), "spread": torch.zeros(shape)}  # fmt: skip


def test_labels_are_measured_on_the_held_out_people(make_people):
    people = seen(make_people("abc"))
    moved = torch.tensor(people.keypoints) + torch.tensor([7.0, 0.0])
    moved[0] -= torch.tensor([7.0, 0.0])
    model, report = calibrate(
        labels_of(people, moved), people, Skeleton(("a", "b", "c")), FRAME, 0.1
    )
    assert (
        report["people"] == 3 and report["labels"] == 9 and report["right"] == pytest.approx(1 / 3)
    )
    assert 0 < model(features(labels_of(people, moved))).min()


@pytest.mark.parametrize("known", [0, 1])
def test_too_few_people_to_measure_on_are_refused(make_people, known):
    people = seen(make_people("abc"))
    people.visibility[known:] = 0
    labels = labels_of(people, torch.tensor(people.keypoints))
    with pytest.raises(BadInput, match=f"held-out labeled people: at least two .*of 3, {known} do"):
        calibrate(labels, people, Skeleton(("a", "b", "c")), FRAME, 0.1)


def test_probabilities_of_many_people_are_those_of_each(monkeypatch):
    """Ten people, three at a time, in which nobody is lost, doubled or moved."""
    rng = np.random.default_rng(0)
    model = Calibration(rng.normal(size=(40, 4)), np.arange(40) % 3 == 0)
    keys = ("score", "inconsistency", "spread")
    corrected = {key: torch.from_numpy(rng.uniform(0, 1, (10, 2))) for key in keys}
    whole = model(features(corrected))
    np.testing.assert_array_equal(model.of(corrected), whole)
    monkeypatch.setattr("sspcm_kedro.engine.calibration.AT_ONCE", 3)
    assert len(np.unique(whole)) == 20
    np.testing.assert_allclose(model.of(corrected), whole, rtol=1e-12)
