"""ScarceNet: which pseudo-labels are kept, made anew or followed, and the losses, by slow loops."""

import math

import pytest
import torch

from family import (
    STILL,
    STRIDE,
    UNCUT,
    B,
    H,
    K,
    W,
    build,
    gaussian,
    in_evaluation,
    in_training,
    make_batch,
    peak,
    slow_mse,
    step,
)
from sspcm_kedro.methods.scarce_net import smallest


def different_average(**more):
    settings = {"affine": STILL, "cutout": UNCUT, "decay": 0.9, **more}
    method = build("scarce_net", **settings)
    with torch.no_grad():
        for index, parameter in enumerate(method.averages.parameters()):
            noise = torch.rand(parameter.shape, generator=torch.Generator().manual_seed(index))
            parameter.mul_(0.5 + noise)
    return method


def test_it_is_the_slow_reference():
    """Three kinds of keypoints; each of them is there."""
    batch = make_batch()
    method = different_average(keep=0.5, weight=0.7, consistency_weight=1.5)
    images, weights = batch.unlabeled.images, batch.unlabeled.weights
    taught = in_evaluation(method.averages["student"], images)
    seen = in_training(method.networks["student"], images)  # weak view and, here, strong view
    apart = {
        (n, j): math.dist(peak(taught[n, j]), peak(seen[n, j])) * STRIDE / math.hypot(W, H)
        for n in range(B) for j in range(K)
    }  # fmt: skip
    own = torch.stack([torch.stack([gaussian(*peak(plane)) for plane in one]) for one in taught])
    small = set()
    for j in range(K):
        losses = [
            (sum((p - t) ** 2 for p, t in zip(
                seen[n, j].flatten().tolist(), own[n, j].flatten().tolist(), strict=True)), n)
            for n in range(B)
        ]  # fmt: skip
        small |= {(n, j) for _, n in sorted(losses)[: B // 2]}
    distances = sorted(apart[key] for key in apart if key not in small and key[1] != 1)
    method.max_distance = (distances[0] + distances[-1]) / 2

    label, labeled, followed = own.clone(), torch.zeros(B, K), torch.zeros(B, K)
    kinds = {"small": 0, "agreed": 0, "followed": 0}
    for n in range(B):
        for j in range(K):
            if (n, j) in small:
                kind, labeled[n, j] = "small", 1
            elif apart[n, j] <= method.max_distance:
                kind, labeled[n, j] = "agreed", 1
                (x, y), (u, v) = peak(taught[n, j]), peak(seen[n, j])
                label[n, j] = gaussian((x + u) / 2, (y + v) / 2)
            else:
                kind, followed[n, j] = "followed", 1
            kinds[kind] += j != 1  # nobody teaches keypoint 1
    assert all(kinds.values())

    scalars, own_labels = step(method, batch), batch.labeled
    predicted = in_training(method.networks["student"], own_labels.images)
    supervised = slow_mse(predicted, own_labels.heatmaps, own_labels.weights)
    assert scalars["loss/supervised"].item() == pytest.approx(2 * supervised, rel=1e-4)
    pseudo = slow_mse(seen, label, weights * labeled)
    assert scalars["loss/pseudo"].item() == pytest.approx(0.7 * pseudo, rel=1e-3)
    consistency = slow_mse(seen, taught, weights * followed)
    assert scalars["loss/consistency"].item() == pytest.approx(1.5 * consistency, rel=1e-3)
    share = (kinds["small"] + kinds["agreed"]) / sum(kinds.values())
    assert scalars["kept"].item() == pytest.approx(share)


def test_labels_move_with_the_strong_view():
    """Half a turn: Gaussians lie where the average's points have gone; the map is turned, too."""
    batch = make_batch()
    method = different_average(keep=1.0)
    turn = torch.tensor([[-1.0, 0, W - 1], [0, -1, H - 1]]).expand(B, 2, 3)
    method.affine = type("Turn", (), {"sample": staticmethod(lambda n, hw, rng: (turn, None))})
    images = batch.unlabeled.images
    taught = in_evaluation(method.averages["student"], images)
    label = torch.stack([
        torch.stack([
            gaussian((W - 1) / STRIDE - peak(plane)[0], (H - 1) / STRIDE - peak(plane)[1])
            for plane in one
        ]) for one in taught
    ])  # fmt: skip
    seen = in_training(method.networks["student"], images.flip((2, 3)))
    scalars = step(method, batch)
    expected = slow_mse(seen, label, batch.unlabeled.weights)
    assert scalars["loss/pseudo"].item() == pytest.approx(expected, rel=1e-3)
    assert scalars["loss/consistency"] == 0


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (1.0, [[1, 1], [1, 0], [1, 0], [1, 1], [1, 1]]),
        (0.6, [[1, 0], [0, 0], [1, 0], [0, 1], [1, 1]]),
        (0.2, [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1]]),
    ],
)
def test_the_smallest_losses_of_each_keypoint_are_those_of_a_sorted_list(keep, expected):
    """Of the second keypoint three people count: 0.6 of them are 1.8, so two; 0.2 are 0.6: one."""
    losses = torch.tensor([[2.0, 9], [5, 0], [1, 0.5], [4, 8], [2, 1]])
    counted = torch.tensor([[1, 1], [1, 0], [1, 0], [1, 1], [1, 1]]).bool()
    assert smallest(losses, counted, keep).int().tolist() == expected


def test_of_equal_losses_the_first_are_kept():
    kept = smallest(torch.ones(4, 1), torch.ones(4, 1, dtype=torch.bool), 0.5)
    assert kept[:, 0].tolist() == [True, True, False, False]
