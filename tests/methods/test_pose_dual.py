"""The two methods of Xie et al. (2021) against slow references, and who learns from whom."""

import pytest
import torch
from torch import nn

from sspcm_kedro.augment.affine import RandomAffine
from sspcm_kedro.batch import Batch, Labeled, Unlabeled
from sspcm_kedro.methods import MethodConfig
from sspcm_kedro.nets import NetworkConfig
from sspcm_kedro.pose.geometry import at_stride, similarity, warp
from sspcm_kedro.pose.heatmap import HeatmapCodec

H, W, K, B = 64, 48, 3, 4
PLAIN = {
    "affine": {"scale": 0, "rotation": 0, "rotation_probability": 0, "flip_probability": 0},
    "cutout": {"patches": 0},
}


def lively_net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = NetworkConfig.model_validate({"kind": "small_baseline", "width": 16}).build(K)
    net.head[-1].weight.data *= 60
    return net


def build(kind: str, make_net=lively_net, **more):
    return (
        MethodConfig.model_validate({"kind": kind, **more}).build(make_net, HeatmapCodec()).train()
    )


def rand(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def batch() -> Batch:
    maps = rand(2, B, K, H // 4, W // 4)
    weights = torch.tensor([[1.0, 0, 1]]).expand(B, K)
    return Batch(
        Labeled(rand(1, B, 3, H, W), maps, (rand(6, B, K) > 0.3).float()),
        Unlabeled(rand(3, B, 3, H, W), weights),
    )


def step(method, batch: Batch, seed: int = 0):
    return method.training_step(batch, torch.Generator().manual_seed(seed))


def slow_mse(predicted, target, weights) -> float:
    losses = [
        0.5 * (weights[:, j, None, None] * (predicted[:, j] - target[:, j])).square().mean().item()
        for j in range(K)
    ]
    return sum(losses) / K


def read(method, images) -> list[torch.Tensor]:
    with torch.no_grad():
        return [net(images) for net in method.networks.values()]


def test_pose_dual_is_the_slow_reference(batch):
    """Half of both supervised losses; each network towards what the other sees; no score mask."""
    method = build("pose_dual", **PLAIN, weight=0.5)
    labeled, unlabeled = batch.labeled, batch.unlabeled
    supervised = [
        slow_mse(p, labeled.heatmaps, labeled.weights) for p in read(method, labeled.images)
    ]
    a, b = read(method, unlabeled.images)
    expected = slow_mse(a, b, unlabeled.weights) + slow_mse(b, a, unlabeled.weights)
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(0.5 * sum(supervised), rel=1e-4)
    assert scalars["loss/consistency"].item() == pytest.approx(0.5 * expected, rel=1e-3)


def test_pose_cons_is_the_slow_reference_under_a_strong_view(batch):
    """The whole supervised loss; the strong view of the image towards the warped reading."""
    method = build("pose_cons", **PLAIN, weight=0.5)
    method.affine = RandomAffine(0, 0, 0, flip_probability=1)  # the map whose reading is known
    labeled, unlabeled = batch.labeled, batch.unlabeled
    (predicted,) = read(method, labeled.images)
    (pseudo,) = read(method, unlabeled.images)
    theta = similarity(torch.ones(B), torch.zeros(B), torch.ones(B, dtype=torch.bool), (H, W))
    (seen,) = read(method, unlabeled.images.flip(3))
    target = warp(pseudo, at_stride(theta, 4))
    scalars = step(method, batch)
    assert scalars["loss/supervised"].item() == pytest.approx(
        slow_mse(predicted, labeled.heatmaps, labeled.weights), rel=1e-4
    )
    assert scalars["loss/consistency"].item() == pytest.approx(
        0.5 * slow_mse(seen, target, unlabeled.weights), rel=1e-3
    )


class Planted(nn.Module):
    """One keypoint at a cell; remembers the images of its passes with gradient."""

    def __init__(self, x: int, y: int) -> None:
        super().__init__()
        self.heatmaps = nn.Parameter(torch.zeros(1, H // 4, W // 4))
        self.heatmaps.data[0, y, x] = 1
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            self.seen.append(images)
        return self.heatmaps.expand(len(images), -1, -1, -1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("pose_dual", {"teacher_a": (36, 56), "teacher_b": (8, 12)}),
        ("pose_cons", {"student": (20, 24)}),
    ],
)
def test_squares_are_cut_where_the_teaching_network_sees_keypoints(kind, expected):
    """Network A at B's keypoints and B at A's, ankles included; PoseCons at its own."""
    nets = [Planted(2, 3), Planted(9, 14), Planted(5, 6)]
    cutout = {"patches": 2, "half_size": (3 / H, 3 / H), "jitter": 0.0}
    method = build(kind, nets.__getitem__, affine=PLAIN["affine"], cutout=cutout)
    ones = torch.ones(2, 3, H, W)
    step(method, Batch(
        Labeled(ones, torch.zeros(2, 1, H // 4, W // 4), torch.ones(2, 1)),
        Unlabeled(ones, torch.ones(2, 1)),
    ))  # fmt: skip
    for name, (x, y) in expected.items():
        mask = torch.ones(H, W)
        mask[y - 3 : y + 3, x - 3 : x + 3] = 0
        torch.testing.assert_close(
            method.networks[name].seen[1], mask.expand(2, 3, H, W), atol=1e-4, rtol=0
        )


class Garbled(nn.Module):
    """The network as it is in readings, and nonsense in its passes with gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        heatmaps = self.net(images)
        return 3 * heatmaps + 1 if torch.is_grad_enabled() else heatmaps


def gradients(method, batch: Batch) -> list[torch.Tensor]:
    method.zero_grad()
    torch.stack(list(step(method, batch).values())).sum().backward()
    return [p.grad.clone() for p in method.networks["teacher_a"].parameters()]


def test_gradients_of_a_do_not_depend_on_b_but_for_what_b_reads(batch):
    method = build("pose_dual")
    expected = gradients(method, batch)
    b = method.networks["teacher_b"]
    method.networks["teacher_b"] = Garbled(b)
    assert all(x.equal(y) for x, y in zip(gradients(method, batch), expected, strict=True))
    with torch.no_grad():
        b.head[-1].weight *= 2
    assert not all(x.equal(y) for x, y in zip(gradients(method, batch), expected, strict=True))
