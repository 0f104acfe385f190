"""Which network is shipped: the bootstrap by brute force, both directions, and its doubts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom

from sspcm_kedro.data.instances import Instances
from sspcm_kedro.engine import choice as choosing
from sspcm_kedro.engine.choice import Choice, Predicted, choose, resample
from sspcm_kedro.engine.evaluate import EvaluationConfig, evaluate
from sspcm_kedro.pose.geometry import CropFrame
from sspcm_kedro.pose.skeleton import MPII, Skeleton

SKELETON = Skeleton(names=("a", "b", "c"), sigmas=(0.1, 0.1, 0.1))
FRAME = CropFrame((64, 48))
PCK = EvaluationConfig(protocol="pck")


def people(n: int, keypoints: int = 3, each: int = 1) -> Instances:
    """People, ``each`` of them on an image, with boxes of 96 x 128: a view's pixel is 2.5 of the
    image's, and PCK tolerates 0.2 of 128."""
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 200, (n, 2)).astype(np.float64)
    points = corner[:, None] + rng.uniform(10, 90, (n, keypoints, 2))
    return Instances(
        ids=np.arange(n), image_ids=np.arange(n) // each, image_hw=np.full((n, 2), 600),
        paths=np.array([f"{i}.jpg" for i in range(n)], object),
        boxes=np.concatenate([corner, corner + np.array([96, 128])], axis=1).astype(np.float32),
        areas=np.full(n, 8000, np.float32), box_scores=np.ones(n, np.float32),
        keypoints=points.astype(np.float32), visibility=np.full((n, keypoints), 2),
        head_sizes=np.full(n, 40, np.float32),
    )  # fmt: skip


def predicted(name: str, of: Instances, off: np.ndarray) -> Predicted:
    """Predictions beside the truth, by pixels of the image (n, k) to the right."""
    center = (of.boxes[:, :2] + of.boxes[:, 2:]) / 2
    moved = of.keypoints + off[..., None] * [1, 0] - center[:, None]
    generator = torch.Generator().manual_seed(len(name))
    scores = torch.rand(len(of), of.keypoints.shape[1], generator=generator) / 2 + 0.5
    return Predicted(name, torch.tensor(moved / 2.5 + [24, 32]).float(), scores)


def two(of: Instances, spread=(14, 18)) -> list[Predicted]:
    rng, shape = np.random.default_rng(3), of.visibility.shape
    return [
        predicted(name, of, np.abs(rng.normal(0, width, shape)))
        for name, width in zip(("student", "baseline"), spread, strict=True)
    ]


@pytest.mark.parametrize(("protocol", "metric", "names"), [
    ("coco", "AP", "abc"), ("pck", "PCK", "abc"), ("aic", "AIC_AP", "abc"),
    ("pckh", "PCKh", MPII.names),
])  # fmt: skip
def test_it_is_the_bootstrap_over_images(protocol, metric, names, monkeypatch):
    """Each resample evaluated as people who are there several times, on images of their own."""
    monkeypatch.setattr(choosing, "RESAMPLES", 30)
    of = people(60, len(names), each=3)
    of.visibility[:, 0] = np.arange(60) % 2 * 2
    of.visibility[5] = 0
    skeleton = MPII if protocol == "pckh" else SKELETON
    config, pair = EvaluationConfig(protocol=protocol), two(of)

    def value(own: Predicted, rows: np.ndarray, images: np.ndarray) -> float:
        there = replace(of.take(rows), image_ids=images)
        points, scores = own.keypoints[rows], own.scores[rows]
        nobody = of.take(slice(0))
        return evaluate(points, scores, there, FRAME, skeleton, config, nobody).scores[metric]

    whole = [value(own, np.arange(60), of.image_ids) for own in pair]
    gains = []
    for weights in resample(20, 7):
        drawn = [(image, copy) for image in range(20) for copy in range(weights[image])]
        rows = np.concatenate([np.flatnonzero(of.image_ids == image) for image, _ in drawn])
        images = np.repeat([100 * image + copy for image, copy in drawn], 3)
        gains.append(value(pair[0], rows, images) - value(pair[1], rows, images))
    found = choose(*pair, of, of.take(slice(0)), FRAME, skeleton, config, 7)
    assert (found.metric, found.images, found.people, found.resamples) == (metric, 20, 59, 30)
    assert [found.value, found.comparison_value] == pytest.approx(whole, abs=1e-12)
    assert found.gain == pytest.approx(whole[0] - whole[1], abs=1e-12) and whole[0] != whole[1]
    ends = np.percentile(gains, (2.5, 97.5))
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-9)
    signs = np.sign(np.round(gains, 9))
    assert found.better == pytest.approx(np.mean((signs + 1) / 2))


