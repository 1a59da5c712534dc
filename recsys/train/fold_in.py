"""A person the Bayesian factorisation was not fitted on, from that person's own ratings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import ndtr

from recsys.train.posterior import Posterior, Scale
from recsys.train.thresholds import closed

Vector = NDArray[np.float64]

ROUNDS = 20  # each takes in the ratings at the scores of the one before; the change falls by half or more a round


def fold_in(
    posterior: Posterior,
    known_user: NDArray[np.bool_],
    known_item: NDArray[np.bool_],
    ratings: csr_matrix,
    columns: NDArray[np.int32],
) -> NDArray[np.float32]:
    """(n, k) predicted ratings; NaN for a column that is -1 or not known, and for a person without a known item.

    A new row is Normal(mean, covariance), those of the learned users' rows, before the person's ratings are seen.

    Args:
        ratings: (n, n_columns) CSR, in the input's units.
        columns: (n, k) int32, the columns asked for.
    """
    items = np.column_stack((posterior.item_factors, np.ones(len(known_item)))).astype(np.float64)
    users = np.column_stack((posterior.user_factors, posterior.user_bias)).astype(np.float64)[known_user]
    mean, covariance = users.mean(axis=0), np.atleast_2d(np.cov(users, rowvar=False, bias=True))
    predicted = np.full(columns.shape, np.nan, dtype=np.float32)
    for person in range(len(columns)):
        own = slice(ratings.indptr[person], ratings.indptr[person + 1])
        rated = ratings.indices[own]
        known = known_item[rated]
        wanted = columns[person] >= 0
        wanted &= known_item[columns[person]]
        if known.any() and wanted.any():
            rated, given = rated[known], ratings.data[own][known]
            row = new_row(items[rated], posterior.item_bias[rated], given, posterior.scale, mean, covariance)
            column = columns[person][wanted]
            predicted[person, wanted] = posterior.scale.rating(items[column] @ row + posterior.item_bias[column])
    return predicted


def new_row(
    items: NDArray[np.float64],
    item_bias: NDArray[np.float32],
    given: NDArray[np.float32],
    scale: Scale,
    mean: Vector,
    covariance: NDArray[np.float64],
) -> Vector:
    """(size,) the most probable row: for numbers by one ridge solve, for levels by expectation and solve in turn.

        row = mean + C X^T (X C X^T + noise I)^-1 (score - bias - X mean)
            = mean + (I + C X^T X / noise)^-1 C X^T / noise (score - bias - X mean)

    Args:
        items: (n, size), X, the rated items' factors and a 1.
        given: (n,) the ratings.
    """
    pull = covariance @ items.T / scale.noise
    gain = np.linalg.solve(np.eye(len(mean)) + pull @ items, pull)
    rest = items @ mean + item_bias
    if not len(scale.values):
        return mean + gain @ ((given - scale.centre) / scale.unit - rest)
    if len(scale.values) == 1:
        return mean
    cuts, level, row = closed(scale.thresholds), scale.level(given), mean
    for _ in range(ROUNDS):
        score = items @ row + item_bias
        row = mean + gain @ (expected_score(score, cuts[level], cuts[level + 1]) - rest)
    return row


def expected_score(score: Vector, low: Vector, high: Vector) -> Vector:
    """(n,) mean of Normal(score, 1) cut off outside low..high, which are not both infinite."""
    low, high = low - score, high - score
    sign = np.where(low + high > 0, -1.0, 1.0)  # in the lower half the tails are exact
    first, last = np.where(sign > 0, low, -high), np.where(sign > 0, high, -low)
    density = np.exp(-(first**2) / 2) - np.exp(-(last**2) / 2)
    mean = density / (np.sqrt(2 * np.pi) * np.maximum(ndtr(last) - ndtr(first), 1e-300))
    return score + sign * np.clip(mean, first, last)
