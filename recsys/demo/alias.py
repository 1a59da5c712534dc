"""Constant-time draws from fixed discrete distributions, many distributions side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEEP_BITS = 28  # of a raw draw: 32 bits choose a column, 28 whether to keep it, 4 the distribution


@dataclass(frozen=True)
class AliasTables:
    """Walker's alias tables (A. J. Walker, ACM TOMS 3(3), 1977), one row a distribution.

    Attributes:
        keep: (n_tables, n_outcomes) uint32: a column is its own outcome where 28 random bits are at most this.
        other: (n_tables, n_outcomes) int32: the outcome otherwise.
    """

    keep: NDArray[np.uint32]
    other: NDArray[np.int32]

    def draw(self, table: NDArray[np.intp], raw: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Outcomes, (n,) int64, of the distributions `table`, (n,), by the upper 60 bits of `raw`, (n,)."""
        outcomes = self.keep.shape[1]
        column = ((raw >> np.uint64(32)) * np.uint64(outcomes) >> np.uint64(32)).astype(np.int64)
        cell = table * outcomes + column
        luck = (raw >> np.uint64(4)).astype(np.uint32) & np.uint32((1 << KEEP_BITS) - 1)
        return np.where(luck <= self.keep.ravel().take(cell), column, self.other.ravel().take(cell))


def alias_tables(weights: NDArray[np.int64]) -> AliasTables:
    """Tables for the distributions proportional to the rows of `weights`.

    Args:
        weights: (n_tables, n_outcomes), all positive; a row's sum times n_outcomes is below 2^63.
    """
    keep = np.empty(weights.shape, np.uint32)
    other = np.empty(weights.shape, np.int32)
    for row, of_row in enumerate(weights):
        keep[row], other[row] = _alias_row(of_row)
    return AliasTables(keep, other)


def _alias_row(weights: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """One table, by two running sums instead of Walker's loop.

    In units where a column holds `full`, light outcomes lack something and heavy ones have too much. Each light column
    is topped up by the heavy outcome whose turn it is; a heavy one whose surplus is overdrawn by the last column it
    topped up lacks that much itself, and the next heavy outcome tops it up. Integers, so that sums are exact.
    """
    full = int(weights.sum())
    surplus = weights * len(weights) - full
    light, heavy = np.flatnonzero(surplus < 0), np.flatnonzero(surplus >= 0)
    lacking, given = np.append(0, np.cumsum(-surplus[light])), np.cumsum(surplus[heavy])
    held = np.full(len(weights), full)
    other = np.arange(len(weights))
    held[light] += surplus[light]
    other[light] = heavy[np.searchsorted(given, lacking[:-1], side="right")]
    overdrawn = lacking[np.searchsorted(lacking, given[:-1], side="left")] - given[:-1]
    held[heavy[:-1]] -= overdrawn
    other[heavy[:-1]] = heavy[1:]
    keep = np.floor(held / full * 2.0**KEEP_BITS) - 1
    return keep.clip(min=0).astype(np.uint32), other.astype(np.int32)
