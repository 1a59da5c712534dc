"""Compiled passes over rows of (user, item): their order by pair, and which of several rows of a pair stands."""

from __future__ import annotations

import numpy as np

from recsys.compute import compiled


@compiled
def _stable(order, index, first, size):  # type: ignore[no-untyped-def]
    """`order` sorted by index[order], which lies in first ... first + size - 1; equal ones stay in order."""
    place = np.zeros(size + 1, np.int64)
    for row in order:
        place[index[row] - first + 1] += 1
    for at in range(size):
        place[at + 1] += place[at]
    out = np.empty(len(order), np.int64)
    for row in order:
        at = index[row] - first
        out[place[at]] = row
        place[at] += 1
    return out


@compiled
def by_pair(user, item, first_user, n_users, n_items):  # type: ignore[no-untyped-def]
    """(n,) int64, the rows by (user, item, row): two passes of counting, linear in rows, users and items.

    Args:
        user, item: (n,) int32 user_index, from `first_user` on and `n_users` of them, and item_index.
    """
    return _stable(_stable(np.arange(len(user)), item, 0, n_items), user, first_user, n_users)


@compiled
def latest(order, user, item, timestamp, own):  # type: ignore[no-untyped-def]
    """The one row of each pair that stands, in the order of pairs, and how many own rows a later own row replaces.

    Later is a greater timestamp, and among equal ones a greater row. Rows from `own` on are a given hold-out's: they
    stand before all own rows.

    Args:
        order: (n,) the rows by (user, item, row).
        timestamp: (n,) int64; (0,) where there are none.
        own: the first row that is a given hold-out's.
    """
    kept = np.empty(len(order), np.int64)
    n_kept = repeated = 0
    timed = len(timestamp) > 0
    for row in order:
        if n_kept:
            last = kept[n_kept - 1]
            if user[row] == user[last] and item[row] == item[last]:
                repeated += row < own
                if (row >= own and last < own) or not timed or timestamp[row] >= timestamp[last]:
                    kept[n_kept - 1] = row
                continue
        kept[n_kept] = row
        n_kept += 1
    return kept[:n_kept].copy(), repeated
