"""Percentile intervals by resampling users (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20  # resamples x users weighed at once, 8 bytes each and a copy: 16 MB


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

    def ratios(self, numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
        """(samples, n_metrics) of sum(numerator) / sum(denominator) over users drawn with replacement.

        Args:
            numerator, denominator: (n_users, n_metrics).
        """
        n_users = len(numerator)
        rng = np.random.default_rng(self.seed)
        drawn = np.empty((self.samples, numerator.shape[1]))
        step = max(1, CHUNK // n_users)
        for start in range(0, self.samples, step):
            rows = slice(start, min(start + step, self.samples))
            times = np.stack(
                [np.bincount(rng.integers(n_users, size=n_users), minlength=n_users) for _ in range(rows.stop - start)]
            )
            drawn[rows] = (times @ numerator) / np.maximum(times @ denominator, 1e-300)
        return drawn

    def interval(self, value: float, drawn: NDArray[np.float64]) -> Interval:
        """The percentile interval of one metric's resamples."""
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail])
        return Interval(float(value), float(low), float(high))
