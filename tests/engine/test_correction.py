"""Correction of stored labels, against a loop over people and keypoints."""

import math

import pytest
import torch

from sspcm_kedro.engine.correction import PAIRS, correct, occluder_bank

HW = (30, 40)  # diagonal 50
ORDER = [(0, 0), (1, 0), (0, 1), (1, 1)]
"""(A, B) of the four pairs: 0 now, 1 earlier."""


def slow(keypoints, scores, min_score, max_inconsistency):
    """What ``correct`` promises, one keypoint after the other, in double precision."""
    out = {}
    for person in range(keypoints[0].shape[1]):
        for joint in range(keypoints[0].shape[2]):
            a = [keypoints[t][0, person, joint].tolist() for t in (0, 1)]
            b = [keypoints[t][1, person, joint].tolist() for t in (0, 1)]
            distances = [math.dist(a[i], b[j]) / 50 for i, j in ORDER]
            pair = distances.index(min(distances))
            i, j = ORDER[pair]
            score_a = float(scores[i][0, person, joint])
            score_b = float(scores[j][1, person, joint])
            agree = distances[pair] <= max_inconsistency
            middle = [(u + v) / 2 for u, v in zip(a[i], b[j], strict=True)]
            likelier = a[i] if score_a >= score_b else b[j]
            score = (score_a + score_b) / 2
            out[person, joint] = (
                middle if agree else likelier, score, distances[pair], pair,
                agree and score > min_score,
            )  # fmt: skip
    return out


@pytest.mark.parametrize(("min_score", "limit"), [(0.5, 1.0), (0.3, 0.2), (0.0, 0.05)])
def test_correction_is_that_of_the_loop(min_score, limit):
    rng = torch.Generator().manual_seed(4)
    shape = (2, 30, 5, 2)
    # On a coarse grid positions coincide, so that equal pairs occur.
    keypoints = tuple(
        torch.randint(0, 8, shape, generator=rng) * torch.tensor([5.0, 3.75]) for _ in "ne"
    )
    scores = tuple(torch.rand(shape[:3], generator=rng) for _ in "ne")
    found = correct(keypoints, scores, HW, min_score=min_score, max_inconsistency=limit)
    expected = slow(keypoints, scores, min_score, limit)
    for (person, joint), (xy, score, distance, pair, kept) in expected.items():
        at = (person, joint)
        assert found["keypoints"][at].tolist() == pytest.approx(xy)
        assert float(found["score"][at]) == pytest.approx(score)
        assert float(found["inconsistency"][at]) == pytest.approx(distance, abs=1e-7)
        assert int(found["pair"][at]) == pair
        assert bool(found["kept"][at]) == kept
    assert {case[3] for case in expected.values()} == {0, 1, 2, 3}
    assert {case[4] for case in expected.values()} == {True, False}


def one(a_now, b_now, a_earlier, b_earlier):
    """Keypoints of one keypoint of one person."""

    def points(a, b):
        return torch.tensor([[[a]], [[b]]], dtype=torch.float32)

    return points(a_now, b_now), points(a_earlier, b_earlier)


def test_the_earlier_period_outvotes_a_jump():
    """Teacher A now jumped away; its earlier self and B's present one agree."""
    keypoints = one([0, 0], [20, 20], [20, 23], [35, 2])
    scores = torch.tensor([[[0.9]], [[0.4]]]), torch.tensor([[[0.2]], [[0.9]]])
    found = correct(keypoints, scores, HW, min_score=0.29, max_inconsistency=0.1)
    assert found["keypoints"].tolist() == [[[20, 21.5]]]
    assert found["inconsistency"].item() == pytest.approx(3 / 50)
    assert found["score"].item() == pytest.approx(0.3)
    assert found["pair"].item() == 1 and found["kept"].item() == 1


def test_bounds_are_inclusive_for_distance_and_exclusive_for_score():
    keypoints = one([0, 0], [0, 25], [0, 0], [0, 25])  # half of the diagonal, exactly
    half = torch.full((2, 1, 1), 0.5)
    kept = correct(keypoints, (half, half), HW, min_score=0.25, max_inconsistency=0.5)["kept"]
    assert kept.item() == 1
    kept = correct(keypoints, (half, half), HW, min_score=0.5, max_inconsistency=0.5)["kept"]
    assert kept.item() == 0


def test_one_network_is_compared_with_its_earlier_self():
    """Two people: one moved by 3 pixels of a diagonal of 50, one by 25."""
    now = torch.tensor([[[[10.0, 10.0]], [[0.0, 0.0]]]])
    earlier = torch.tensor([[[[10.0, 13.0]], [[15.0, 20.0]]]])
    scores = torch.tensor([[[0.9], [0.2]]]), torch.tensor([[[0.5], [0.6]]])
    found = correct((now, earlier), scores, HW, min_score=0.1, max_inconsistency=0.1)
    assert found["keypoints"].tolist() == [[[10, 11.5]], [[15, 20]]]  # midway; the likelier
    assert found["inconsistency"].flatten().tolist() == pytest.approx([3 / 50, 25 / 50])
    assert found["score"].flatten().tolist() == pytest.approx([0.7, 0.4])
    assert found["kept"].tolist() == [[1], [0]]
    assert found["pair"].tolist() == [[0], [0]] and PAIRS[1] == ("now_earlier",)


def test_types_are_those_that_are_stored():
    keypoints = one([0, 0], [1, 1], [2, 2], [3, 3])
    scores = (torch.ones(2, 1, 1),) * 2
    found = correct(keypoints, scores, HW, min_score=0, max_inconsistency=1)
    assert found["kept"].dtype == torch.uint8 and found["pair"].dtype == torch.int32


def test_the_bank_has_every_kept_keypoint_inside_the_crop():
    rng = torch.Generator().manual_seed(0)
    keypoints = torch.rand(20, 4, 2, generator=rng) * 60 - 10
    keypoints[0] = torch.tensor([[0.0, 0.0], [39.0, 29.0], [39.1, 5.0], [5.0, -0.1]])
    kept = torch.rand(20, 4, generator=rng) > 0.4
    kept[0] = True
    expected = [
        [person, x, y]
        for person in range(20)
        for joint in range(4)
        for x, y in [keypoints[person, joint].tolist()]
        if kept[person, joint] and 0 <= x <= 39 and 0 <= y <= 29
    ]
    bank = occluder_bank(keypoints, kept, HW)
    assert bank.tolist() == expected
    assert bank[:2].tolist() == [[0, 0, 0], [0, 39, 29]] and bank[2, 0] > 0


def test_an_empty_bank_has_its_columns():
    assert occluder_bank(torch.zeros(3, 2, 2), torch.zeros(3, 2).bool(), HW).shape == (0, 3)
