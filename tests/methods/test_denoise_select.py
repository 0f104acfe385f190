"""Denoise and select: pools, selection and losses by slow loops."""

import math

import pytest
import torch

from family import (
    FLIP_ORDER,
    STILL,
    STRIDE,
    UNCUT,
    B,
    H,
    K,
    W,
    build,
    gaussian,
    in_training,
    lively_net,
    make_batch,
    peak,
    slow_mse,
    step,
)
from sspcm_kedro.pose.geometry import at_stride, invert, similarity, warp

VIEWS = {"scales": [1.0], "rotations": [0.0, 25.0], "mirrored": True}


def slow_views(net, images):
    """What a network sees on each view, (b, k, h, w) each in the frame of the images."""
    found, shown = [], []
    for mirrored in (False, True):
        for degrees in (0.0, 25.0):
            flip = torch.tensor([mirrored]).expand(B)
            there = similarity(torch.ones(B), torch.full((B,), degrees), flip, (H, W))
            back = at_stride(invert(there), STRIDE)
            heatmaps = warp(in_training(net, warp(images, there)), back)
            order = FLIP_ORDER if mirrored else range(K)
            found.append(torch.stack([heatmaps[:, j] for j in order], dim=1))
            shown.append(warp(torch.ones(B, 1, H // STRIDE, W // STRIDE), back))
    return found, sum(found) / sum(shown)


def test_it_is_the_slow_reference():
    """Of two sure targets that which the other student's views support; of one the one; or none."""
    batch = make_batch()
    settings = {"affine": STILL, "cutout": UNCUT, "views": VIEWS, "weight": 0.5}
    method = build("denoise_select", lambda i: lively_net(22 + i), **settings)
    images, weights = batch.unlabeled.images, batch.unlabeled.weights
    (views_a, mean_a), (views_b, mean_b) = (
        slow_views(net, images) for net in method.networks.values()
    )
    lower = torch.minimum(mean_a.amax(dim=(2, 3)), mean_b.amax(dim=(2, 3)))
    higher = torch.maximum(mean_a.amax(dim=(2, 3)), mean_b.amax(dim=(2, 3)))
    ordered = torch.cat([lower[weights > 0], higher[weights > 0]]).sort().values
    method.min_score = float(ordered[len(ordered) // 3 :][:2].mean())

    target, kept = torch.zeros_like(mean_a), torch.zeros(B, K)
    taken = {"a": 0, "b": 0, "none": 0, "b of two": 0}
    for n in range(B):
        for j in range(K):
            options = []
            for name, mean, others in (("a", mean_a, views_b), ("b", mean_b, views_a)):
                if max(mean[n, j].flatten().tolist()) >= method.min_score:
                    place = peak(mean[n, j])
                    far = [math.dist(place, peak(view[n, j])) for view in others]
                    options.append((sum(far) / len(far), name, place))
            _, name, place = min(options, default=(None, "none", None))
            taken[name] += int(weights[n, j])
            taken["b of two"] += len(options) == 2 and name == "b"
            if place is not None:
                target[n, j], kept[n, j] = gaussian(*place), weights[n, j]
    assert all(taken.values()), taken

    expected = sum(slow_mse(in_training(net, images), target, kept)
                   for net in method.networks.values())  # fmt: skip
    labeled = batch.labeled
    supervised = sum(
        slow_mse(in_training(net, labeled.images), labeled.heatmaps, labeled.weights)
        for net in method.networks.values()
    )
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(supervised, rel=1e-4)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * expected, rel=1e-3)
    assert scalars["kept"].item() == pytest.approx(float(kept.sum() / weights.sum()))


def points(*rows) -> torch.Tensor:
    return torch.tensor([[row for row in rows]], dtype=torch.float32)


def test_a_target_is_as_uncertain_as_the_other_students_views_lie_far():
    """A's own views are far from A's target and near to B's: B's target is A's business."""
    method = build("denoise_select", min_score=0.3)
    a, b = points((0, 0), (10, 10), (5, 5)), points((8, 0), (20, 10), (6, 5))
    each_a = torch.stack([points((8, 3), (10, 10), (6, 5)), points((8, 1), (10, 10), (6, 5))])
    each_b = torch.stack([points((0, 9), (10, 12), (5, 5)), points((0, 5), (10, 14), (5, 5))])
    scores = [torch.tensor([[0.9, 0.3, 0.2]]), torch.tensor([[0.4, 0.9, 0.1]])]
    keypoints, uncertainty = method.select([a, b], scores, [each_a, each_b])
    # 0: A's target is 9 and 5 away from B's views, B's 3 and 1 from A's. 1: 2 and 4, or 10 and 10.
    assert keypoints[0, :2].tolist() == [[8, 0], [10, 10]]
    assert uncertainty.tolist() == [[2, 3, math.inf]]


def test_the_unsure_students_target_is_not_taken_however_near():
    method = build("denoise_select", min_score=0.5)
    a, b = points((0, 0)), points((8, 0))
    keypoints, uncertainty = method.select(
        [a, b], [torch.tensor([[0.49]]), torch.tensor([[0.5]])],
        [torch.stack([points((1, 0))]), torch.stack([a])],
    )  # fmt: skip
    assert keypoints.tolist() == [[[8, 0]]] and uncertainty.tolist() == [[7]]


def test_it_mirrors_nobody_where_training_does_not():
    """Two views instead of four, and another target."""
    images = make_batch().unlabeled
    method = build("denoise_select", views=VIEWS)
    assert method.denoise(images)[2][0].shape == (4, B, K, 2)
    unmirrored = make_batch(flip_order=None).unlabeled
    assert method.denoise(unmirrored)[2][0].shape == (2, B, K, 2)
