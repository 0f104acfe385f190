"""PseudoPose and DataDistill: targets and losses by slow loops, and who learns when."""

import copy
import math

import pytest
import torch

from family import (
    FLIP_ORDER,
    STILL,
    STRIDE,
    B,
    H,
    K,
    W,
    build,
    in_evaluation,
    in_training,
    lively_net,
    make_batch,
    rand,
    slow_mse,
    step,
)
from sspcm_kedro.batch import Batch
from sspcm_kedro.methods.base import total_loss

KINDS = ("pseudo_pose", "data_distill")


def with_statistics(index: int):
    """A network that has recorded statistics, so that evaluation differs from training."""
    net = lively_net(index).train()
    with torch.no_grad():
        net(2 * rand(9, B, 3, H, W) - 1)
    return net


def sample(plane: torch.Tensor, x: float, y: float) -> float:
    """A plane between its cells, bilinear; 0 outside."""
    left, top, value = math.floor(x), math.floor(y), 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                value += across * down * float(plane[row, column])
    return value


def moved(x: float, y: float, scale: float, degrees: float, mirrored: bool, size):
    """Where a point of an image is in its view: mirrored, then scaled and turned about the middle
    of (width, height) input pixels; all in the unit of x and y, ``size`` is their middle."""
    dx, dy = x - size[0], y - size[1]
    dx = -dx if mirrored else dx
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return size[0] + scale * (cos * dx - sin * dy), size[1] + scale * (sin * dx + cos * dy)


def slow_view(images, scale, degrees, mirrored):
    """Each pixel of the view is taken from where it was in the image."""
    out, middle = torch.zeros_like(images), ((W - 1) / 2, (H - 1) / 2)
    radians = math.radians(degrees)
    for y in range(H):
        for x in range(W):
            dx, dy = (x - middle[0]) / scale, (y - middle[1]) / scale
            back_x = math.cos(radians) * dx + math.sin(radians) * dy
            back_y = -math.sin(radians) * dx + math.cos(radians) * dy
            back_x = -back_x if mirrored else back_x
            for channel in range(3):
                out[0, channel, y, x] = sample(images[0, channel], middle[0] + back_x,
                                               middle[1] + back_y)  # fmt: skip
    return out


def slow_average(teacher, images, views):
    """Each cell: the mean, over the views that show it, of what is seen at its place there."""
    ones = torch.ones(H // STRIDE, W // STRIDE)
    middle = ((W - 1) / 2 / STRIDE, (H - 1) / 2 / STRIDE)
    total, shown = torch.zeros(1, K, *ones.shape), torch.zeros_like(ones)
    for scale, degrees, mirrored in views:
        seen = in_evaluation(teacher, slow_view(images, scale, degrees, mirrored))
        for y in range(ones.shape[0]):
            for x in range(ones.shape[1]):
                place = moved(x, y, scale, degrees, mirrored, middle)
                shown[y, x] += sample(ones, *place)
                for j in range(K):
                    channel = FLIP_ORDER[j] if mirrored else j
                    total[0, j, y, x] += sample(seen[0, channel], *place)
    return total / shown


def test_pseudo_pose_is_the_slow_reference():
    """The student's loss on labels, and towards what the teacher predicts in eval mode."""
    batch = make_batch()
    method = build("pseudo_pose", with_statistics, affine=STILL, weight=0.5)
    teacher, student = method.networks["teacher_a"], method.networks["student"]
    labeled, unlabeled = batch.labeled, batch.unlabeled
    target = in_evaluation(teacher, unlabeled.images)
    assert (target - in_training(teacher, unlabeled.images)).abs().max() > 0.01
    supervised = slow_mse(in_training(student, labeled.images), labeled.heatmaps, labeled.weights)
    taught = slow_mse(in_training(student, unlabeled.images), target, unlabeled.weights)
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(supervised, rel=1e-4)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * taught, rel=1e-3)
    assert scalars.keys() == {
        "loss/supervised", "loss/consistency", "student/loss/supervised",
        "student/loss/consistency",
    }  # fmt: skip


