"""SSPCM against a reference written out from docs/method.md, One step, and who learns from whom."""

import math

import pytest
import torch
from torch import nn

from sspcm_kedro.augment.occlude import Donors
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.heatmap import HeatmapCodec, peaks

H, W, K, B = 64, 48, 4, 5
MAPS = (B, K, H // 4, W // 4)
PLAIN = {
    "kind": "sspcm",
    "affine": {"scale": 0, "rotation": 0, "rotation_probability": 0, "flip_probability": 0},
    "occlude": {"patches": 0},
}
"""No augmentation: the strong view is the weak one."""


def lively_net(seed: int) -> nn.Module:
    """A small network whose heatmaps have peaks of about 0.1 to 1."""
    torch.manual_seed(seed)
    net = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}).build(K)
    net.head[-1].weight.data *= 60
    return net


def build(**more):
    return MethodConfig.model_validate({**PLAIN, **more}).build(lively_net, HeatmapCodec()).train()


def rand(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def make_batch(*, earlier: bool = True) -> Batch:
    weights = torch.tensor([[1.0, 1, 0, 1]]).expand(B, K)
    stored = (rand(4, *MAPS), rand(5, *MAPS)) if earlier else None
    return Batch(
        Labeled(rand(1, B, 3, H, W), rand(2, *MAPS), (rand(6, B, K) > 0.3).float()),
        Unlabeled(rand(3, B, 3, H, W), weights, stored),
    )


def step(method, batch: Batch, seed: int = 0):
    return method.training_step(batch, torch.Generator().manual_seed(seed))


def total(scalars) -> torch.Tensor:
    return scalars["loss/supervised"] + scalars["loss/consistency"]


def slow_mse(predicted, target, weights) -> float:
    """(1 / K) sum over keypoints of half the mean squared difference of weighted maps."""
    losses = []
    for j in range(K):
        maps = [weights[n, j] * (predicted[n, j] - target[n, j]) for n in range(B)]
        losses.append(0.5 * torch.stack(maps).double().square().mean().item())
    return sum(losses) / K


def where(plane: torch.Tensor) -> tuple[int, int]:
    index = int(plane.argmax())
    return index % plane.shape[1], index // plane.shape[1]


def slow_correction(first, second):
    """(A, B), (A', B), (A, B'), (A', B'): mean map of the closest pair, and its distance."""
    corrected, inconsistency = torch.empty(MAPS), torch.empty(B, K)
    diagonal = math.hypot(MAPS[2], MAPS[3])
    for n in range(B):
        for j in range(K):
            best = math.inf
            for a, e in [(0, 0), (1, 0), (0, 1), (1, 1)]:
                one, other = first[a][n, j], second[e][n, j]
                distance = math.dist(where(one), where(other)) / diagonal
                if distance < best:
                    best = distance
                    corrected[n, j] = (one + other) / 2
            inconsistency[n, j] = best
    return corrected, inconsistency


@pytest.mark.parametrize("snapshots", [False, True], ids=["stored", "snapshots"])
def test_losses_are_those_of_the_slow_reference(snapshots):
    """Half the sum of the supervised losses; A from B, B from A, S from the corrected map."""
    batch = make_batch(earlier=not snapshots)
    method = build(snapshot_every=1000 if snapshots else None)
    with torch.no_grad():
        for seed, parameter in enumerate(method.networks.parameters()):  # away from the snapshots
            parameter.mul_(0.5 + rand(seed, *parameter.shape))
        nets = list(method.networks.values())
        labeled = [net(batch.labeled.images) for net in nets]
        unlabeled = [net(batch.unlabeled.images) for net in nets]
        earlier = batch.unlabeled.earlier
        if snapshots:
            earlier = tuple(net(batch.unlabeled.images) for net in method.snapshots)
    a, b, student = unlabeled
    corrected, inconsistency = slow_correction((a, earlier[0]), (b, earlier[1]))
    assert not corrected.equal((a + b) / 2), "the past never mattered"
    score = (a.amax(dim=(2, 3)) + b.amax(dim=(2, 3))) / 2
    # Thresholds in the gaps of the middle, so that both masks keep some and drop some.
    scores, distances = (v.flatten().unique() for v in (score, inconsistency))
    method.min_score = float(scores[len(scores) // 3 : len(scores) // 3 + 2].mean())
    method.max_inconsistency = float(distances[len(distances) // 2 :][:2].mean())
    method.weight = 0.7
    trusted = batch.unlabeled.weights * (score > method.min_score)
    agreed = trusted * (inconsistency <= method.max_inconsistency)
    assert 0 < agreed.sum() < trusted.sum() < batch.unlabeled.weights.sum()

    scalars = step(method, batch)
    supervised = [slow_mse(p, batch.labeled.heatmaps, batch.labeled.weights) for p in labeled]
    assert scalars["loss/supervised"].item() == pytest.approx(0.5 * sum(supervised), rel=1e-4)
    consistency = (
        slow_mse(a, b, trusted) + slow_mse(b, a, trusted) + slow_mse(student, corrected, agreed)
    )
    assert scalars["loss/consistency"].item() == pytest.approx(0.7 * consistency, rel=1e-3)
    assert scalars["kept"].item() == pytest.approx(
        float(agreed.sum() / batch.unlabeled.weights.sum())
    )
    taught = inconsistency[batch.unlabeled.weights > 0]  # keypoint 2 of a union is noise
    assert scalars["inconsistency"].item() == pytest.approx(taught.mean().item(), rel=1e-4)


class Planted(nn.Module):
    """Always the same heatmaps (k, h, w); remembers the images of its passes with gradient."""

    def __init__(self, heatmaps: torch.Tensor) -> None:
        super().__init__()
        self.heatmaps = nn.Parameter(heatmaps)
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            self.seen.append(images.round())  # an identical warp leaves float dust
        return self.heatmaps.expand(len(images), -1, -1, -1)


def planted(*cells: tuple[int, int], height: float = 1.0) -> torch.Tensor:
    heatmaps = torch.zeros(len(cells), H // 4, W // 4)
    for j, (x, y) in enumerate(cells):
        heatmaps[j, y, x] = height
    return heatmaps


def planted_method(heights=(1.0, 1.0), **more):
    """Two keypoints. A sees them at (2, 2) and (8, 3), B at (9, 13) and (8, 3)."""
    nets = [
        Planted(planted((2, 2), (8, 3), height=heights[0])),
        Planted(planted((9, 13), (8, 3), height=heights[1])),
        Planted(torch.zeros(2, H // 4, W // 4)),
    ]
    return (
        MethodConfig.model_validate({**PLAIN, **more})
        .build(nets.__getitem__, HeatmapCodec())
        .train()
    )


def planted_batch(n: int = 40, **more) -> Batch:
    """The stored predictions: A at (9, 12) and (0, 0), B far away."""
    images, maps = torch.zeros(n, 3, H, W), torch.zeros(n, 2, H // 4, W // 4)
    earlier = tuple(
        planted(*cells).expand(n, -1, -1, -1) for cells in ([(9, 12), (0, 0)], [(0, 15), (0, 15)])
    )
    return Batch(
        Labeled(images, maps, torch.ones(n, 2)),
        Unlabeled(images, torch.ones(n, 2), earlier, **more),
    )


EXACT = {"patches": 1, "half_size": (2 / H, 2 / H), "jitter": 0.0}
"""One patch of 4x4 pixels, right at a keypoint."""
WHITE = Donors(torch.ones(1, 3, H, W), torch.tensor([[[24.0, 32.0]]]))


def centers(net: Planted) -> set[tuple[int, int]]:
    """Where the strong views that a network saw are occluded, in input pixels."""
    (images,) = net.seen[1:]
    assert images.count_nonzero() == len(images) * 3 * 4 * 4, "one patch of 4x4 a person"
    return {(int(i[0].any(dim=0).nonzero()[2]), int(i[0].any(dim=1).nonzero()[2]))
            for i in images}  # fmt: skip


def test_each_network_is_occluded_where_the_others_see_keypoints():
    """A's view at B's keypoints, B's at A's, the student's at those of the corrected map."""
    method = planted_method(occlude=EXACT, donors="bank")
    step(method, planted_batch(donors=WHITE))
    assert centers(method.networks["teacher_a"]) == {(36, 52), (32, 12)}
    assert centers(method.networks["teacher_b"]) == {(8, 8), (32, 12)}
    # Keypoint 0: A earlier (9, 12) and B now (9, 13) agree best; the first of their equal peaks.
    assert centers(method.networks["student"]) == {(36, 48), (32, 12)}


def test_only_keypoints_that_teach_are_occluded():
    """All agree on keypoint 0, A and B differ about 1, and 2 is fainter than ``min_score``."""
    faint = planted((0, 0), (0, 0), (4, 10), height=0.05) * torch.tensor([0, 0, 1.0])[:, None, None]
    seen = [
        planted((8, 3), place, (4, 10)) * torch.tensor([1, 1, 0.0])[:, None, None] + faint
        for place in ((2, 2), (9, 13))
    ]
    nets = [*map(Planted, seen), Planted(torch.zeros_like(faint))]
    settings = {**PLAIN, "occlude": EXACT, "min_score": 0.1, "max_inconsistency": 0.1,
                "donors": "bank"}  # fmt: skip
    method = MethodConfig.model_validate(settings).build(nets.__getitem__, HeatmapCodec())
    n = 40
    images, maps = torch.zeros(n, 3, H, W), torch.zeros(n, *faint.shape)
    earlier = tuple(heatmaps.expand(n, -1, -1, -1) for heatmaps in seen)
    step(
        method,
        Batch(
            Labeled(images, maps, torch.ones(n, 3)),
            Unlabeled(images, torch.ones(n, 3), earlier, WHITE),
        ),
    )
    assert centers(nets[0]) == {(32, 12), (36, 52)}
    assert centers(nets[1]) == {(32, 12), (8, 8)}
    assert centers(nets[2]) == {(32, 12)}


def test_without_donors_the_batch_itself_serves():
    """People of the batch are cut at the pseudo-keypoints."""
    method = planted_method(occlude={"patches": 1, "half_size": (2 / H, 2 / H), "jitter": 0.0})
    batch = planted_batch(n=3)
    images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 3, H, W).contiguous() + 1
    unlabeled = Unlabeled(images, torch.ones(3, 2), batch.unlabeled.earlier)
    for seed in range(24):
        step(method, Batch(batch.labeled, unlabeled), seed)
    foreign = {
        (n, int(value))
        for views in method.networks["student"].seen[1::2]
        for n in range(3)
        for value in views[n].unique()
        if value != n + 1
    }
    assert foreign == {(n, m) for n in range(3) for m in (1, 2, 3) if m != n + 1}


def test_only_what_counts_is_covered_and_only_what_is_taught_is_cut():
    """Keypoint 0 agrees too little for the student, keypoint 1 of person 0 is taught by nobody."""
    method = planted_method(max_inconsistency=0.049)
    batch = planted_batch(n=2)
    taught = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    unlabeled = Unlabeled(batch.unlabeled.images, taught, batch.unlabeled.earlier)
    asked = []

    def watch(images, keypoints, weights, donors, rng):
        asked.append((weights, donors))
        return images

    method.occlude = watch
    step(method, Batch(batch.labeled, unlabeled))
    covered = [weights.tolist() for weights, _ in asked]
    assert covered == [taught.tolist(), taught.tolist(), [[0, 0], [0, 1]]]
    for _, donors in asked:
        assert donors.weights.equal(taught) and donors.images is unlabeled.images


@pytest.mark.parametrize(("heights", "kept"), [((0.1, 0.1), 0.0), ((0.15, 0.06), 1.0)])
def test_a_keypoint_counts_above_the_mean_peak_and_not_at_it(heights, kept):
    method = planted_method(heights, min_score=0.1)
    method.min_score = float(torch.tensor(0.1))  # the bound as the heatmap's float32 has it
    assert step(method, planted_batch())["kept"].item() == kept


def test_an_outlier_is_dropped_for_the_student_alone():
    """Keypoint 0's best pair is one cell apart, 1 / 20 of the diagonal; keypoint 1 agrees."""
    losses = {}
    for limit in (0.051, 0.049):
        method = planted_method(max_inconsistency=limit)
        scalars = step(method, planted_batch(n=2))
        scalars["loss/consistency"].backward()
        losses[limit] = [net.heatmaps.grad.clone() for net in method.networks.values()]
        assert scalars["kept"].item() == (1.0 if limit > 0.05 else 0.5)
    assert losses[0.051][0].equal(losses[0.049][0]) and losses[0.051][1].equal(losses[0.049][1])
    student, without = losses[0.051][2], losses[0.049][2]
    assert student[0].any() and not without[0].any()
    assert student[1].equal(without[1])


class Garbled(nn.Module):
    """The network as it is in readings, and nonsense in its passes with gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        heatmaps = self.net(images)
        return 3 * heatmaps + 1 if torch.is_grad_enabled() else heatmaps


def gradients(method, name: str, batch: Batch) -> list[torch.Tensor]:
    method.zero_grad()
    total(step(method, batch, seed=5)).backward()
    net = method.networks[name]
    return [p.grad.clone() for p in (net.net if isinstance(net, Garbled) else net).parameters()]


@pytest.mark.parametrize("name", ["teacher_a", "teacher_b", "student"])
def test_no_gradient_flows_between_networks(name):
    """A network's gradient knows of the others only what they read from the weak view."""
    augmented = {"affine": {}, "occlude": {}, "min_score": 0.0}
    batch, method, disturbed = make_batch(), build(**augmented), build(**augmented)
    for other in set(method.networks) - {name}:
        disturbed.networks[other] = Garbled(disturbed.networks[other])
    expected = gradients(method, name, batch)
    assert all(a.equal(b) for a, b in zip(gradients(disturbed, name, batch), expected, strict=True))
    disturbed.networks[name] = Garbled(disturbed.networks[name])
    assert not all(
        a.equal(b) for a, b in zip(gradients(disturbed, name, batch), expected, strict=True)
    )


def test_the_student_learns_and_never_teaches():
    """Other weights of the student change no gradient of a teacher; B's readings change A's."""
    batch, method = make_batch(), build(min_score=0.0)
    expected = gradients(method, "teacher_a", batch)
    with torch.no_grad():
        for parameter in method.networks["student"].parameters():
            parameter.mul_(1.5)
    assert all(
        a.equal(b) for a, b in zip(gradients(method, "teacher_a", batch), expected, strict=True)
    )
    with torch.no_grad():
        for parameter in method.networks["teacher_b"].parameters():
            parameter.mul_(1.5)
    assert not all(
        a.equal(b) for a, b in zip(gradients(method, "teacher_a", batch), expected, strict=True)
    )


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    return all(value.equal(states[1][name]) for name, value in states[0].items())


def test_snapshots_are_the_teachers_after_every_so_many_steps_and_not_before():
    method, batch = build(snapshot_every=2), make_batch(earlier=False)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1)
    assert equal_states(method.snapshots, method.teachers)
    for number, refreshed in [(1, False), (2, True), (3, False), (4, True)]:
        optimizer.zero_grad()
        total(step(method, batch)).backward()
        optimizer.step()
        method.after_step(number)
        assert equal_states(method.snapshots, method.teachers) == refreshed, number


def test_snapshots_that_equal_the_teachers_leave_their_mean():
    """At the start of a period every pair is (A, B)."""
    method, batch = (
        build(snapshot_every=5, min_score=0.0, max_inconsistency=1.0),
        make_batch(earlier=False),
    )
    with torch.no_grad():
        a, b, student = (net(batch.unlabeled.images) for net in method.networks.values())
    trusted = batch.unlabeled.weights * (a.amax((2, 3)) + b.amax((2, 3)) > 0)
    expected = slow_mse(a, b, 2**0.5 * trusted) + slow_mse(student, (a + b) / 2, trusted)
    scalars = step(method, batch)
    assert scalars["loss/consistency"].item() == pytest.approx(expected, rel=1e-3)
    cells = [peaks(h)[0].float() for h in (a, b)]
    apart = (cells[0] - cells[1]).norm(dim=2)[batch.unlabeled.weights > 0].mean()
    apart = apart / math.hypot(MAPS[2], MAPS[3])
    assert scalars["inconsistency"].item() == pytest.approx(apart.item(), rel=1e-4)


def test_a_method_without_snapshots_needs_an_earlier_period():
    with pytest.raises(ValueError, match=r"Unlabeled\.earlier, or set snapshot_every"):
        step(build(), make_batch(earlier=False))
    assert not hasattr(build(), "snapshots")
