"""Evaluating predictions: PCK by loops, AP by pycocotools fed by hand."""

import io
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.data.views import ViewConfig
from sspcm_kedro.engine.evaluate import HEADLINES, METRICS, EvaluationConfig, detect, evaluate
from sspcm_kedro.engine.predict import to_image
from sspcm_kedro.engine.stage import MonitorConfig
from sspcm_kedro.errors import BadInput
from sspcm_kedro.pose.aic_ap import aic_ap
from sspcm_kedro.pose.coco_ap import Detections
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import Skeleton, UnionTraining

FRAME = CropFrame((64, 48))
SIGMAS = (0.05, 0.1, 0.08, 0.07)
SKELETON = Skeleton(names=("a", "b", "c", "d"), sigmas=SIGMAS, torso=(0, 3))
N = 24
ERRORS = ("error_px", "median_error_px", "error_box")


@pytest.fixture
def people() -> Instances:
    """24 people on 9 images, medium and large; some keypoints and one whole torso unlabeled."""
    rng = np.random.default_rng(8)
    corner = rng.uniform(0, 300, (N, 2))
    size = rng.uniform(50, 160, (N, 2))
    keypoints = corner[:, None] + rng.random((N, 4, 2)) * size[:, None]
    visibility = rng.integers(0, 3, (N, 4))
    visibility[:5] = 2
    return Instances(
        ids=np.arange(N),
        image_ids=rng.permutation(np.arange(N) % 9) * 7,
        paths=np.array([f"{i}.jpg" for i in range(N)], object),
        image_hw=np.full((N, 2), 500),
        boxes=np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        areas=(size.prod(axis=1) * 0.6).astype(np.float32),
        box_scores=rng.uniform(0.3, 1, N).astype(np.float32),
        keypoints=np.where(visibility[..., None] > 0, keypoints, 0).astype(np.float32),
        visibility=visibility,
    )


def scale_of(box, padding: float = 1.25) -> float:
    """Image pixels per pixel of the 64 x 48 view: the box grown to 4:3, then by the padding."""
    width, height = box[2] - box[0], box[3] - box[1]
    return padding * max(width, height * 48 / 64) / 48


def predictions(people, spread: float):
    """Predictions in view pixels, off by some image pixels; and the same in image pixels."""
    rng = np.random.default_rng(1)
    image = people.keypoints + rng.normal(0, spread, people.keypoints.shape)
    view = np.empty_like(image)
    for i, box in enumerate(people.boxes.astype(float)):
        center = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        view[i] = (image[i] - center) / scale_of(box) + [24, 32]
    scores = rng.uniform(0, 1, people.visibility.shape)
    return torch.tensor(view, dtype=torch.float32), torch.tensor(scores).float(), image


def test_people_are_suppressed_by_the_area_of_the_padded_box(people):
    """A box of 48x64 is padded to 60x80: at 28 pixels OKS is exp(-28^2 / 9600) = 0.92, not 0.88.

    With sigma 1/2, e is d^2 / (2 area); the boxes' own area is 3072, and 2000 is annotated.
    """
    box = np.tile(np.array([100, 100, 148, 164], np.float32), (2, 1))
    twins = replace(
        people.take([0, 1]), boxes=box, areas=np.full(2, 2000, np.float32),
        image_ids=np.array([1, 1]), box_scores=np.ones(2, np.float32),
    )  # fmt: skip
    scores = torch.tensor([[0.9] * 4, [0.8] * 4])
    for distance, kept in ((28, [0]), (33, [0, 1])):
        predicted = np.full((2, 4, 2), 120.0)
        predicted[1, :, 0] += distance
        rows, _ = detect(predicted, scores, twins, FRAME, np.full(4, 0.5), EvaluationConfig())
        assert rows.tolist() == kept


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_pck_is_that_of_the_loop(people, threshold):
    keypoints, scores, image = predictions(people, 12)
    config = EvaluationConfig(pck_threshold=threshold)
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, config)
    hits, count = np.zeros(4), np.zeros(4)
    for i in range(N):
        truth, seen = people.keypoints[i], people.visibility[i] > 0
        if not (seen[0] and seen[3]):
            continue
        reach = threshold * np.hypot(*(truth[0] - truth[3]))
        for joint in range(4):
            if seen[joint]:
                hits[joint] += np.hypot(*(image[i, joint] - truth[joint])) <= reach
                count[joint] += 1
    assert 0 < hits.sum() < count.sum()
    assert evaluated.pck.count.tolist() == count.tolist()
    assert evaluated.pck.per_keypoint == pytest.approx(hits / count)
    assert evaluated.scores["PCK"] == pytest.approx(hits.sum() / count.sum())