@pytest.mark.parametrize("mirrors", [True, False], ids=["mirrors", "never mirrors"])
def test_data_distill_averages_what_is_seen_on_each_view(mirrors):
    """By loops over views, cells and pixels; mirrored views count only where training mirrors."""
    batch = make_batch(flip_order=FLIP_ORDER if mirrors else None)
    settings = {"scales": [0.8, 1.1], "rotations": [0, 20], "mirrored": True}
    method = build("data_distill", with_statistics, affine=STILL, views=settings)
    flips = (False, True) if mirrors else (False,)
    views = [(s, r, f) for f in flips for s in (0.8, 1.1) for r in (0.0, 20.0)]
    teacher, images = method.networks["teacher_a"], batch.unlabeled.images
    expected = slow_average(teacher, images[:1], views)
    found = method.teacher_heatmaps(batch.unlabeled)
    torch.testing.assert_close(found[:1], expected, atol=1e-4, rtol=1e-3)
    student = in_training(method.networks["student"], images)
    loss = slow_mse(student, found, batch.unlabeled.weights)
    assert step(method, batch)["loss/consistency"].item() == pytest.approx(loss, rel=1e-3)


def test_data_distill_of_one_plain_view_is_pseudo_pose():
    batch = make_batch()
    one = {"scales": [1.0], "rotations": [0.0], "mirrored": False}
    both = [
        step(build(kind, with_statistics, affine=STILL, **more), batch)
        for kind, more in (("pseudo_pose", {}), ("data_distill", {"views": one}))
    ]
    for name, value in both[0].items():
        torch.testing.assert_close(both[1][name], value, msg=name)


def train(method, batches, first: int = 1) -> None:
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1)
    for number, batch in enumerate(batches, start=first):
        optimizer.zero_grad()
        total_loss(step(method, batch)).backward()
        optimizer.step()
        method.after_step(number)


def state(net) -> dict[str, torch.Tensor]:
    return copy.deepcopy(dict(net.state_dict()))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(value.equal(other[key]) for key, value in one.items())


@pytest.mark.parametrize("kind", KINDS)
def test_first_the_teacher_learns_and_then_the_student_afresh(kind):
    """Weights, statistics and averages: the teacher in the warm-up only, the student later."""
    method, batch = build(kind, decay=0.9), make_batch()
    start = {name: state(net) for name, net in method.networks.items()}
    train(method, [Batch(batch.labeled)] * 2)
    warm = {name: state(net) for name, net in method.networks.items()}
    average = state(method.averages["teacher_a"])
    assert same(warm["student"], start["student"])
    assert not same(warm["teacher_a"], start["teacher_a"])

    train(method, [batch] * 2, first=3)
    assert same(state(method.networks["teacher_a"]), warm["teacher_a"])
    assert same(state(method.averages["teacher_a"]), average)
    assert not same(state(method.networks["student"]), warm["student"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_of_the_student_counts_the_students_own_steps(kind):
    """However long the warm-up was: after its n-th step it keeps (1 + n) / (10 + n) at most."""
    method, batch = build(kind, decay=0.25), make_batch()
    wanted = {k: v.clone() for k, v in method.networks["student"].state_dict().items()}
    for number in (1, 2, 3, 4):
        train(method, [batch], first=5000 + number)
        kept = min(0.25, (1 + number) / (10 + number))
        for key, value in method.networks["student"].state_dict().items():
            wanted[key] = kept * wanted[key] + (1 - kept) * value if (
                value.is_floating_point()) else value.clone()  # fmt: skip
    assert 3 / 12 == 0.25 < 4 / 13  # both sides of the minimum have counted
    for key, value in method.averages["student"].state_dict().items():
        torch.testing.assert_close(value, wanted[key], msg=key)


def test_where_averages_are_kept_the_teachers_teaches():
    method, batch = build("pseudo_pose", affine=STILL, decay=0.9), make_batch()
    with torch.no_grad():
        for parameter in method.averages["teacher_a"].parameters():
            parameter.mul_(1.1)
    expected = in_evaluation(method.averages["teacher_a"], batch.unlabeled.images)
    assert method.teacher_heatmaps(batch.unlabeled).equal(expected)
    assert not expected.equal(in_evaluation(method.networks["teacher_a"], batch.unlabeled.images))
    assert method.networks["teacher_a"].training and not method.averages["teacher_a"].training


def test_the_strong_view_moves_image_and_target_alike():
    """Half a turn about the middle: image and heatmaps upside down."""
    batch = make_batch()
    method = build("pseudo_pose", affine=STILL)
    turn = torch.tensor([[-1.0, 0, W - 1], [0, -1, H - 1]]).expand(B, 2, 3)
    method.affine = type("Turn", (), {"sample": staticmethod(lambda n, hw, rng: (turn, None))})
    images = batch.unlabeled.images
    target = method.codec.warp(in_evaluation(method.networks["teacher_a"], images), turn)
    seen = in_training(method.networks["student"], images.flip((2, 3)))
    expected = slow_mse(seen, target, batch.unlabeled.weights)
    found = step(method, batch)["loss/consistency"].item()
    assert found == pytest.approx(expected, rel=1e-3)
