"""The smoother against batch least squares, and what it does to known motions."""

import numpy as np
import pytest

from sspcm_kedro.pose.smooth import UNKNOWN, smooth_points, smooth_series


def least_squares(times, measured, variances, drive) -> tuple[np.ndarray, np.ndarray]:
    """One series at once: the minimum of all squared residuals, and the inverse Hessian.

    Rows are whitened residuals of the state (x_0, v_0, x_1, v_1, ...): independent of recursions.
    """
    steps = len(times)
    seen = np.isfinite(variances)
    start = int(np.flatnonzero(seen)[0])
    rows, values = [], []

    def add(row: dict[int, float], value: float, deviation: float) -> None:
        line = np.zeros(2 * steps)
        line[list(row)] = np.array(list(row.values())) / deviation
        rows.append(line)
        values.append(value / deviation)

    wide = UNKNOWN * np.sqrt(variances[start])
    add({0: 1}, measured[start], wide)
    add({1: 1}, 0, wide)
    for i in np.flatnonzero(seen):
        add({2 * i: 1}, measured[i], np.sqrt(variances[i]))
    for i, dt in enumerate(np.diff(times)):
        noise = drive * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        whiten = np.linalg.inv(np.linalg.cholesky(noise))
        for weight in whiten:
            line = {2 * i: -weight[0], 2 * i + 1: -weight[0] * dt - weight[1],
                    2 * i + 2: weight[0], 2 * i + 3: weight[1]}  # fmt: skip
            add(line, 0, 1.0)
    q, r = np.linalg.qr(np.array(rows))
    root = np.linalg.inv(r)
    return (root @ (q.T @ np.array(values)))[::2], (root**2).sum(axis=1)[::2]


def test_the_smoother_is_batch_least_squares():
    """At uneven times, with variances that differ, and with measurements that lack."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.3, 30))
    measured = np.cumsum(rng.normal(0, 5, (30, 3)), axis=0)
    variances = rng.uniform(0.5, 4, (30, 3)) ** 2
    variances[rng.random((30, 3)) < 0.3] = np.inf
    variances[:4, 1] = np.inf  # nothing at the beginning
    variances[-5:, 2] = np.inf  # nor at the end
    drive = np.array([10.0, 300.0, 2000.0])
    positions, spread = smooth_series(times, measured, variances, drive)
    for series in range(3):
        expected, variance = least_squares(
            times, measured[:, series], variances[:, series], drive[series]
        )
        np.testing.assert_allclose(positions[:, series], expected, atol=1e-4)
        np.testing.assert_allclose(spread[:, series], variance, rtol=1e-4)


def test_a_straight_line_stays_and_gaps_are_filled():
    times = np.array([0, 0.1, 0.2, 0.4, 0.5, 0.9, 1.0, 1.1])
    line = np.stack([100 + 50 * times, 30 - 20 * times], axis=1)[:, None]
    points, scores = line.copy(), np.full((8, 1), 0.8)
    points[3], scores[3] = (900, -900), 0
    found = smooth_points(times, points, scores, cell=4.0)
    np.testing.assert_allclose(found, line, atol=0.05)


def moving(seed: int) -> tuple[np.ndarray, ...]:
    """Two keypoints that turn smoothly for ten seconds, measured with errors of 3 pixels."""
    rng = np.random.default_rng(seed)
    times = np.arange(250) / 25
    phase = times[:, None] * np.array([1.0, 1.7]) + np.array([0.0, 1.0])
    truth = 200 + 80 * np.stack([np.cos(phase), np.sin(phase)], axis=2)
    scores = rng.uniform(0.4, 1, (250, 2))
    return times, truth, truth + rng.normal(0, 3, truth.shape) * (0.6 / scores[..., None]), scores


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((found - truth) ** 2).mean()))


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_halved_whatever_its_size(seed):
    times, truth, points, scores = moving(seed)
    for cell in (2.0, 8.0):
        assert error(smooth_points(times, points, scores, cell), truth) < error(points, truth) / 2


def test_a_point_that_jumps_away_is_not_followed():
    times, truth, points, scores = moving(0)
    points[10::25, 0] += 150
    found = smooth_points(times, points, scores, 4.0)
    assert np.abs(found[:, 0] - truth[:, 0]).max() < 10


def test_nothing_to_smooth():
    times, points = np.array([0.0, 1.0]), np.array([[[3.0, 4.0]], [[5.0, 6.0]]])
    np.testing.assert_array_equal(smooth_points(times, points, np.zeros((2, 1)), 4.0), points)
    one = smooth_points(times[:1], points[:1], np.ones((1, 1)), 4.0)
    np.testing.assert_array_equal(one, points[:1])


def test_what_it_refuses():
    ones = np.ones((2, 1))
    with pytest.raises(ValueError, match="times must rise"):
        smooth_series(np.zeros(2), ones, ones, np.ones(1))
    with pytest.raises(ValueError, match="variances must be positive"):
        smooth_series(np.arange(2.0), ones, 0 * ones, np.ones(1))