def person_score(box_score: float, joints: np.ndarray) -> float:
    sure = [float(score) for score in joints if score > 0.2]
    return box_score * sum(sure) / len(sure) if sure else 0.0


def pycoco(people, image, kept, scores) -> list[float]:
    """COCOeval's numbers of the kept predictions."""
    numbers = {int(name): i for i, name in enumerate(np.unique(people.image_ids))}
    truth, found = [], []
    for i in range(N):
        x0, y0, x1, y1 = people.boxes[i].tolist()
        flat = np.column_stack([people.keypoints[i], people.visibility[i]]).astype(float)
        base = {"id": i + 1, "image_id": numbers[int(people.image_ids[i])], "category_id": 1}
        truth.append({
            **base, "iscrowd": 0, "area": float(people.areas[i]), "keypoints": flat.ravel(),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "num_keypoints": int((people.visibility[i] > 0).sum()),
        })  # fmt: skip
        if i in kept:
            found.append({
                **base, "iscrowd": 0, "score": scores[i], "bbox": [0, 0, 1, 1],
                "area": float(np.ptp(image[i], axis=0).prod()),
                "keypoints": np.column_stack([image[i], np.ones(4)]).ravel(),
            })  # fmt: skip
    with redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (truth, found):
            side = COCO()
            side.dataset = {
                "images": [{"id": i} for i in numbers.values()],
                "categories": [{"id": 1}],
                "annotations": annotations,
            }
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(SIGMAS)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def test_ap_is_that_of_pycocotools(people):
    keypoints, scores, image = predictions(people, 6)
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, EvaluationConfig()).scores
    by_person = [
        person_score(float(s), row)
        for s, row in zip(people.box_scores, scores.numpy(), strict=True)
    ]
    expected = pycoco(people, image, set(range(N)), by_person)
    assert 0.1 < expected[0] < 0.9
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
    assert [evaluated[name] for name in names] == pytest.approx(expected, abs=1e-6)


def test_people_seen_twice_on_an_image_count_once(people):
    """The double of person 0 has the better score, so it stays and person 0's goes."""
    people.image_ids[:2] = 700
    keypoints, scores, image = predictions(people, 6)
    image[1] = image[0] + 1  # OKS above 0.9 for people of their size
    box = people.boxes[1].astype(float)
    center = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    keypoints[1] = torch.tensor((image[1] - center) / scale_of(box) + [24, 32])
    people.box_scores[:2] = 0.5, 0.9
    scores[:2] = 0.9
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, EvaluationConfig()).scores
    by_person = [
        person_score(float(s), row)
        for s, row in zip(people.box_scores, scores.numpy(), strict=True)
    ]
    without = pycoco(people, image, set(range(N)) - {0}, by_person)
    assert evaluated["AP"] == pytest.approx(without[0], abs=1e-6)
    every = EvaluationConfig(nms_threshold=1.0)
    both = pycoco(people, image, set(range(N)), by_person)
    assert evaluate(keypoints, scores, people, FRAME, SKELETON, every).scores[
        "AP"
    ] == pytest.approx(both[0], abs=1e-6)
    assert without[0] != pytest.approx(both[0], abs=1e-4)


def test_keypoints_below_the_threshold_do_not_rescore(people):
    """Only the order of people matters to AP; a threshold of 0 counts every keypoint."""
    keypoints, scores, image = predictions(people, 9)
    config = EvaluationConfig(score_threshold=0.0)
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, config).scores
    plain = (people.box_scores * scores.numpy().mean(axis=1)).tolist()
    assert evaluated["AP"] == pytest.approx(
        pycoco(people, image, set(range(N)), plain)[0], abs=1e-6
    )


def test_perfect_predictions_score_one(people):
    keypoints, scores, _ = predictions(people, 0)
    people.visibility[:] = 2
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, EvaluationConfig()).scores
    assert evaluated["AP"] == pytest.approx(1) and evaluated["AR"] == 1 and evaluated["PCK"] == 1


