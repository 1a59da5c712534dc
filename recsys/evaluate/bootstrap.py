"""Percentile intervals by resampling users (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

How often a user is drawn is Poisson(1), independent of all others (Chamandy, Muralidharan, Najmi and Naidu, Estimating
Uncertainty for Massive Data Streams, 2012), so that the resampled sums of shards add up to those of all users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.compute import one_blas_thread

CHUNK = 1 << 20  # resamples x users drawn at once, 2 bytes each and 8 as weights: 10 MB


def _poisson_of_16_bits() -> NDArray[np.float64]:
    """(65536,) the number of times a user is drawn, by a uniform number of 16 bits; off by 1e-5 of probability."""
    cumulative = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)])
    return np.searchsorted(cumulative, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)


TIMES = _poisson_of_16_bits()


@dataclass(frozen=True)
class Interval:
    """A metric with its bounds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn: the same resamples for every metric, so that differences are paired."""

    samples: int
    confidence: float
    seed: int

    def sums(self, values: NDArray[np.float64], shard: int = 0) -> NDArray[np.float64]:
        """(samples, m) sums of `values` over users, each user as often as the resample draws it.

        Args:
            values: (n_users, m) of the users of one shard.
            shard: its number; every shard has draws of its own, whatever is measured on it.
        """
        rng = np.random.default_rng([self.seed, shard])
        drawn = np.empty((self.samples, values.shape[1]))
        step = max(1, CHUNK // max(len(values), 1))
        with one_blas_thread():
            for start in range(0, self.samples, step):
                rows = range(start, min(start + step, self.samples))
                uniform = np.stack([rng.integers(1 << 16, size=len(values), dtype=np.uint16) for _ in rows])
                drawn[start : rows.stop] = TIMES[uniform] @ values
        return drawn

    def interval(self, value: float, drawn: NDArray[np.float64]) -> Interval:
        """The percentile interval of one metric's resamples; a resample that drew nobody does not count."""
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.nanquantile(drawn, [tail, 1.0 - tail])
        return Interval(float(value), float(low), float(high))
