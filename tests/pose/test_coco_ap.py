"""AP against cases small enough to work out by hand."""

import contextlib
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools.coco import COCO as COCO_API
from pycocotools.cocoeval import COCOeval

from sspcm_kedro.pose.coco_ap import METRICS, Detections, IgnoredInstances, coco_ap
from sspcm_kedro.pose.skeleton import COCO

AREA = 80.0 * 80.0  # a medium person


def people(count, k=17, *, area=AREA, image_ids=None):
    """People far apart, labeled everywhere, each in its own image."""
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(10, 90, (count, k, 2)) + 1000 * np.arange(count)[:, None, None]
    return SimpleNamespace(
        image_ids=np.arange(count) + 70 if image_ids is None else np.array(image_ids),
        keypoints=keypoints,
        visibility=np.full((count, k), 2),
        areas=np.full(count, area),
        boxes=np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1),
    )


def found(truth, scores=None):
    """A perfect detection of every person."""
    scores = np.linspace(0.9, 0.5, len(truth.areas)) if scores is None else np.array(scores)
    return Detections(truth.image_ids.copy(), truth.keypoints.copy(), scores)


def moved_to_oks(keypoints, similarity, sigmas, area=AREA):
    """The same keypoints, each so far off that its OKS term is ``similarity``."""
    offset = 2 * np.array(sigmas) * math.sqrt(-2 * area * math.log(similarity))
    return keypoints + offset[:, None] * [0.6, -0.8]


def test_perfect_predictions_score_one(capsys):
    truth = people(3)
    scores = coco_ap(truth, found(truth), COCO.sigmas)
    assert tuple(scores) == METRICS
    assert all(scores[name] == pytest.approx(1) for name in METRICS if name not in ("APL", "ARL"))
    assert math.isnan(scores["APL"]) and math.isnan(scores["ARL"])  # nobody is large
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("right_scores_higher", [True, False])
def test_one_of_two_wrong(right_scores_higher):
    """Recall stops at 1/2: of 101 recall levels 51 are reached, at precision 1 or 1/2."""
    truth = people(2)
    detections = found(truth, [0.9, 0.1] if right_scores_higher else [0.1, 0.9])
    detections.keypoints[1] += 500
    scores = coco_ap(truth, detections, COCO.sigmas)
    precision = 1 if right_scores_higher else 0.5
    assert scores["AP"] == pytest.approx(precision * 51 / 101)
    assert scores["AR"] == pytest.approx(0.5)


def test_oks_of_062_passes_three_of_ten_thresholds():
    truth = people(2)
    points = moved_to_oks(truth.keypoints, 0.62, COCO.sigmas)
    squared = ((points - truth.keypoints) ** 2).sum(axis=2)
    similarity = np.exp(-squared / ((2 * np.array(COCO.sigmas)) ** 2 * 2 * AREA)).mean(axis=1)
    np.testing.assert_allclose(similarity, 0.62)
    scores = coco_ap(truth, Detections(truth.image_ids, points, np.array([0.5, 0.6])), COCO.sigmas)
    assert scores["AP"] == pytest.approx(0.3)
    assert scores["AR"] == pytest.approx(0.3)
    assert (scores["AP50"], scores["AP75"]) == (pytest.approx(1), 0)


def test_own_sigmas_decide():
    sigmas = np.linspace(0.03, 0.12, 14)
    truth = people(2, k=14)
    points = moved_to_oks(truth.keypoints, 0.62, sigmas)
    detections = Detections(truth.image_ids, points, np.array([0.5, 0.6]))
    assert coco_ap(truth, detections, sigmas)["AP"] == pytest.approx(0.3)
    # twice the sigma quarters the exponent: 0.62 ** 0.25 = 0.887 passes .50 to .85
    assert coco_ap(truth, detections, 2 * sigmas)["AP"] == pytest.approx(0.8)