def test_suppression_measures_by_the_crop(people):
    """Two people of OKS 0.9 and less by their own area, and more by their crop's: one goes.

    The crop of a box w x h is 1.25 max(w, 3/4 h) wide and 4/3 of that high.
    """
    people.image_ids[:2] = 700
    people.boxes[:2] = [100, 100, 160, 220]
    people.areas[:2] = 2000
    people.box_scores[:2] = 0.5, 0.9
    keypoints, scores, image = predictions(people, 0)
    image[0] = people.keypoints[0]
    image[1] = image[0] + np.array([6.0, 8.0])
    own, crop = 2000, (1.25 * 90) ** 2 * 4 / 3
    similar = [
        float(np.mean([np.exp(-100 / (2 * area * (2 * sigma) ** 2)) for sigma in SIGMAS]))
        for area in (own, crop)
    ]
    assert similar[0] < 0.6 and 0.6 < similar[1]
    for i in (0, 1):
        keypoints[i] = torch.tensor((image[i] - [130, 160]) / scale_of(people.boxes[i]) + [24, 32])
    scores[:2] = 0.9
    config = EvaluationConfig(nms_threshold=0.6)
    predicted = to_image(keypoints, people, FRAME)
    rows, found = detect(predicted, scores, people, FRAME, np.array(SIGMAS), config)
    assert 1 in rows and 0 not in rows
    assert found.scores[rows.tolist().index(1)] == pytest.approx(0.81)
    np.testing.assert_allclose(found.keypoints, image[rows], atol=1e-3)


def test_suppression_measures_by_the_crop_as_the_network_sees_it(people):
    """Two people 10 pixels apart, one by a crop with the usual padding and two by a tighter one."""
    people.image_ids[:2] = 700
    people.boxes[:2] = [100, 100, 160, 220]
    scores = torch.full((N, 4), 0.9)
    predicted = people.keypoints.copy()
    predicted[1] = predicted[0] + np.array([6.0, 8.0])
    wide, tight = (
        float(np.mean([np.exp(-100 / (2 * area * (2 * sigma) ** 2)) for sigma in SIGMAS]))
        for area in ((1.25 * 90) ** 2 * 4 / 3, 90**2 * 4 / 3)
    )
    config = EvaluationConfig(nms_threshold=(wide + tight) / 2)
    for padding, stay in ((1.25, 1), (1.0, 2)):
        frame = CropFrame((64, 48), padding)
        rows, _ = detect(predicted, scores, people, frame, np.array(SIGMAS), config)
        assert len({0, 1} & set(rows.tolist())) == stay


@pytest.mark.parametrize("padding", [1.0, 1.25, 2.0])
def test_predictions_are_read_in_the_frame_of_their_crops(people, padding):
    """The labels themselves, in input pixels, have no error in their own frame, and in another."""
    centers = (people.boxes[:, :2] + people.boxes[:, 2:]) / 2
    scales = np.array([scale_of(box, padding) for box in people.boxes])
    view = (people.keypoints - centers[:, None]) / scales[:, None, None] + [24, 32]
    args = torch.tensor(view), torch.ones(N, 4), people
    own = evaluate(*args, CropFrame((64, 48), padding), SKELETON, EvaluationConfig()).scores
    assert own["error_px"] == pytest.approx(0, abs=1e-3) and own["AP"] == pytest.approx(1)
    other = evaluate(*args, CropFrame((64, 48), 1.1), SKELETON, EvaluationConfig()).scores
    assert other["error_px"] > 1