def test_the_interval_of_a_known_distribution():
    """On 60 of 100 images the student alone is right, on 40 the baseline alone: the gain of a
    resample is (2 B - 100) / 100 with B binomial of 100 and 0.6."""
    of = people(100)
    far = np.full((100, 3), 60.0)
    off = [np.where(np.arange(100)[:, None] < 60, *ends) for ends in ((0, far), (far, 0))]
    pair = [predicted(n, of, o) for n, o in zip(("student", "baseline"), off, strict=True)]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert found.gain == pytest.approx(0.2) and found.ships == "student"
    ends = (2 * binom.ppf([0.025, 0.975], 100, 0.6) - 100) / 100
    assert [found.low, found.high] == pytest.approx(ends, abs=0.021)
    expected = binom.sf(50, 100, 0.6) + binom.pmf(50, 100, 0.6) / 2  # ties count half
    assert found.better == pytest.approx(expected, abs=0.015)
    draws = resample(100, 0)
    right = draws[:, :60].sum(axis=1)
    assert found.better == np.mean((right > 50) + (right == 50) / 2)


def test_every_resample_has_as_many_images_and_the_seed_decides():
    drawn = resample(30, 4)
    assert drawn.shape == (1000, 30) and set(drawn.sum(axis=1)) == {30}
    assert (drawn == resample(30, 4)).all() and (drawn != resample(30, 5)).any()


