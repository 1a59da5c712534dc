"""Compiled passes over candidates in order: what caps let through, and what maximal marginal relevance chooses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled
from recsys.score.selection import contains


class Values(NamedTuple):
    """The values of a column, or of several, that each item has.

    Attributes:
        indptr: (n_items + 1,) int64 where each item's begin.
        codes: int32, numbers of values, ascending within an item.
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.int32]


class Caps(NamedTuple):
    """At most `limit[code]` items with a value in a list. Without caps both are empty but for zeros in `indptr`."""

    indptr: NDArray[np.int64]
    codes: NDArray[np.int32]
    limit: NDArray[np.int32]


class Likeness(NamedTuple):
    """How alike two items are, from 0 to 1: by the share of values that they have in common, or by vectors.

    Attributes:
        indptr, codes: as `Values`.
        vectors: (n_items, size) float64 of length 1, or of zeros; (n_items, 0) where values decide.
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.int32]
    vectors: NDArray[np.float64]


@compiled
def fits(item, caps, count):  # type: ignore[no-untyped-def]
    """Whether none of an item's values is full."""
    for place in range(caps.indptr[item], caps.indptr[item + 1]):
        if count[caps.codes[place]] >= caps.limit[caps.codes[place]]:
            return False
    return True


@compiled
def tally(item, caps, count, by):  # type: ignore[no-untyped-def]
    """Count an item that is listed; by -1 it is forgotten."""
    for place in range(caps.indptr[item], caps.indptr[item + 1]):
        count[caps.codes[place]] += by


@compiled
def pick_rows(start, stop, items, certain, caps, picked):  # type: ignore[no-untyped-def]
    """The first n of each row's candidates that the caps let through.

    Args:
        items: (m, width) int32 item_index, best first.
        certain: (m,) how many of them may be looked at.
        picked: (m, n) int32, filled with places in `items`; -1 where there are too few.
    """
    count = np.zeros(len(caps.limit), np.int32)
    for row in range(start, stop):
        listed = 0
        for place in range(certain[row]):
            if listed == picked.shape[1]:
                break
            if fits(items[row, place], caps, count):
                tally(items[row, place], caps, count, 1)
                picked[row, listed] = place
                listed += 1
        for rank in range(listed):
            tally(items[row, picked[row, rank]], caps, count, -1)


@compiled
def diversify_rows(start, stop, items, scores, pool, cost, likeness, caps, picked, values):  # type: ignore[no-untyped-def]
    """Maximal marginal relevance: one after the other the best of score - cost x unit x likeness to those above.

    J. Carbonell and J. Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998, with scores brought to 0..1
    within the pool: lambda (s - low) / unit - (1 - lambda) likeness, written in units of the score. A value never rises
    with rank, since likeness to more items is never less, and caps only take candidates away. Ties go to the candidate
    that stands first.

    Args:
        items, scores: (m, width) int32 item_index and float32, best first, ties by item_index.
        pool: (m,) how many of them are candidates.
        cost: (1 - lambda) / lambda.
        picked, values: (m, n) int32 places in `items`, -1 where there are too few, and float32.
    """
    count = np.zeros(len(caps.limit), np.int32)
    alike, taken = np.empty(items.shape[1], np.float64), np.empty(items.shape[1], np.bool_)
    for row in range(start, stop):
        width = pool[row]
        if width == 0:
            continue
        unit = max(np.float64(scores[row, 0]) - np.float64(scores[row, width - 1]), 0.0) or 1.0
        alike[:width], taken[:width] = 0.0, False
        for rank in range(picked.shape[1]):
            worth = scores[row, :width] - (cost * unit) * alike[:width]
            best = _best(items[row], worth, taken, caps, count)
            if best < 0:
                break
            picked[row, rank], values[row, rank], taken[best] = best, worth[best], True
            tally(items[row, best], caps, count, 1)
            for place in range(width):
                alike[place] = max(alike[place], _likeness(items[row, place], items[row, best], likeness))
        for rank in range(picked.shape[1]):
            if picked[row, rank] >= 0:
                tally(items[row, picked[row, rank]], caps, count, -1)


@compiled
def _best(items, worth, taken, caps, count):  # type: ignore[no-untyped-def]
    """The place of the highest worth, as float32, that is free and fits; of equal ones that of the smallest item."""
    best, highest = -1, np.float32(-np.inf)
    for place in range(len(worth)):
        value = np.float32(worth[place])
        better = best < 0 or value > highest or (value == highest and items[place] < items[best])
        if better and not taken[place] and fits(items[place], caps, count):
            best, highest = place, value
    return best


@compiled
def _likeness(one, other, likeness):  # type: ignore[no-untyped-def]
    """Jaccard's share of common values, or the cosine where that is above 0."""
    if likeness.vectors.shape[1]:
        total = 0.0
        for factor in range(likeness.vectors.shape[1]):
            total += likeness.vectors[one, factor] * likeness.vectors[other, factor]
        return max(total, 0.0)
    left, left_end = likeness.indptr[one], likeness.indptr[one + 1]
    right, right_end = likeness.indptr[other], likeness.indptr[other + 1]
    union, common = (left_end - left) + (right_end - right), 0
    while left < left_end and right < right_end:
        difference = likeness.codes[left] - likeness.codes[right]
        common += difference == 0
        left += difference <= 0
        right += difference >= 0
    return common / (union - common) if union else 0.0


@compiled
def fill_rows(start, stop, order, seen_indptr, seen_indices, caps, lists):  # type: ignore[no-untyped-def]
    """Fill the free places (-1) at the end of each list from `order`, as `score.selection.fill_from_order`, by caps.

    Args:
        order: (n_candidates,) int32 item_index, best first.
        lists: (n_users, n) int32 item_index, filled in place.
    """
    count = np.zeros(len(caps.limit), np.int32)
    n = lists.shape[1]
    for row in range(start, stop):
        listed = 0
        while listed < n and lists[row, listed] >= 0:
            tally(lists[row, listed], caps, count, 1)
            listed += 1
        own = listed
        for item in order:
            if listed == n:
                break
            if contains(seen_indices, seen_indptr[row], seen_indptr[row + 1], item) or not fits(item, caps, count):
                continue
            if not _stands(item, lists, row, own):
                lists[row, listed] = item
                tally(item, caps, count, 1)
                listed += 1
        for rank in range(listed):
            tally(lists[row, rank], caps, count, -1)


@compiled
def _stands(item, lists, row, stop):  # type: ignore[no-untyped-def]
    found = False
    for rank in range(stop):
        found = found or lists[row, rank] == item
    return found


@compiled
def full_rows(start, stop, lists, items, caps, full):  # type: ignore[no-untyped-def]
    """Whether a value of each of the items is full in the list of the same row. Entries of -1 are none."""
    count = np.zeros(len(caps.limit), np.int32)
    for row in range(start, stop):
        for item in lists[row]:
            if item >= 0:
                tally(item, caps, count, 1)
        for place in range(items.shape[1]):
            full[row, place] = items[row, place] >= 0 and not fits(items[row, place], caps, count)
        for item in lists[row]:
            if item >= 0:
                tally(item, caps, count, -1)


@compiled
def ranks_in(start, stop, lists, others, ranks):  # type: ignore[no-untyped-def]
    """Where each entry of a list stands in another list of the same row; -1 where it does not, or is none."""
    for row in range(start, stop):
        for place in range(lists.shape[1]):
            ranks[row, place] = -1
            for rank in range(others.shape[1]):
                if lists[row, place] >= 0 and others[row, rank] == lists[row, place]:
                    ranks[row, place] = rank
                    break
