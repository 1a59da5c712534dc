"""The compiled part of the Gibbs sampler: rows of one side given the other side's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@compiled
def below(x: float) -> float:
    """The normal distribution function."""
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@compiled
def quantile(p: float) -> float:
    """Its inverse up to p = 1/2, to 5e-4: a rational function, then a Newton step, to 1e-7.

    Source: M. Abramowitz and I. Stegun, "Handbook of mathematical functions", 26.2.23.
    """
    p = max(p, 1e-300)
    t = math.sqrt(-2.0 * math.log(p))
    x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t
    return x - (below(x) - p) * math.sqrt(2.0 * math.pi) * math.exp(min(x * x / 2.0, 700.0))


@compiled
def between(score: float, low: float, high: float, chance: float) -> float:
    """The `chance` quantile of Normal(score, 1) cut off outside low..high; in the lower half, where it is exact."""
    low, high, sign = low - score, high - score, 1.0
    if low + high > 0.0:
        low, high, sign = -high, -low, -1.0
    first = below(low)
    p = first + chance * (below(high) - first)
    drawn = quantile(p) if p <= 0.5 else -quantile(1.0 - p)
    return score + sign * min(max(drawn, low), high)


@compiled
def draw_rows(  # noqa: PLR0912, C901  (one pass over a row's ratings, then a small Cholesky)
    start: int,
    stop: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    given: Vector,
    rows: Matrix,
    others: Matrix,
    centres: Matrix,
    precision: Matrix,
    noise_precision: float,
    cuts: Vector,
    chance: Vector,
    noise: Matrix,
) -> None:
    """Draw rows[start:stop] from Normal(A^-1 b, A^-1) with X the others' rows, their bias replaced by 1:

    A = L + t X^T X,   b = L centre + t X^T (rating - bias),   t the precision of the noise

    Where there are cuts, the rating is first drawn: a score between its level's cuts, around the present score.
    """
    size = rows.shape[1]
    a, b = np.empty((size, size)), np.empty(size)
    for row in range(start, stop):
        first, n = indptr[row], indptr[row + 1] - indptr[row]
        x, y = np.empty((n, size)), np.empty(n)
        for k in range(n):
            other = others[indices[first + k]]
            x[k, : size - 1] = other[: size - 1]
            x[k, size - 1] = 1.0
            value = given[first + k]
            if len(cuts):
                score = other[size - 1]
                for d in range(size):
                    score += x[k, d] * rows[row, d]
                level = int(value)
                value = between(score, cuts[level], cuts[level + 1], chance[first + k])
            y[k] = value - other[size - 1]
        gram, right = np.dot(x.T, x), np.dot(x.T, y)
        for i in range(size):
            b[i] = noise_precision * right[i]
            for j in range(size):
                b[i] += precision[i, j] * centres[row, j]
        # The lower triangle of A, and in its place its Cholesky factor.
        for i in range(size):
            for j in range(i + 1):
                rest = precision[i, j] + noise_precision * gram[i, j]
                for k in range(j):
                    rest -= a[i, k] * a[j, k]
                a[i, j] = math.sqrt(rest) if i == j else rest / a[j, j]
        for i in range(size):
            for k in range(i):
                b[i] -= a[i, k] * b[k]
            b[i] /= a[i, i]
        # b + noise: the draw is A^-1 b + root^-T noise = root^-T (root^-1 b + noise)
        for i in range(size):
            b[i] += noise[row, i]
        for i in range(size - 1, -1, -1):
            for k in range(i + 1, size):
                b[i] -= a[k, i] * b[k]
            b[i] /= a[i, i]
        rows[row] = b


@compiled
def score_rows(
    start: int,
    stop: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    users: Matrix,
    items: Matrix,
    scores: Vector,
) -> None:
    """The scores of the given ratings of users start..stop."""
    size = users.shape[1] - 1
    for user in range(start, stop):
        for k in range(indptr[user], indptr[user + 1]):
            score = users[user, size] + items[indices[k], size]
            for d in range(size):
                score += users[user, d] * items[indices[k], d]
            scores[k] = score