def test_rows_that_stay_are_grouped_by_image_best_first(people):
    keypoints, scores, _ = predictions(people, 6)
    config = EvaluationConfig(nms_threshold=1.0)
    predicted = to_image(keypoints, people, FRAME)
    rows, found = detect(predicted, scores, people, FRAME, np.array(SIGMAS), config)
    assert sorted(rows) == list(range(N))
    assert found.image_ids.tolist() == people.image_ids[rows].tolist()
    pairs = list(zip(found.image_ids.tolist(), (-found.scores).tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_protocol_pck_counts_no_people(people):
    keypoints, scores, _ = predictions(people, 6)
    evaluated = evaluate(
        keypoints, scores, people, FRAME, SKELETON, EvaluationConfig(protocol="pck")
    )
    assert set(evaluated.scores) == {"PCK", *ERRORS}


def test_protocol_aic_is_its_score_of_what_stays(people):
    keypoints, scores, image = predictions(people, 3)
    config = EvaluationConfig(protocol="aic")
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, config)
    found = Detections(people.image_ids, image, np.ones(N))
    assert set(evaluated.scores) == {"AIC_AP", "PCK", *ERRORS}
    assert 0.1 < evaluated.scores["AIC_AP"] < 0.9
    assert evaluated.scores["AIC_AP"] == pytest.approx(aic_ap(people, found, SIGMAS))
    bare = Skeleton(names=SKELETON.names, torso=(0, 3))
    with pytest.raises(BadInput, match="protocol = aic: the skeleton must have OKS sigmas"):
        evaluate(keypoints, scores, people, FRAME, bare, config)


def test_fisheye_is_coco_over_areas_that_are_a_share_of_the_box(people):
    """The fisheye evaluator reads 0.53 of the annotated box as OKS scale and as size."""
    people.areas[:] = 0.53 * np.prod(people.boxes[:, 2:] - people.boxes[:, :2], axis=1)
    keypoints, scores, image = predictions(people, 6)
    evaluated = evaluate(keypoints, scores, people, FRAME, SKELETON, EvaluationConfig()).scores
    by_person = [
        person_score(float(s), row)
        for s, row in zip(people.box_scores, scores.numpy(), strict=True)
    ]
    expected = by_loops(people, image, by_person, 0.53)
    assert 0.1 < expected < 0.9
    assert evaluated["AP"] == pytest.approx(expected, abs=1e-6)


def by_loops(people, image, scores, share) -> float:
    """COCO's AP without pycocotools: greedy matches, then precision at 101 levels of recall."""
    labeled = [i for i in range(N) if (people.visibility[i] > 0).any()]
    result = []
    for threshold in np.linspace(0.5, 0.95, 10):
        taken, hits = set(), []
        for j in sorted(range(N), key=lambda j: -scores[j]):
            best, match = threshold, None
            for i in labeled:
                if people.image_ids[i] != people.image_ids[j] or i in taken:
                    continue
                x0, y0, x1, y1 = people.boxes[i].tolist()
                terms = []
                for k, sigma in enumerate(SIGMAS):
                    if people.visibility[i, k] > 0:
                        squared = ((image[j, k] - people.keypoints[i, k]) ** 2).sum()
                        scale = share * (x1 - x0) * (y1 - y0)
                        terms.append(np.exp(-squared / (2 * scale * (2 * sigma) ** 2)))
                if np.mean(terms) >= best:
                    best, match = np.mean(terms), i
            if match is not None:
                taken.add(match)
            hits.append(match is not None)
        found = np.cumsum(hits)
        recall, precision = found / len(labeled), found / np.arange(1, len(hits) + 1)
        levels = [precision[recall >= level - 1e-12] for level in np.linspace(0, 1, 101)]
        result.append(np.mean([level.max() if len(level) else 0 for level in levels]))
    return float(np.mean(result))


MPII = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis",
    "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
    "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip


def test_protocol_pckh_measures_by_heads(people):
    """Everybody 6 pixels off: found at half of heads larger than 12, at a tenth above 60."""
    rng = np.random.default_rng(2)
    points = rng.uniform(50, 300, (N, 16, 2)).astype(np.float32)
    heads = np.linspace(8, 80, N).astype(np.float32)
    people = replace(people, keypoints=points, visibility=np.full((N, 16), 2), head_sizes=heads)
    keypoints, _, _ = predictions(people, 0)
    for i, box in enumerate(people.boxes.astype(float)):
        keypoints[i, :, 0] += 6 / scale_of(box)
    skeleton = Skeleton(names=MPII, torso=(13, 2))
    config = EvaluationConfig(protocol="pckh")
    scores = torch.ones(N, 16)
    evaluated = evaluate(keypoints, scores, people, FRAME, skeleton, config).scores
    assert evaluated["PCKh"] == evaluated["PCKh_knee"] == pytest.approx(np.mean(heads > 12))
    assert evaluated["PCKh0.1"] == pytest.approx(np.mean(heads > 60))
    assert 0 <= evaluated["PCK"] <= 1
    for missing in (np.full(N, np.nan), np.where(np.arange(N) == 3, np.nan, heads)):
        with pytest.raises(BadInput, match="protocol = pckh: every person must have a head size"):
            evaluate(
                keypoints, scores, replace(people, head_sizes=missing), FRAME, skeleton, config
            )


def test_without_sigmas_there_is_only_pck(people):
    keypoints, scores, _ = predictions(people, 6)
    bare = Skeleton(names=SKELETON.names, torso=(0, 3))
    evaluated = evaluate(keypoints, scores, people, FRAME, bare, EvaluationConfig())
    assert set(evaluated.scores) == {"PCK", *ERRORS}


def test_of_a_union_only_the_evaluated_keypoints_count(people):
    """Noise in the other channels changes nothing; the order is the set's own."""
    keypoints, scores, _ = predictions(people, 8)
    config = EvaluationConfig()
    alone = evaluate(keypoints, scores, people, FRAME, SKELETON, config)
    channels = (5, 0, 3, 6)
    wide, wide_scores = torch.full((N, 7, 2), -500.0), torch.ones(N, 7)
    wide[:, channels], wide_scores[:, channels] = keypoints, scores
    union = Skeleton(
        names=tuple("uvwxyz!"),
        torso=(5, 6),
        union=UnionTraining(tuple(range(7)), SKELETON, channels),
    )
    evaluated = evaluate(wide, wide_scores, people.scatter(channels, 7), FRAME, union, config)
    assert evaluated.scores == alone.scores
    assert evaluated.pck.per_keypoint.tolist() == alone.pck.per_keypoint.tolist()


@pytest.mark.parametrize("protocol", ["coco", "aic", "pckh", "pck"])
def test_the_table_of_metrics_names_what_each_protocol_gives(people, protocol):
    skeleton, keypoints, scores = SKELETON, *predictions(people, 6)[:2]
    if protocol == "pckh":
        skeleton = Skeleton(names=MPII, torso=(13, 2))
        points = np.ones((N, 16, 2), np.float32)
        people = replace(
            people, keypoints=points, visibility=np.full((N, 16), 2), head_sizes=np.full(N, 9.0)
        )
        keypoints, scores = torch.ones(N, 16, 2), torch.ones(N, 16)
    config = EvaluationConfig(protocol=protocol)
    found = evaluate(keypoints, scores, people, FRAME, skeleton, config).scores
    assert list(found) == [m.name for m in METRICS if m.protocol in (protocol, None)]


def test_each_protocol_has_one_headline_before_pck_and_the_error():
    assert HEADLINES == ("AP", "AIC_AP", "PCKh", "PCK", "error_px")
    protocols = [metric.protocol for metric in METRICS if metric.name in HEADLINES]
    assert protocols == ["coco", "aic", "pckh", None, None]
    worse = {metric.name for metric in METRICS if not metric.higher_is_better}
    assert worse == set(ERRORS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_errors_are_in_image_pixels_of_labeled_keypoints_alone(people):
    """By the loop: neither who has no label nor a keypoint without one counts, however far off."""
    people.visibility[7] = 0
    keypoints, scores, image = predictions(people, 9)
    keypoints[torch.tensor(people.visibility == 0)] = 1e4
    found = evaluate(keypoints, scores, people, FRAME, SKELETON, EvaluationConfig()).scores
    distances, shares = [], []
    for i in range(N):
        x0, y0, x1, y1 = people.boxes[i].tolist()
        for k in range(4):
            if people.visibility[i, k] > 0:
                distances.append(float(np.hypot(*(image[i, k] - people.keypoints[i, k]))))
                shares.append(distances[-1] / max(x1 - x0, y1 - y0))
    assert 24 < len(distances) < 96
    assert found["error_px"] == pytest.approx(sum(distances) / len(distances), rel=1e-4)
    assert found["median_error_px"] == pytest.approx(np.median(distances), rel=1e-4)
    assert found["error_box"] == pytest.approx(sum(shares) / len(shares), rel=1e-4)


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_the_mirrored_view_is_asked_for_only_where_training_mirrors(probability):
    view = ViewConfig.model_validate({"weak": {"flip_probability": probability}})
    assert not EvaluationConfig(flip_test=False).averages_mirrored(view)
    assert not MonitorConfig().averages_mirrored(view)
    if probability:
        assert EvaluationConfig(flip_test=True).averages_mirrored(view)
        return
    said = r"flip_test = true: must be false.*\(view.weak.flip_probability = 0\)"
    for config, name in ((EvaluationConfig, "evaluation"), (MonitorConfig, "monitor")):
        with pytest.raises(BadInput, match=f"{name}.{said}.*{name}.flip_test=false"):
            config(flip_test=True).averages_mirrored(view)
