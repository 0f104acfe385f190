"""The loss against the published loop over keypoints."""

import pytest
import torch

from sspcm_kedro.pose.losses import keypoint_mse
from typechecker import unchecked


def per_keypoint_loop(predicted, target, weights) -> float:
    """(1 / J) sum over keypoints of half the mean squared difference of weighted maps."""
    b, k, height, width = predicted.shape
    total = 0.0
    for j in range(k):
        squares = 0.0
        for n in range(b):
            w = float(weights[n, j])
            difference = w * predicted[n, j].double() - w * target[n, j].double()
            squares += float((difference**2).sum())
        total += 0.5 * squares / (b * height * width)
    return total / k


@pytest.fixture
def maps():
    rng = torch.Generator().manual_seed(0)
    return torch.randn((2, 3, 5, 4), generator=rng), torch.randn((2, 3, 5, 4), generator=rng)


@pytest.mark.parametrize(
    "weights",
    [
        torch.ones(2, 3),
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
        torch.tensor([[0.5, 0.25, 1.0], [0.1, 0.9, 0.0]]),
    ],
    ids=["all", "masked", "fractional"],
)
def test_loss_is_the_loop_over_keypoints(maps, weights):
    assert keypoint_mse(*maps, weights).item() == pytest.approx(per_keypoint_loop(*maps, weights))


def test_masked_keypoints_stay_in_the_denominator_and_fractions_act_squared():
    predicted, target = torch.full((1, 4, 2, 3), 3.0), torch.full((1, 4, 2, 3), 1.0)
    assert keypoint_mse(predicted, target, torch.ones(1, 4)).item() == 2.0
    assert keypoint_mse(predicted, target, torch.tensor([[1.0, 0, 0, 0]])).item() == 0.5
    assert keypoint_mse(predicted, target, torch.full((1, 4), 0.5)).item() == 0.5


def test_a_masked_keypoint_has_no_gradient(maps):
    predicted = maps[0].clone().requires_grad_()
    keypoint_mse(predicted, maps[1], torch.tensor([[1.0, 0, 1], [1, 1, 1]])).backward()
    assert not predicted.grad[0, 1].any()
    torch.testing.assert_close(predicted.grad[1], (maps[0] - maps[1])[1] / predicted.numel())


@pytest.mark.parametrize(
    ("target", "weights"),
    [((2, 3, 5, 1), (2, 3)), ((1, 3, 5, 4), (2, 3)), ((2, 3, 5, 4), (2, 1)),
     ((2, 3, 5, 4), (2, 3, 1)), ((2, 3, 5, 4), (3,))],
)  # fmt: skip
def test_nothing_is_broadcast_in_silence(maps, target, weights):
    with pytest.raises(ValueError, match=r"weights \(b, k\)"):
        unchecked(keypoint_mse)(maps[0], torch.zeros(target), torch.ones(weights))