def test_people_without_labels_are_ignored_on_both_sides():
    truth = people(3, image_ids=[5, 5, 6])
    truth.visibility[1] = 0
    everyone = found(truth)
    assert coco_ap(truth, everyone, COCO.sigmas)["AP"] == pytest.approx(1)
    others = Detections(*(column[[0, 2]] for column in vars(everyone).values()))
    assert coco_ap(truth, others, COCO.sigmas)["AP"] == pytest.approx(1)
    truth.visibility[:] = 0
    assert all(math.isnan(value) for value in coco_ap(truth, everyone, COCO.sigmas).values())


def test_a_detection_where_nobody_is_annotated_is_false():
    truth = people(1)
    detections = Detections(
        np.array([999, truth.image_ids[0]]), np.repeat(truth.keypoints, 2, 0), np.array([0.9, 0.8])
    )
    assert coco_ap(truth, detections, COCO.sigmas)["AP"] == pytest.approx(0.5)


def test_medium_and_large_are_told_apart():
    truth = people(2)
    truth.areas[1] = 97.0**2
    detections = found(truth)
    detections.keypoints[1] += 500
    scores = coco_ap(truth, detections, COCO.sigmas)
    assert (scores["APM"], scores["APL"]) == (pytest.approx(1), 0)
    assert (scores["ARM"], scores["ARL"]) == (pytest.approx(1), 0)


def test_nothing_detected_scores_zero_and_nothing_to_detect_nan():
    truth, nobody = people(2), people(0)
    scores = coco_ap(truth, found(nobody), COCO.sigmas)
    assert {scores[name] for name in METRICS if name not in ("APL", "ARL")} == {0}
    assert math.isnan(coco_ap(nobody, found(truth), COCO.sigmas)["AP"])
    assert math.isnan(coco_ap(nobody, found(nobody), COCO.sigmas)["AP"])


def test_at_most_twenty_detections_an_image():
    truth = people(1, image_ids=[3])
    crowd = np.repeat(truth.keypoints, 21, axis=0) + 500
    crowd[20] = truth.keypoints[0]
    detections = Detections(np.full(21, 3), crowd, np.linspace(1, 0.5, 21))
    assert coco_ap(truth, detections, COCO.sigmas)["AR"] == 0


def test_bad_columns_are_named():
    truth = people(2)
    with pytest.raises(ValueError, match=r"truth\.keypoints must have the shape \(2, 14, 2\)"):
        coco_ap(truth, found(truth), COCO.sigmas[:14])
    detections = found(truth)
    detections.keypoints[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"detections\.keypoints must be finite"):
        coco_ap(truth, detections, COCO.sigmas)


def nobody_labeled(truth, boxes, crowds, images=None):
    return IgnoredInstances(
        image_ids=truth.image_ids[: len(boxes)] if images is None else np.array(images),
        boxes=np.array(boxes, np.float64),
        areas=np.full(len(boxes), 900.0),
        crowds=np.array(crowds),
    )


@pytest.mark.parametrize("crowd", [True, False])
def test_a_detection_at_somebody_without_labels_is_not_wrong(crowd):
    """Three people, the surest detection is beside everybody. Where it lies somebody is, so it
    counts for nothing; without him precision is 3/4 at every level of recall."""
    truth = people(3)
    detections = found(truth, [0.8, 0.7, 0.6])
    stray = detections.keypoints[:1] + 300
    with_stray = Detections(
        np.append(detections.image_ids, truth.image_ids[0]),
        np.concatenate([detections.keypoints, stray]),
        np.append(detections.scores, 0.9),
    )
    box = [*(stray[0].min(axis=0)), *(stray[0].max(axis=0))]
    assert coco_ap(truth, with_stray, COCO.sigmas)["AP"] == pytest.approx(0.75)
    there = nobody_labeled(truth, [box], [crowd])
    assert coco_ap(truth, with_stray, COCO.sigmas, there)["AP"] == pytest.approx(1)
    elsewhere = nobody_labeled(truth, [box], [crowd], images=[truth.image_ids[1]])
    assert coco_ap(truth, with_stray, COCO.sigmas, elsewhere)["AP"] == pytest.approx(0.75)
    unseen = nobody_labeled(truth, [box], [crowd], images=[5])
    assert coco_ap(truth, with_stray, COCO.sigmas, unseen)["AP"] == pytest.approx(0.75)


