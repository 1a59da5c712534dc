"""Compiled passes that select the best candidates of a user; each releases the GIL and writes its own rows only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled

NOTHING = np.int32(-1)  # the column of a place in a list that no candidate fills


def empty_lists(n_users: int, n: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(n_users, n) columns filled with -1 and scores filled with -inf."""
    return np.full((n_users, n), NOTHING, np.int32), np.full((n_users, n), -np.inf, np.float32)


@compiled
def select(scores, columns_out, scores_out):  # type: ignore[no-untyped-def]
    """Put the best of one row of float64 scores into a list, by (float32 score descending, column ascending).

    Scores are compared as the float32 that is published, so that an equal published score is a tie by column.
    -inf marks columns left out. A running threshold (the list's last score) drops most columns at one comparison.
    """
    n = len(columns_out)
    found = 0
    threshold = -np.inf
    for column in range(len(scores)):
        if scores[column] <= threshold:  # rounding keeps order, so the rounded score cannot be above it either
            continue
        score = np.float32(scores[column])
        if score == -np.inf or (found == n and score <= scores_out[n - 1]):
            continue
        place = found if found < n else n - 1
        while place > 0 and scores_out[place - 1] < score:
            scores_out[place] = scores_out[place - 1]
            columns_out[place] = columns_out[place - 1]
            place -= 1
        scores_out[place] = score
        columns_out[place] = column
        if found < n:
            found += 1
        if found == n:
            threshold = scores_out[n - 1]


@compiled
def contains(sorted_values, start, stop, wanted):  # type: ignore[no-untyped-def]
    """Whether sorted_values[start:stop], ascending, holds `wanted`."""
    end = stop
    while start < stop:
        middle = (start + stop) // 2
        if sorted_values[middle] < wanted:
            start = middle + 1
        else:
            stop = middle
    return start < end and sorted_values[start] == wanted


@compiled
def fill_from_order(start, stop, order, seen_indptr, seen_indices, lists):  # type: ignore[no-untyped-def]
    """Fill the free places (-1) at the end of each list from `order`, leaving out seen and already listed entries.

    Args:
        start, stop: the users to fill.
        order: (n_candidates,) int32, best first.
        seen_indptr, seen_indices: CSR of what each user has seen, ascending within a user.
        lists: (n_users, n) int32, filled in place.
    """
    n = lists.shape[1]
    for user in range(start, stop):
        listed = 0
        while listed < n and lists[user, listed] >= 0:
            listed += 1
        place = listed
        for candidate in order:
            if place == n:
                break
            if contains(seen_indices, seen_indptr[user], seen_indptr[user + 1], candidate):
                continue
            repeated = False
            for other in range(listed):
                repeated = repeated or lists[user, other] == candidate
            if not repeated:
                lists[user, place] = candidate
                place += 1
