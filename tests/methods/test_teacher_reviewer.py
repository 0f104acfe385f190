"""Teacher, reviewers and student: who teaches whom, by slow loops."""

import pytest
import torch

from family import (
    STILL,
    STRIDE,
    B,
    K,
    build,
    in_evaluation,
    in_training,
    make_batch,
    peak,
    slow_mse,
    step,
)
from sspcm_kedro.methods.base import total_loss


def different_averages(**more):
    """Reviewers that are not what they review."""
    method = build("teacher_reviewer", affine=STILL, decay=0.9, **more)
    with torch.no_grad():
        for average, factor in zip(method.averages.values(), (1.3, 0.7), strict=True):
            average.head[-1].weight.mul_(factor)
    return method


def test_it_is_the_slow_reference():
    """The student from the teacher and from its own reviewer, the teacher from its own."""
    batch = make_batch()
    method = different_averages(patches=0, weight=0.5, review_weight=0.25)
    images, weights, labeled = batch.unlabeled.images, batch.unlabeled.weights, batch.labeled
    teacher, student = (in_training(net, images) for net in method.networks.values())
    first, second = (in_evaluation(net, images) for net in method.averages.values())
    supervised = sum(
        slow_mse(in_training(net, labeled.images), labeled.heatmaps, labeled.weights)
        for net in method.networks.values()
    )
    review = slow_mse(teacher, first, weights) + slow_mse(student, second, weights)
    lesson = slow_mse(student, teacher, weights)
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(supervised, rel=1e-4)
    assert scalars["loss/review"].item() == pytest.approx(0.25 * review, rel=1e-3)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * lesson, rel=1e-3)


def test_views_are_mixed_at_the_keypoints_that_the_teacher_sees():
    asked = []
    batch, method = make_batch(), different_averages()

    def mix(images, keypoints, weights, rng):
        asked.append(keypoints)
        assert images is batch.unlabeled.images and weights is batch.unlabeled.weights
        return images

    method.mix = mix
    seen = in_training(method.networks["teacher_a"], batch.unlabeled.images)
    step(method, batch)
    expected = [[[STRIDE * c for c in peak(seen[n, j])] for j in range(K)] for n in range(B)]
    assert [keypoints.tolist() for keypoints in asked] == [expected, expected]


def test_the_teacher_learns_nothing_from_the_student():
    def gradients(factor: float) -> list[torch.Tensor]:
        method = different_averages()
        with torch.no_grad():
            for net in (method.networks["student"], method.averages["student"]):
                net.head[-1].weight.mul_(factor)
        total_loss(step(method, make_batch())).backward()
        return [p.grad for p in method.networks["teacher_a"].parameters()]

    assert all(a.equal(b) for a, b in zip(gradients(1.0), gradients(2.0), strict=True))
