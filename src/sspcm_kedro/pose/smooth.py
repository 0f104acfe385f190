"""Keypoints over time: a constant-velocity Kalman filter and the Rauch-Tung-Striebel smoother.

Each coordinate of each keypoint is a series of its own: position and velocity, driven by white
noise of the acceleration; positions are measured at times that may be uneven, some of them not at
all. References: Rauch, Tung and Striebel, "Maximum likelihood estimates of linear dynamic systems"
(1965); Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation"
(2001), 6.2.2 (the process noise). Covariances are kept as rows: of position, of both, of velocity.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

UNKNOWN = 1e3
"""Standard deviation of the first position and velocity, in those of the measurements' errors."""

FREEDOM = 4.0
"""Of Student's t: a measurement far off its neighbors is believed less (``smooth_points``)."""

PASSES = 3
"""Times that a track is smoothed, each with the weights that the one before found."""

NOISES, DRIVES = np.geomspace(0.03, 3, 7), np.geomspace(1e-1, 1e6, 8)
"""What is tried: errors in cells over the score, and accelerations in cells^2 / s^3."""


class _Step(NamedTuple):
    """A time: what is known before it (2 and 3, s), with it, and the log-likelihood (s) of it."""

    ahead: tuple[np.ndarray, np.ndarray]
    known: tuple[np.ndarray, np.ndarray]
    likelihood: np.ndarray


def smooth_series(
    times: Float[np.ndarray, " t"],
    measured: Float[np.ndarray, "t s"],
    variances: Float[np.ndarray, "t s"],
    acceleration: Float[np.ndarray, " s"],
) -> tuple[Float[np.ndarray, "t s"], Float[np.ndarray, "t s"]]:
    """Positions, and their variances, of each series given all of its measurements.

    Args:
        times: rising, in seconds.
        measured: positions.
        variances: of the measurements' errors; infinite where nothing was measured.
        acceleration: the power spectral density of each series' acceleration, in units squared per
            second cubed: in a second the velocity's variance grows by it.

    Raises:
        ValueError: times do not rise, or a variance is not positive.
    """
    if (np.diff(times) <= 0).any():
        raise ValueError("times must rise")
    if not (variances > 0).all():
        raise ValueError("variances must be positive, infinite where nothing was measured")
    steps = list(_filter(times, measured, variances, acceleration))
    positions, spread = np.empty_like(measured), np.empty_like(measured)
    later = steps[-1].known
    for i in reversed(range(len(steps))):
        if i < len(steps) - 1:
            later = _step_back(steps[i].known, steps[i + 1].ahead, later, times[i + 1] - times[i])
        positions[i], spread[i] = later[0][0], later[1][0]
    return positions, spread


def _filter(
    times: np.ndarray, measured: np.ndarray, variances: np.ndarray, acceleration: np.ndarray
) -> Iterator[_Step]:
    """Time by time, what is known of each series from its past."""
    seen, columns = np.isfinite(variances), np.arange(measured.shape[1])
    first = seen.argmax(axis=0)
    ever = seen[first, columns]
    mean = np.stack([np.where(ever, measured[first, columns], 0), 0 * first])
    unit = np.where(ever, variances[first, columns], 1.0)
    cov = np.stack([UNKNOWN**2 * unit, 0 * unit, UNKNOWN**2 * unit])
    for i, time in enumerate(times):
        if i:
            mean, cov = _predict(mean, cov, time - times[i - 1], acceleration)
        ahead = mean, cov
        error = np.where(seen[i], variances[i], 1.0)
        total = cov[0] + error
        gain = np.where(seen[i], cov[:2] / total, 0.0)
        kept = np.where(seen[i], error / total, 1.0)
        off = np.where(seen[i], measured[i] - mean[0], 0.0)
        likelihood = np.where(seen[i] & (i > first), -(off**2 / total + np.log(total)) / 2, 0.0)
        mean = mean + gain * off
        cov = np.stack([kept * cov[0], kept * cov[1], cov[2] - gain[1] * cov[1]])
        yield _Step(ahead, (mean, cov), likelihood)


