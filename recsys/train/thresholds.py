"""Ratings as ordered levels: a hidden score with noise of variance 1, cut at thresholds.

    P(level <= k) = Phi(threshold[k] - score)

Source: J. Albert and S. Chib, "Bayesian analysis of binary and polychotomous response data", JASA 88, 1993. The
thresholds are drawn with the scores given and the noise integrated out, which moves much faster than theirs: M. Cowles,
"Accelerating Monte Carlo Markov chain convergence for cumulative-link generalized linear models", Statistics and
Computing 6, 1996.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from recsys.compute import compiled

Vector = NDArray[np.float64]

REACH, N_BINS = 8.0, 4096  # scores in standard deviations of the noise; a bin is 0.004 wide, noise is 1
MIDDLES: Vector = (np.arange(N_BINS, dtype=np.float64) + 0.5) * (2 * REACH / N_BINS) - REACH
SPREAD = 1.3  # standard deviation of score and noise together, before anything is known: thresholds start from it
NEWTON_STEPS = 20
LEAST_STEP = 1e-6


def first_thresholds(level: NDArray[np.int8], n_levels: int) -> Vector:
    """(n_levels - 1,) where the levels' shares would put them if all scores were N(0, SPREAD**2 - 1)."""
    below = np.cumsum(np.bincount(level, minlength=n_levels))[:-1] / len(level)
    return np.asarray(SPREAD * ndtri(below))


def closed(thresholds: Vector) -> Vector:
    """(n_levels + 1,) with both ends, so that level k lies between entries k and k + 1."""
    return np.concatenate(([-np.inf], thresholds, [np.inf]))


def expected_level(score: Vector, thresholds: Vector, values: Vector, variance: float) -> Vector:
    """(n,) the mean of the ratings' `values` (n_levels,) at scores known but for a normal error of that variance."""
    spread = np.sqrt(1.0 + variance)
    expected = np.full(len(score), values[0])
    for threshold, step in zip(thresholds, np.diff(values), strict=True):
        expected += step * ndtr((score - threshold) / spread)
    return expected


def draw_thresholds(thresholds: Vector, start: Vector, counts: Vector, rng: np.random.Generator) -> Vector:
    """A Metropolis-Hastings step; the proposal is the normal distribution that fits the posterior at its mode.

    Args:
        thresholds: (n_levels - 1,) the present ones.
        start: (n_levels - 1,) means of their prior, normal with variance 1.
        counts: (n_levels, N_BINS) ratings by level and score, as `count_scores` gives them.
    """
    if not len(thresholds):
        return thresholds
    mode, information = _mode(thresholds, start, counts)
    root = np.linalg.cholesky(information)
    step = rng.standard_normal(len(mode))
    proposed, accept = mode + np.linalg.solve(root.T, step), np.log(rng.random())
    back = root.T @ (thresholds - mode)
    gain = _log_posterior(proposed, start, counts) - _log_posterior(thresholds, start, counts)
    return proposed if accept < gain + (step @ step - back @ back) / 2 else thresholds


def _mode(thresholds: Vector, start: Vector, counts: Vector) -> tuple[Vector, NDArray[np.float64]]:
    """The most probable thresholds, by Fisher scoring with halved steps, and the information there."""
    at, value = thresholds, _log_posterior(thresholds, start, counts)
    for _ in range(NEWTON_STEPS):
        slope, information = _slope(at, start, counts)
        step = np.linalg.solve(information, slope)
        while np.abs(step).max() > LEAST_STEP and _log_posterior(at + step, start, counts) < value:
            step = step / 2
        if np.abs(step).max() <= LEAST_STEP:
            break
        at, value = at + step, _log_posterior(at + step, start, counts)
    return at, _slope(at, start, counts)[1]


def _shares(thresholds: Vector) -> NDArray[np.float64]:
    """(n_levels, N_BINS) probability of each level in each bin."""
    return np.maximum(np.diff(ndtr(closed(thresholds)[:, None] - MIDDLES), axis=0), 1e-300)


def _log_posterior(thresholds: Vector, start: Vector, counts: Vector) -> float:
    if np.any(np.diff(thresholds) <= 0):
        return -np.inf
    return float(np.sum(counts * np.log(_shares(thresholds))) - np.sum((thresholds - start) ** 2) / 2)


def _slope(thresholds: Vector, start: Vector, counts: Vector) -> tuple[Vector, NDArray[np.float64]]:
    """First derivative of the log posterior, and its expected (so always positive) negative second derivative."""
    share = _shares(thresholds)
    density = np.exp(-((thresholds[:, None] - MIDDLES) ** 2) / 2) / np.sqrt(2 * np.pi)
    slope = np.sum(density * (counts[:-1] / share[:-1] - counts[1:] / share[1:]), axis=1) - (thresholds - start)
    all_levels = counts.sum(axis=0)
    own = np.sum(all_levels * density**2 * (1 / share[:-1] + 1 / share[1:]), axis=1) + 1.0
    next_ = -np.sum(all_levels * density[:-1] * density[1:] / share[1:-1], axis=1)
    return slope, np.diag(own) + np.diag(next_, 1) + np.diag(next_, -1)


def _count_scores(score: Vector, level: NDArray[np.int8], counts: NDArray[np.float64]) -> None:
    """Add each rating to `counts` (n_levels, N_BINS); scores beyond the reach stand in the outermost bins."""
    for k in range(len(score)):
        place = int((score[k] + REACH) * (N_BINS / (2 * REACH)))
        counts[level[k], min(max(place, 0), N_BINS - 1)] += 1.0


count_scores = compiled(_count_scores)
