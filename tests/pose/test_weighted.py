"""Scores with weights for images against the published ones on images that are repeated."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from sspcm_kedro.pose.aic_ap import aic_ap, aic_counts
from sspcm_kedro.pose.coco_ap import Detections, IgnoredInstances, coco_ap
from sspcm_kedro.pose.metrics import pck, pck_hits
from sspcm_kedro.pose.skeleton import COCO
from sspcm_kedro.pose.weighted import WeightedAP, WeightedShare

IMAGES, PEOPLE = 9, 40
WEIGHTS = np.stack([
    np.ones(IMAGES, int), np.arange(IMAGES) % 4, [0, 0, 5, 0, 1, 0, 0, 2, 1],
    np.random.default_rng(9).multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES)),
])  # fmt: skip


@pytest.fixture
def scene():
    """People on nine images, some without labels; others whom nobody labeled; what was found."""
    rng = np.random.default_rng(2)
    corner, size = rng.uniform(0, 300, (PEOPLE, 2)), rng.uniform(40, 160, (PEOPLE, 2))
    points = corner[:, None] + rng.random((PEOPLE, 17, 2)) * size[:, None]
    visibility = rng.integers(0, 3, (PEOPLE, 17))
    visibility[:5] = 0
    truth = SimpleNamespace(
        image_ids=10 + np.arange(PEOPLE) % IMAGES, keypoints=points, visibility=visibility,
        areas=0.6 * size.prod(axis=1), boxes=np.concatenate([corner, corner + size], axis=1),
    )  # fmt: skip
    off = rng.normal(0, 1, points.shape) * rng.choice([2, 12, 40], (PEOPLE, 1, 1))
    found = Detections(truth.image_ids, points + off, rng.permutation(PEOPLE) / PEOPLE)
    ignored = IgnoredInstances(
        truth.image_ids[:8], truth.boxes[8:16] + 20, truth.areas[:8], np.arange(8) % 2 == 0
    )
    return truth, found, ignored


def repeated(table, weights):
    """A table of people, those of each image once for each of its copies, which has an own id."""
    places = np.unique(table.image_ids, return_inverse=True)[1]
    rows = [(row, copy) for row, place in enumerate(places) for copy in range(weights[place])]
    picked = np.array([row for row, _ in rows], int)
    columns = vars(table) if isinstance(table, SimpleNamespace) else [f.name for f in fields(table)]
    taken = {name: getattr(table, name)[picked] for name in columns}
    taken["image_ids"] = taken["image_ids"] * 100 + np.array([copy for _, copy in rows], int)
    return type(table)(**taken)


@pytest.mark.parametrize("with_ignored", [True, False])
def test_weighted_ap_is_pycocotools_of_the_repeated_images(scene, with_ignored):
    truth, found, ignored = scene
    score = WeightedAP.of_people(truth, found, COCO.sigmas, ignored if with_ignored else None)
    assert score.images.tolist() == list(range(10, 10 + IMAGES))
    results = score.of(WEIGHTS)
    once = coco_ap(truth, found, COCO.sigmas, ignored if with_ignored else None)["AP"]
    assert results[0] == pytest.approx(once, abs=1e-12) and 0.1 < once < 0.9
    for weights, result in zip(WEIGHTS, results, strict=True):
        others = None
        if with_ignored:  # of fewer images: their weights by their own places
            own = weights[np.unique(ignored.image_ids) - 10]
            others = repeated(ignored, own)
        expected = coco_ap(
            repeated(truth, weights), repeated(found, weights), COCO.sigmas, others
        )["AP"]  # fmt: skip
        assert result == pytest.approx(expected, abs=1e-12)
    assert len(set(results)) == len(WEIGHTS)


def test_equal_scores_on_different_images_keep_the_order_of_the_images(scene):
    """The n-th detections of all images are equally sure; of one image no two are."""
    truth, found, _ = scene
    found = Detections(found.image_ids, found.keypoints, 0.9 - np.arange(PEOPLE) // IMAGES / 10)
    score = WeightedAP.of_people(truth, found, COCO.sigmas)
    for weights, result in zip(WEIGHTS, score.of(WEIGHTS), strict=True):
        expected = coco_ap(repeated(truth, weights), repeated(found, weights), COCO.sigmas)["AP"]
        assert result == pytest.approx(expected, abs=1e-12)


def test_many_resamples_are_the_same_in_parts(scene, monkeypatch):
    truth, found, ignored = scene
    score = WeightedAP.of_people(truth, found, COCO.sigmas, ignored)
    whole = score.of(WEIGHTS)
    monkeypatch.setattr("sspcm_kedro.pose.weighted._AT_ONCE", PEOPLE)
    assert score.of(WEIGHTS).tolist() == whole.tolist()
    assert score.of(WEIGHTS[:0]).shape == (0,)


def test_nobody_to_find_is_no_number_and_nothing_found_is_zero(scene):
    truth, found, _ = scene
    nothing = Detections(found.image_ids[:0], found.keypoints[:0], found.scores[:0])
    assert WeightedAP.of_people(truth, nothing, COCO.sigmas).of(WEIGHTS).tolist() == [0, 0, 0, 0]
    none = WeightedAP.of_people(truth, found, COCO.sigmas).of(np.zeros((1, IMAGES), int))
    assert np.isnan(none).all()
    truth.visibility[:] = 0
    assert np.isnan(WeightedAP.of_people(truth, found, COCO.sigmas).of(WEIGHTS)).all()


def test_weighted_shares_are_the_scores_of_the_repeated_images(scene):
    truth, found, _ = scene
    reference = np.where(np.arange(PEOPLE) % 7, np.sqrt(truth.areas), np.nan)
    arguments = (found.keypoints, truth.keypoints, truth.visibility, reference)
    share = WeightedShare.of_keypoints(truth.image_ids, *pck_hits(*arguments))
    images, reached, counts = aic_counts(truth, found, COCO.sigmas)
    aic = WeightedShare(images, reached.mean(axis=0), counts)
    places = truth.image_ids - 10
    for number, weights in enumerate(WEIGHTS):
        rows = np.repeat(np.arange(PEOPLE), weights[places])
        expected = pck(*(argument[rows] for argument in arguments)).mean
        assert share.of(WEIGHTS)[number] == pytest.approx(expected, abs=1e-12)
        expected = aic_ap(repeated(truth, weights), repeated(found, weights), COCO.sigmas)
        assert aic.of(WEIGHTS)[number] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(share.of(np.zeros((1, IMAGES), int))).all()
