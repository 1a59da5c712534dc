"""What a published score is: a formula over pairs of users and items, in one arithmetic wherever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges

EXACT_ITEMS = 2_048  # float64 sums at once: 16 KB, half of a first-level cache
NO_UNITS = np.empty(0, np.float64)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Formula:
    """score(u, i) = output(inner(users[u], items[i]) + item_offset[i] + user_offset[u]), in float64, then float32.

    inner is the sum over the factors, in their order; or with `hidden` w the sum over the hidden units h of
    w[h] max(users[u, h] + items[i, h], 0), in their order. output is x, or with `span` a sigmoid of x scaled to it.

    Attributes:
        users: (n_users, size) float32 or float64.     items: (n_columns, size), of the same type.
        user_offset: (n_users,) float64.     item_offset: (n_columns,) float64; 0 with `hidden`.
        hidden: (size,) float64; of length 0 for an inner product.
        span: lowest and highest score.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    user_offset: Floats
    item_offset: Floats
    hidden: Floats
    span: tuple[float, float] | None = None

    def of(self, users: NDArray[Any] | slice) -> Self:
        """The formula of these rows of the users."""
        return replace(self, users=self.users[users], user_offset=self.user_offset[users])

    def over(self, columns: NDArray[Any]) -> Self:
        """The formula of these rows of the items."""
        return replace(self, items=self.items[columns], item_offset=self.item_offset[columns])

    @cached_property
    def exact(self) -> Exact:
        """What compiled functions take."""
        low, high = self.span or (0.0, 0.0)
        return Exact(
            np.ascontiguousarray(self.users), np.ascontiguousarray(self.items), self.user_offset, self.item_offset,
            self.hidden, self.span is not None, float(low), float(high),
        )  # fmt: skip


def product(users: NDArray[Any], items: NDArray[Any]) -> Formula:
    """The plain inner product."""
    return Formula(users, items, np.zeros(len(users)), np.zeros(len(items)), NO_UNITS)


class Exact(NamedTuple):
    """A formula for compiled functions."""

    users: NDArray[Any]
    items: NDArray[Any]
    user_offset: Floats
    item_offset: Floats
    hidden: Floats
    bounded: bool
    low: float
    high: float


def all_scores(formula: Formula, threads: int) -> NDArray[np.float32]:
    """(n_users, n_columns) the published scores of all pairs."""
    scores = np.empty((len(formula.users), len(formula.items)), np.float32)
    exact, turned = formula.exact, np.ascontiguousarray(formula.items.T)
    over_ranges(lambda start, stop: _score_rows(start, stop, exact, turned, scores), len(scores), threads)
    return scores


def pair_scores(formula: Formula, user: NDArray[Any], column: NDArray[Any]) -> NDArray[np.float32]:
    """(n,) the published scores of pairs."""
    scores = np.empty(len(user), np.float32)
    _score_pairs(formula.exact, user, column, scores)
    return scores


@compiled
def _inner(user, item, hidden):  # type: ignore[no-untyped-def]
    total = 0.0
    if len(hidden) == 0:
        for factor in range(len(user)):
            total += np.float64(user[factor]) * np.float64(item[factor])
    else:
        for unit in range(len(user)):
            total += hidden[unit] * max(np.float64(user[unit]) + np.float64(item[unit]), 0.0)
    return total


@compiled
def output(x, bounded, low, high):  # type: ignore[no-untyped-def]
    """The published score of what the sums make."""
    return np.float32(low + (high - low) / (1.0 + np.exp(-x))) if bounded else np.float32(x)


@compiled
def published(user, column, exact):  # type: ignore[no-untyped-def]
    """The published score of a pair."""
    x = _inner(exact.users[user], exact.items[column], exact.hidden) + exact.item_offset[column]
    return output(x + exact.user_offset[user], exact.bounded, exact.low, exact.high)


@compiled
def _score_pairs(exact, user, column, scores):  # type: ignore[no-untyped-def]
    for pair in range(len(user)):
        scores[pair] = published(user[pair], column[pair], exact)


@compiled
def score_row(user, exact, turned, sums, row):  # type: ignore[no-untyped-def]
    """`_published` of all columns: the same sums in the same order, side by side. `turned` is items.T."""
    for first in range(0, len(row), len(sums)):
        width = min(len(sums), len(row) - first)
        sums[:width] = 0.0
        for factor in range(len(turned)):
            own, values = np.float64(exact.users[user, factor]), turned[factor, first : first + width]
            if len(exact.hidden) == 0:
                for column in range(width):
                    sums[column] += own * np.float64(values[column])
            else:
                weight = exact.hidden[factor]
                for column in range(width):
                    sums[column] += weight * max(own + np.float64(values[column]), 0.0)
        for column in range(width):
            x = sums[column] + exact.item_offset[first + column] + exact.user_offset[user]
            row[first + column] = output(x, exact.bounded, exact.low, exact.high)


@compiled
def _score_rows(start, stop, exact, turned, scores):  # type: ignore[no-untyped-def]
    sums = np.empty(min(EXACT_ITEMS, max(1, turned.shape[1])), np.float64)
    for user in range(start, stop):
        score_row(user, exact, turned, sums, scores[user])
