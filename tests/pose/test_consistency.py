"""PCM against a slow loop over the four pairs (docs/method.md, One step)."""

import math

import pytest
import torch

from sspcm_kedro.pose.consistency import choose_pair, correct_heatmaps, gather_pair

H, W = 16, 12
ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(A earlier?, B earlier?) of pair 0 to 3."""


def peak(plane) -> tuple[int, int]:
    """The first highest cell, (x, y), by a walk over all of them."""
    best, at = -math.inf, (0, 0)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            if plane[y, x] > best:
                best, at = float(plane[y, x]), (x, y)
    return at


def slow_pcm(first, second):
    """Pair, distance over the diagonal and mean heatmap, one by one; ties to the lowest."""
    b, k, height, width = first[0].shape
    pair = torch.zeros((b, k), dtype=torch.long)
    inconsistency, mean = torch.zeros(b, k), torch.zeros(b, k, height, width)
    for n in range(b):
        for j in range(k):
            best = math.inf
            for number, (a, e) in enumerate(ORDER):
                distance = math.dist(peak(first[a][n, j]), peak(second[e][n, j]))
                if distance < best:
                    best, pair[n, j] = distance, number
                    mean[n, j] = (first[a][n, j] + second[e][n, j]) / 2
            inconsistency[n, j] = best / math.sqrt(height**2 + width**2)
    return pair, inconsistency, mean


def planted(*cells: tuple[int, int], height: float = 1.0) -> torch.Tensor:
    """One person, a keypoint a cell, (x, y)."""
    heatmaps = torch.zeros(1, len(cells), H, W)
    for j, (x, y) in enumerate(cells):
        heatmaps[0, j, y, x] = height
    return heatmaps


def test_pcm_is_the_slow_loop_over_pairs():
    """Coarse peaks, so that exact ties occur and the lowest pair must win."""
    rng = torch.Generator().manual_seed(4)

    def teacher():
        heatmaps = torch.rand((5, 7, H, W), generator=rng)
        for n in range(5):
            for j in range(7):
                x, y = torch.randint(3, (2,), generator=rng).tolist()
                heatmaps[n, j, 4 * y, 4 * x] = 2
        return heatmaps

    first, second = (teacher(), teacher()), (teacher(), teacher())
    mean, choice = correct_heatmaps(first, second)
    pair, inconsistency, expected = slow_pcm(first, second)
    assert choice.pair.tolist() == pair.tolist()
    assert set(pair.flatten().tolist()) == {0, 1, 2, 3}
    assert ((choice.distances == choice.inconsistency).sum(dim=0) > 1).any(), "no tie was tested"
    torch.testing.assert_close(choice.inconsistency, inconsistency)
    torch.testing.assert_close(mean, expected)


@pytest.mark.parametrize("pair", [0, 1, 2, 3])
def test_four_planted_peaks_choose_their_pair_and_average_it(pair):
    """The two peaks of the pair lie (3, 4) cells apart, all others further; heights tell them."""
    places = [[(0, 0), (0, 15)], [(11, 0), (11, 15)]]
    a, b = ORDER[pair]
    places[0][a], places[1][b] = (4, 6), (7, 10)
    first = tuple(planted(places[0][i], height=1.0 + i) for i in (0, 1))
    second = tuple(planted(places[1][i], height=5.0 + i) for i in (0, 1))
    mean, choice = correct_heatmaps(first, second)
    assert choice.pair.item() == pair
    assert choice.inconsistency.item() == pytest.approx(5 / 20)  # the diagonal of 16 x 12 is 20
    assert mean[0, 0, 6, 4].item() == (1 + a) / 2
    assert mean[0, 0, 10, 7].item() == (5 + b) / 2
    assert mean.count_nonzero() == 2, "heatmaps are averaged, nothing is drawn between them"


def test_all_equal_distances_keep_the_current_pair():
    same = planted((3, 3), (8, 2))
    mean, choice = correct_heatmaps((same, same.clone()), (same.clone(), same.clone()))
    assert choice.pair.tolist() == [[0, 0]]
    assert choice.inconsistency.tolist() == [[0, 0]]
    assert mean.equal(same)


def test_keypoints_choose_independently():
    now_a, earlier_a = planted((0, 0), (5, 5)), planted((9, 9), (0, 0))
    b = planted((9, 9), (5, 5))
    _, choice = correct_heatmaps((now_a, earlier_a), (b, b))
    assert choice.pair.tolist() == [[1, 0]]


def test_the_coordinate_form_agrees_with_the_heatmap_form():
    """The same positions, in cells or in pixels of stride 4, give the same pairs and distances."""
    rng = torch.Generator().manual_seed(8)
    cells = torch.stack(
        [torch.randint(size, (4, 3, 6), generator=rng) for size in (W, H)], dim=-1
    )  # four predictions, 3 people, 6 keypoints

    def drawn(positions):
        heatmaps = torch.zeros(3, 6, H, W)
        for n in range(3):
            for j in range(6):
                heatmaps[n, j, positions[n, j, 1], positions[n, j, 0]] = 1
        return heatmaps

    maps = [drawn(positions) for positions in cells]
    mean, from_maps = correct_heatmaps((maps[0], maps[1]), (maps[2], maps[3]))
    points = [positions * 4.0 for positions in cells]
    first, second = (points[0], points[1]), (points[2], points[3])
    from_points = choose_pair(first, second, (4 * H, 4 * W))
    assert from_points.pair.equal(from_maps.pair)
    torch.testing.assert_close(from_points.distances, from_maps.distances)

    a, b = gather_pair(from_points, first, second)
    for n in range(3):
        for j in range(6):
            ends = {tuple((end[n, j] / 4).long().tolist()) for end in (a, b)}
            assert ends == {(int(x), int(y)) for y, x in mean[n, j].nonzero()}


def test_distances_span_nought_to_one():
    corners = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[W, H]]]).float()
    choice = choose_pair((corners[0], corners[0]), (corners[1], corners[1]), (H, W))
    assert choice.distances.flatten().tolist() == [1, 1, 1, 1]