@pytest.mark.parametrize("better", ["student", "baseline"])
def test_the_better_one_ships_and_the_reason_says_by_how_much(better):
    """The better one has all keypoints of each person, the other two of three."""
    of = people(80)
    one_off = np.tile([0.0, 0.0, 60.0], (80, 1))
    pair = [
        predicted(n, of, 0 * one_off if n == better else one_off) for n in ("student", "baseline")
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    sign, other = (1, "baseline") if better == "student" else (-1, "student")
    assert [found.gain, found.low, found.high] == pytest.approx([sign / 3] * 3)
    assert found.better == (better == "student") == found.ships_network
    assert found.ships == better and found.trusted and found.doubt == ""
    assert found.reason == (
        f"The {better} is shipped: PCK 1.000 on 80 validation people, against 0.667 for the "
        f"{other} (+0.333, 95 % interval +0.333 to +0.333)."
    )


def test_of_equal_ones_the_method_s_network_ships_and_nothing_is_sure():
    of = people(60)
    pair = [predicted(name, of, np.zeros((60, 3))) for name in ("teacher_a", "pose_dual")]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert (found.ships, found.gain, found.low, found.high) == ("teacher_a", 0, 0, 0)
    assert found.better == 0.5 and not found.trusted
    assert found.reason == (
        "The teacher a is shipped, the network of the method: PCK 1.000 on 60 validation people, "
        "and the pose dual has the same."
    )
    assert found.doubt == (
        "Not to be trusted: neither was compared with a network of labels alone; and the interval "
        "of the difference includes 0, so it may be chance."
    )


@pytest.mark.parametrize(("student", "baseline", "ships", "errors"), [
    (4.0, 2.5, "baseline", "2.5 px, against 4 for the student"),
    (1.25, 2.5, "student", "1.25 px, against 2.5 for the baseline"),
])  # fmt: skip
def test_of_equal_ones_the_one_with_the_smaller_mean_error_ships(student, baseline, ships, errors):
    """PCK is a count: on few keypoints it is easily the same."""
    of = people(60)
    pair = [
        predicted(name, of, np.full((60, 3), off))
        for name, off in (("student", student), ("baseline", baseline))
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert (found.ships, found.gain, found.metric, found.trusted) == (ships, 0, "PCK", False)
    assert found.reason == (
        f"The {ships} is shipped: PCK 1.000 on 60 validation people for both, and a mean error of "
        f"{errors}."
    )


@pytest.mark.parametrize(("count", "trusted"), [(49, False), (50, True)])
def test_few_people_are_not_to_be_trusted(count, trusted):
    """Those without labels do not count."""
    of = people(60)
    of.visibility[count:] = 0
    pair = [
        predicted("student", of, np.zeros((60, 3))),
        predicted("baseline", of, np.full((60, 3), 60.0)),
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert (found.people, found.images, found.trusted) == (count, count, trusted)
    doubt = "Not to be trusted: these are fewer than 50 people."
    assert found.doubt == ("" if trusted else doubt)
    assert found.ships == "student"


def test_without_any_number_the_method_s_network_ships_and_the_reason_says_so():
    of = people(60)
    of.visibility[:] = 0
    for config in (PCK, EvaluationConfig()):
        found = choose(*two(of), of, None, FRAME, SKELETON, config, 0)
        assert found.ships == "student" and found.metric is None and not found.trusted
        numbers = (found.value, found.comparison_value, found.gain, found.low, found.better)
        assert set(numbers) == {None} and (found.people, found.images) == (0, 0)
        assert "no metric has a number for both student and baseline" in found.reason
        assert found.doubt == "Not to be trusted: there is no metric to compare by."


@pytest.mark.parametrize(("student", "baseline"), [(4.0, 2.5), (1.25, 2.5)])
def test_without_any_metric_the_mean_error_decides(student, baseline):
    """Nobody has both ends of the torso, and nobody has published sigmas."""
    of = people(60)
    of.visibility[:, 0] = 0
    bare = replace(SKELETON, sigmas=(), torso=(0, 1))
    errors = {"student": student, "baseline": baseline}
    pair = [predicted(name, of, np.full((60, 3), off)) for name, off in errors.items()]
    found = choose(*pair, of, None, FRAME, bare, PCK, 0)
    ships, other = sorted(errors, key=lambda name: errors[name])
    assert (found.ships, found.metric, found.gain, found.people) == (ships, None, None, 60)
    assert not found.trusted and found.reason == (
        f"The {ships} is shipped: no metric has a number for both student and baseline, and its "
        f"mean error is {errors[ships]:.4g} px, against {errors[other]:.4g}."
    )


@pytest.mark.parametrize(("torsos", "trusted"), [(4, False), (50, True)])
def test_people_without_a_unit_do_not_count(torsos, trusted):
    """Everybody has labels, but few have both ends of the torso: PCK has no length to measure the
    others by."""
    of = people(80)
    of.visibility[torsos:, 0] = 0
    bare = replace(SKELETON, sigmas=(), torso=(0, 1))
    pair = [
        predicted(n, of, np.full((80, 3), off)) for n, off in (("student", 0.0), ("baseline", 60))
    ]
    found = choose(*pair, of, None, FRAME, bare, PCK, 0)
    assert (found.people, found.images, found.trusted) == (torsos, torsos, trusted)
    assert f"on {torsos} validation people" in found.reason


def test_people_on_one_image_count_as_one_image():
    """Images without anybody who counts lend it no weight."""
    of = people(100)
    of.image_ids[:50] = 0
    of.visibility[50:] = 0
    pair = [
        predicted(n, of, np.full((100, 3), off)) for n, off in (("student", 0.0), ("baseline", 60))
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert (found.people, found.images, found.trusted) == (50, 1, False)
    assert found.doubt == "Not to be trusted: these are on fewer than 20 images."


def slightly_off(of: Instances, name: str, off: float, wrong: int) -> Predicted:
    """Beside the truth by some pixels, and for that many people far off in one keypoint."""
    moved = np.full(of.visibility.shape, off)
    moved[:wrong, 0] = 30.0
    return predicted(name, of, moved)


@pytest.mark.parametrize(("student", "ships"), [(4.0, "baseline"), (1.0, "student")])
def test_where_pck_may_differ_by_chance_the_mean_error_decides(student, ships):
    """The student misses one keypoint fewer of 180, and is exact or is not."""
    of, errors = people(60), {"student": student, "baseline": 2.0}
    pair = [slightly_off(of, n, off, 1 + (n == "baseline")) for n, off in errors.items()]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert found.gain == pytest.approx(1 / 180) and found.low <= 0 <= found.high
    mean = {"student": (179 * student + 30) / 180, "baseline": (178 * 2 + 60) / 180}
    pck = {"student": 179 / 180, "baseline": 178 / 180}
    other = "baseline" if ships == "student" else "student"
    assert found.ships == ships and not found.trusted
    assert found.reason == (
        f"The {ships} is shipped: PCK, {pck[ships]:.3f} on 60 validation people and "
        f"{pck[other]:.3f} for the {other}, may differ by chance, and its mean error is "
        f"{mean[ships]:.4g} px, against {mean[other]:.4g}."
    )


def test_an_ap_that_may_differ_by_chance_still_decides():
    """It measures exactness itself."""
    of = people(60)
    found = choose(*two(of, (16, 16)), of, None, FRAME, SKELETON, EvaluationConfig(), 0)
    assert found.metric == "AP" and found.low <= 0 <= found.high and found.gain != 0
    assert found.ships_network == (found.gain > 0)


@pytest.mark.parametrize(("each", "trusted"), [(4, False), (3, True)])
def test_few_images_are_not_to_be_trusted(each, trusted):
    """Sixty people on fifteen images and on twenty: images are what the bootstrap draws."""
    of = people(60, each=each)
    pair = [
        predicted(n, of, np.full((60, 3), off)) for n, off in (("student", 0), ("baseline", 60))
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    doubt = "Not to be trusted: these are on fewer than 20 images."
    assert (found.trusted, found.doubt) == (trusted, "" if trusted else doubt)


def test_the_reason_says_if_the_other_has_the_smaller_mean_error():
    """One is right about two keypoints of three and far off the third, the other off by a little
    too much everywhere."""
    of = people(60)
    pair = [
        predicted("student", of, np.tile([0.0, 0.0, 200.0], (60, 1))),
        predicted("baseline", of, np.full((60, 3), 60.0)),
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert found.ships == "student"
    assert found.reason.endswith(". By the mean error the baseline is ahead: 60 px, against 66.67.")


def test_resamples_without_a_number_do_not_count():
    """Two of sixty images have labels: 13 % of the resamples have neither."""
    of = people(60)
    of.visibility[2:] = 0
    pair = [
        predicted(n, of, np.full((60, 3), off)) for n, off in (("student", 0), ("baseline", 60))
    ]
    found = choose(*pair, of, None, FRAME, SKELETON, PCK, 0)
    assert [found.gain, found.low, found.high, found.better] == [1, 1, 1, 1]


def test_where_there_is_no_ap_pck_is_compared():
    of = people(60)
    bare = replace(SKELETON, sigmas=())
    assert choose(*two(of), of, None, FRAME, bare, EvaluationConfig(), 0).metric == "PCK"


def test_where_both_have_the_same_ap_pck_tells_them_apart():
    """Two young networks: nobody is found by OKS, and one of them is much nearer to the truth."""
    of, sharp = people(60), replace(SKELETON, sigmas=(1e-4, 1e-4, 1e-4))
    pair = [
        predicted(n, of, np.full((60, 3), off)) for n, off in (("student", 60), ("baseline", 9))
    ]
    found = choose(*pair, of, None, FRAME, sharp, EvaluationConfig(), 0)
    assert (found.metric, found.ships) == ("PCK", "baseline")
    assert (found.value, found.comparison_value) == (0, 1)
    same = choose(pair[0], pair[0]._replace(name="baseline"), of, None, FRAME, sharp,
                  EvaluationConfig(), 0)  # fmt: skip
    assert (same.metric, same.ships, same.gain) == ("AP", "student", 0)


def test_it_is_the_same_again_from_json():
    of = people(60)
    blank = replace(of, visibility=np.zeros_like(of.visibility))
    for table in (of, blank):
        found = choose(*two(of), table, None, FRAME, SKELETON, EvaluationConfig(), 0)
        text = json.dumps(found.to_dict(), allow_nan=False)
        assert Choice.from_dict(json.loads(text)) == found