def _predict(
    mean: np.ndarray, cov: np.ndarray, step: float, acceleration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A step of time: F = [[1, dt], [0, 1]], Q = q [[dt^3 / 3, dt^2 / 2], [dt^2 / 2, dt]]."""
    position, both, velocity = cov
    return np.stack([mean[0] + step * mean[1], mean[1]]), np.stack([
        position + 2 * step * both + step**2 * velocity + acceleration * step**3 / 3,
        both + step * velocity + acceleration * step**2 / 2,
        velocity + acceleration * step,
    ])  # fmt: skip


def _step_back(
    known: tuple[np.ndarray, np.ndarray], ahead: tuple[np.ndarray, np.ndarray],
    later: tuple[np.ndarray, np.ndarray], step: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The smoothed mean and covariance of a time from those of the next one."""
    (mean, cov), (next_mean, next_cov), (later_mean, later_cov) = known, ahead, later
    p, q, r = next_cov
    forward = np.array([[cov[0] + step * cov[1], cov[1]], [cov[1] + step * cov[2], cov[2]]])
    gain = np.einsum("ijs,jks->iks", forward, np.array([[r, -q], [-q, p]]) / (p * r - q * q))
    a, b, c = later_cov - next_cov
    change = np.einsum("ijs,jks,lks->ils", gain, np.array([[a, b], [b, c]]), gain)
    moved = np.stack([change[0, 0], change[0, 1], change[1, 1]])
    return mean + np.einsum("ijs,js->is", gain, later_mean - next_mean), cov + moved


def smooth_points(
    times: Float[np.ndarray, " t"],
    points: Real[np.ndarray, "t k 2"],
    scores: Real[np.ndarray, "t k"],
    cell: float,
) -> Float[np.ndarray, "t k 2"]:
    """The keypoints of one animal or person over time, smoothed; image pixels.

    An error's variance is ``(cell * noise / score)^2``. The noise, and how much a keypoint
    accelerates, are those of ``NOISES`` and ``DRIVES`` by which its own measurements are likeliest.
    A measurement that its neighbors contradict counts less, as under Student's t.

    Args:
        times: rising, in seconds.
        points: predictions in image pixels.
        scores: of each; 0 where there is none, which is filled in from the others. A keypoint
            without any stays where it is.
        cell: a heatmap cell in image pixels, the unit of errors.
    """
    steps, k = scores.shape
    measured = np.asarray(points, np.float64).reshape(steps, 2 * k)
    there = (np.asarray(scores, np.float64) > 0).repeat(2, axis=1)
    relative = np.full(there.shape, np.inf)
    np.divide(cell, scores.repeat(2, axis=1), out=relative, where=there)
    relative **= 2
    if steps < 2:
        return measured.reshape(steps, k, 2)
    weights = np.ones_like(measured)
    for remaining in reversed(range(PASSES)):
        noise, drive = _fit(times, measured, relative / weights, cell)
        positions, spread = smooth_series(times, measured, noise * relative / weights, drive)
        if remaining:
            squared = np.where(there, (measured - positions) ** 2 + spread, 0) / (noise * relative)
            squared = squared.reshape(steps, k, 2).sum(axis=2)
            weights = ((FREEDOM + 2) / (FREEDOM + squared)).repeat(2, axis=1)
    return np.where(there.any(axis=0), positions, measured).reshape(steps, k, 2)


def _fit(
    times: np.ndarray, measured: np.ndarray, relative: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest noise (squared) and acceleration of each series, alike for x and y."""
    grid = np.array([(n**2, d * cell**2) for n in NOISES for d in DRIVES])
    series, tried = measured.shape[1], len(grid)
    everywhere = np.tile(relative, tried) * grid[:, 0].repeat(series)
    steps = _filter(times, np.tile(measured, tried), everywhere, grid[:, 1].repeat(series))
    total = sum(step.likelihood for step in steps)
    of_points = np.reshape(total, (tried, series // 2, 2)).sum(axis=2)
    best = of_points.argmax(axis=0).repeat(2)
    return grid[best, 0], grid[best, 1]