def test_a_crowd_takes_many_and_one_person_takes_one():
    truth = people(2)
    detections = found(truth, [0.7, 0.6])
    strays = detections.keypoints[[0, 0]] + 300
    with_strays = Detections(
        np.append(detections.image_ids, truth.image_ids[[0, 0]]),
        np.concatenate([detections.keypoints, strays]),
        np.append(detections.scores, [0.9, 0.8]),
    )
    box = [*(strays[0].min(axis=0)), *(strays[0].max(axis=0))]
    ap = [
        coco_ap(truth, with_strays, COCO.sigmas, nobody_labeled(truth, [box], [crowd]))["AP"]
        for crowd in (True, False)
    ]
    assert ap == pytest.approx([1, 2 / 3])


def test_ignored_people_are_what_pycocotools_makes_of_their_annotations():
    """The whole file, handed to COCOeval as it is, against people and ignored people apart."""
    rng = np.random.default_rng(4)
    annotations, truth_rows, ignored_rows = [], [], []
    for number in range(60):
        x, y, w, h = *rng.uniform(0, 300, 2), *rng.uniform(40, 160, 2)
        points = np.stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17)], axis=1)
        kind = ("person", "person", "no keypoints", "crowd")[number % 4]
        flags = np.full(17, 2 if kind == "person" else 0)
        points[flags == 0] = 0
        annotations.append({
            "id": number + 1, "image_id": int(number % 7), "category_id": 1,
            "bbox": [x, y, w, h], "area": 0.6 * w * h, "iscrowd": int(kind == "crowd"),
            "num_keypoints": int((flags > 0).sum()),
            "keypoints": np.column_stack([points, flags]).ravel().tolist(),
        })  # fmt: skip
        (truth_rows if kind == "person" else ignored_rows).append(number)
    boxes = np.array([a["bbox"] for a in annotations])
    boxes[:, 2:] += boxes[:, :2]
    images = np.array([a["image_id"] for a in annotations])
    areas = np.array([a["area"] for a in annotations])
    points = np.array([a["keypoints"] for a in annotations]).reshape(-1, 17, 3)
    truth = SimpleNamespace(
        image_ids=images[truth_rows], keypoints=points[truth_rows][..., :2],
        visibility=points[truth_rows][..., 2], areas=areas[truth_rows], boxes=boxes[truth_rows],
    )  # fmt: skip
    ignored = IgnoredInstances(
        images[ignored_rows], boxes[ignored_rows], areas[ignored_rows],
        np.array([annotations[row]["iscrowd"] == 1 for row in ignored_rows]),
    )  # fmt: skip
    off = rng.normal(0, 1, truth.keypoints.shape) * rng.uniform(1, 12, (len(truth_rows), 1, 1))
    detections = Detections(truth.image_ids, truth.keypoints + off, rng.random(len(truth_rows)))

    side = COCO_API()
    side.dataset = {
        "images": [{"id": i} for i in range(7)], "categories": [{"id": 1}],
        "annotations": annotations, "info": {},
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        side.createIndex()
        results = [
            {"image_id": int(i), "category_id": 1, "score": float(s),
             "keypoints": np.column_stack([p, np.ones(17)]).ravel().tolist()}
            for i, p, s in zip(
                detections.image_ids, detections.keypoints, detections.scores, strict=True)
        ]  # fmt: skip
        evaluation = COCOeval(side, side.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = coco_ap(truth, detections, COCO.sigmas, ignored)
    assert list(ours.values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-9)
    assert ours["AP"] > coco_ap(truth, detections, COCO.sigmas)["AP"] + 0.01
