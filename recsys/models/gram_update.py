"""Last night's Gram matrix brought up to date: the work follows the rows that have changed, the result is the same.

The sums are whole numbers, so what is added and taken away leaves no trace. Whatever was wrong with the old matrix or
the old rows shows in the end: for a fixed h of random 64-bit numbers, h^T (X^T W X) h must be the sum over users of
w (h^T x)^2, modulo 2^64 (R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977). One look at each
rating and each sum then stands for the whole computation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges
from recsys.identifiers import UNKNOWN
from recsys.models.cooccurrence import (
    Ranges,
    RangesByRow,
    WeightedRows,
    Whole,
    add_to_rows,
    add_to_sums,
    by_row,
)
from recsys.models.triangle import PIECES_A_THREAD, Sums, Triangle, entries, row_start

AT_ONCE = 192 << 20  # bytes of changed users' ranges at once: each time takes two passes over the matrix
MOST_WORK = 0.5  # of the full computation's additions; more is sooner done anew
BLOCK = 64  # columns added to at once: four lines of the cache of each row, while one column's sums stay in a near one
ROWS = 16  # of a tile of them: a line of the cache of each column


class Unusable(Exception):
    """An old matrix that is of no use; says why."""


@dataclass(frozen=True, eq=False)
class OldGram:
    """A Gram matrix as it was, the rows it was made of, and where those stand now.

    Attributes:
        sums: its upper triangle, as `Triangle` has it.
        largest: its largest sum.
        rows: its rows.
        user_of: (n_users now,) int32, the old row of each user, `UNKNOWN` for a new one.
        column_of: (n_columns then,) int32, the column of each old one now, ascending; `UNKNOWN` for one that is gone.
    """

    sums: Sums
    largest: int
    rows: WeightedRows
    user_of: NDArray[np.int32]
    column_of: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Updated:
    """A matrix brought up to date.

    Attributes:
        changed: users whose row or weight had changed.
        work: additions made, as a share of those of the full computation.
    """

    gram: Triangle
    changed: int
    work: float


def updated_gram(old: OldGram, rows: WeightedRows, threads: int) -> Updated:
    """X^T W X, as `upper_gram` would give it, to the bit.

    Cost: a look at each rating and some at each sum, and for a changed user as many additions as there are pairs with a
    column that came or went, and, if the user's weight is another, pairs at all.

    Raises:
        Unusable: the old matrix or its rows are damaged, or so much has changed that it would not pay.
    """
    _check_shape(old)
    keys = 2 * np.random.default_rng(0).integers(0, 1 << 63, rows.n_columns, np.uint64) + np.uint64(1)
    changed, signature = _compare(old, rows, keys, threads)
    parts = _parts(changed, old, rows, threads)
    work = _work(parts, rows)
    if work > MOST_WORK:
        raise Unusable(f"too much has changed: {len(changed.weight):,} users' ratings")
    gram = _moved(old, rows, threads)
    for start, stop in _cuts(changed, parts):
        by_rows, by_columns = _ranges(changed.cut(start, stop), parts[start:stop], old, rows)
        add_to_rows(gram, by_row(by_rows, rows.n_columns, gram.kind), threads)
        _add_to_columns(gram, by_row(by_columns, rows.n_columns, gram.kind), threads)
    if _signature(gram, keys, threads) != signature:
        raise Unusable("it does not fit the ratings; it is damaged, or those that it was made of are")
    return Updated(gram, len(changed.weight), work)


class _Changed(NamedTuple):
    """Users whose row or weight has changed; a user that was not there, or is not, has an empty row and no weight.

    begin, end, weight: (n,) int64, of the row now.      old_begin, old_end, old_weight: (n,) int64, of the row then.
    """

    begin: Whole
    end: Whole
    weight: Whole
    old_begin: Whole
    old_end: Whole
    old_weight: Whole

    def cut(self, start: int, stop: int) -> _Changed:
        """Some of them."""
        return _Changed(*(array[start:stop] for array in self))


class _Parts(NamedTuple):
    """How many ratings of each changed user stand in each part of the list that is added from.

    all: (n,) int64, of the new row, if the weight is another.
    kept, added, removed: (n,) int64, of columns that are in both rows, in the new, in the old one, if they differ.
    """

    all: Whole
    kept: Whole
    added: Whole
    removed: Whole


class _Runs(NamedTuple):
    """Where the old matrix' columns are now: runs of columns that stand side by side as they did.

    old_row: (n_columns now,) int64, the old column of each; `UNKNOWN` for a new one.
    run_of: (n_columns then,) int64, the run that each old column is in, or the next one.
    then, now, length: (n_runs,) int64, each run's first column, old and new, and its columns.
    """

    old_row: Whole
    run_of: Whole
    then: Whole
    now: Whole
    length: Whole


def _check_shape(old: OldGram) -> None:
    """What compiled loops rely on."""
    indptr, columns = old.rows.indptr, old.rows.columns
    whole = indptr[0] == 0 and indptr[-1] == len(columns) and (np.diff(indptr) >= 0).all()
    known = len(old.rows.weight) == len(indptr) - 1 and int(np.max(old.user_of, initial=0)) < len(indptr) - 1
    if not whole or not known or len(old.sums) != entries(old.rows.n_columns):
        raise Unusable("it or the ratings that it was made of are damaged")


def _compare(old: OldGram, rows: WeightedRows, keys: NDArray[np.uint64], threads: int) -> tuple[_Changed, np.uint64]:
    """The users whose row or weight has changed, and the signature of all rows as they are now."""
    differs, parts = np.zeros(len(rows.weight), np.bool_), []

    def work(start: int, stop: int) -> None:
        then = (old.rows.indptr, old.rows.columns, old.rows.weight, old.user_of, old.column_of)
        parts.append(_compare_rows(start, stop, rows.indptr, rows.columns, rows.weight, *then, keys, differs))

    over_ranges(work, len(differs), threads)
    known = np.zeros(len(old.rows.weight), np.bool_)
    known[old.user_of[old.user_of != UNKNOWN]] = True
    gone = np.flatnonzero(~known & (old.rows.weight > 0))
    now = np.concatenate([np.flatnonzero(differs), np.full(len(gone), UNKNOWN)])
    then = np.concatenate([old.user_of[differs], gone])
    return _Changed(*_bounds(rows, now), *_bounds(old.rows, then)), np.uint64(np.sum(np.array(parts, np.uint64)))


def _bounds(rows: WeightedRows, users: NDArray[np.integer]) -> tuple[Whole, Whole, Whole]:
    """begin, end and weight of users' rows; nothing for `UNKNOWN` and for who is not learned from."""
    weight = np.where(users == UNKNOWN, 0, rows.weight[users])
    begin, end = (np.where(weight > 0, edges[users], 0) for edges in (rows.indptr[:-1], rows.indptr[1:]))
    return begin, end, weight


def _parts(changed: _Changed, old: OldGram, rows: WeightedRows, threads: int) -> NDArray[np.int64]:
    """(n, 4) ratings in each part of each changed user's list: all, kept, added, removed.

    With v and w the weights then and now, a pair of columns gains w - v if both are in the new row (all), and besides v
    for each that was added and -v for each that was removed together with one that was kept, or of its own kind. Who
    is new weighed nothing, and has the first part only; whose weight is the same has the others only.
    """
    parts = np.zeros((len(changed.weight), 4), np.int64)

    def work(start: int, stop: int) -> None:
        _count_parts(changed.cut(start, stop), rows.columns, old.rows.columns, old.column_of, parts[start:stop])

    over_ranges(work, len(parts), threads)
    return parts


def _work(parts: Whole, rows: WeightedRows) -> float:
    """Additions to be made, as a share of those of the full computation."""
    everything, kept, added, removed = parts.astype(np.float64).T
    pairs = everything**2 / 2 + (added + removed) * kept + (added**2 + removed**2) / 2
    full = ((np.diff(rows.indptr) * (rows.weight > 0)).astype(np.float64) ** 2 / 2).sum()
    return float(pairs.sum() / max(full, 1.0))


def _cuts(changed: _Changed, parts: Whole) -> Iterator[tuple[int, int]]:
    """Ranges of changed users of about `AT_ONCE` bytes: 4 a rating, 28 a range, unsorted and sorted."""
    everything, _, added, removed = parts.T
    ends = np.cumsum(4 * parts.sum(axis=1) + 28 * (everything + 3 * (added + removed)))
    edges = np.searchsorted(ends, np.arange(0, ends[-1] if len(ends) else 0, AT_ONCE))
    yield from pairwise(np.unique(np.append(edges, len(ends))).tolist())


def _ranges(changed: _Changed, parts: Whole, old: OldGram, rows: WeightedRows) -> tuple[Ranges, Ranges]:
    """What some changed users add to rows of the upper triangle from the diagonal on, and to columns of it above."""
    everything, _, added, removed = parts.sum(axis=0)
    columns = np.empty(parts.sum(), np.uint32)
    to_rows, to_columns = _room(everything + 2 * (added + removed), columns), _room(added + removed, columns)
    _fill_parts(changed, parts, rows.columns, old.rows.columns, old.column_of, to_rows, to_columns)
    return to_rows, to_columns


def _room(n: int, columns: NDArray[np.uint32]) -> Ranges:
    row, begin, end = np.empty((3, n), np.uint32)
    return Ranges(row, begin, end, np.empty(n, np.int64), columns)


def _moved(old: OldGram, rows: WeightedRows, threads: int) -> Triangle:
    """The old sums where their columns are now, and 0 elsewhere."""
    # On the way some users' rows are new and some old: no sum is larger than both nights' largest together.
    gram = Triangle.zeros(rows.n_columns, old.largest + rows.largest)
    work = partial(_move, old.sums, _runs(old.column_of, len(gram)), gram.sums)
    over_ranges(work, len(gram), threads, pieces_a_thread=PIECES_A_THREAD)
    return gram


def _runs(column_of: NDArray[np.int32], n_columns: int) -> _Runs:
    then = np.flatnonzero(column_of != UNKNOWN)
    now = column_of[then].astype(np.int64)
    old_row = np.full(n_columns, UNKNOWN, np.int64)
    old_row[now] = then
    first = np.flatnonzero((np.diff(then, prepend=-2) != 1) | (np.diff(now, prepend=-2) != 1))
    length = np.diff(np.append(first, len(then)))
    run_of = np.searchsorted(then[first] + length, np.arange(len(column_of)), side="right")
    return _Runs(old_row, run_of, then[first], now[first], length)


def _add_to_columns(gram: Triangle, ranges: RangesByRow, threads: int) -> None:
    """Add ranges, which say `row` of columns, to the columns of the triangle above the diagonal."""
    work = partial(_add_blocks, ranges, gram.sums, len(gram))
    over_ranges(work, -(-len(gram) // BLOCK), threads, pieces_a_thread=PIECES_A_THREAD)


def _signature(gram: Triangle, keys: NDArray[np.uint64], threads: int) -> np.uint64:
    """h^T G h of the whole symmetric matrix, modulo 2^64."""
    of_rows = np.zeros(len(gram), np.uint64)
    over_ranges(partial(_sign, gram.sums, keys, of_rows), len(gram), threads, pieces_a_thread=PIECES_A_THREAD)
    return np.uint64(np.sum(of_rows))


@compiled
def _compare_rows(  # type: ignore[no-untyped-def]
    start, stop, indptr, columns, weight, old_indptr, old_columns, old_weight, user_of, column_of, keys, differs
):
    signature, n_old = np.uint64(0), np.uint32(len(column_of))
    for user in range(start, stop):
        begin, end, before = indptr[user], indptr[user + 1], user_of[user]
        same = weight[user] == (old_weight[before] if before >= 0 else 0)
        if weight[user]:
            key = np.uint64(0)
            for place in range(begin, end):
                key += keys[columns[place]]
            signature += np.uint64(weight[user]) * key * key
        if same and weight[user]:
            old_begin = old_indptr[before]
            same = end - begin == old_indptr[before + 1] - old_begin
            for place in range(end - begin if same else 0):
                column = old_columns[old_begin + place]  # not below n_old only if the old rows are damaged
                same &= column < n_old and column_of[column] == columns[begin + place]
        differs[user] = not same
    return signature


@compiled
def _count_parts(changed, new, old, column_of, parts):  # type: ignore[no-untyped-def]
    for one in range(len(parts)):
        at, end = changed.begin[one], changed.end[one]
        kept, added, removed = 0, 0, 0
        for before in range(changed.old_begin[one], changed.old_end[one]):
            column = _column_now(old[before], column_of)
            while at < end and new[at] < column:
                added += 1
                at += 1
            if at < end and new[at] == column:
                kept += 1
                at += 1
            elif column >= 0:
                removed += 1
        if changed.old_weight[one]:
            added += end - at
        if changed.weight[one] != changed.old_weight[one]:
            parts[one, 0] = changed.end[one] - changed.begin[one]
        if added or removed:
            parts[one, 1], parts[one, 2], parts[one, 3] = kept, added, removed


@compiled
def _column_now(column, column_of):  # type: ignore[no-untyped-def]
    """-1 for one that is gone from the matrix; not below the length only if the old rows are damaged."""
    return np.int64(column_of[column]) if column < np.uint32(len(column_of)) else np.int64(-1)


@compiled
def _fill_parts(changed, parts, new, old, column_of, to_rows, to_columns):  # type: ignore[no-untyped-def]
    """Lay out each user's parts one after the other, each ascending, and say which ranges of them go where."""
    columns, begin, n_rows, n_columns = to_rows.columns, 0, 0, 0
    for one in range(len(parts)):
        weight, gain = changed.old_weight[one], changed.weight[one] - changed.old_weight[one]
        kept = begin + parts[one, 0]
        added = kept + parts[one, 1]
        removed = added + parts[one, 2]
        kept_end, added_end, stop = added, removed, removed + parts[one, 3]
        for place in range(parts[one, 0]):
            columns[begin + place] = new[changed.begin[one] + place]
            _put(to_rows, n_rows, columns[begin + place], begin + place, kept, gain)
            n_rows += 1
        first_kept, at, end = kept, changed.begin[one], changed.end[one]
        before, old_end = changed.old_begin[one], changed.old_end[one]
        while kept < kept_end or added < added_end or removed < stop:
            column = _column_now(old[before], column_of) if before < old_end else np.int64(1 << 32)
            if at < end and new[at] < column:
                columns[added] = new[at]
                _put(to_rows, n_rows, new[at], added, added_end, weight)
                _put(to_rows, n_rows + 1, new[at], kept, kept_end, weight)
                _put(to_columns, n_columns, new[at], first_kept, kept, weight)
                added, n_rows, n_columns, at = added + 1, n_rows + 2, n_columns + 1, at + 1
            elif at < end and new[at] == column:
                columns[kept] = new[at]
                kept, at, before = kept + 1, at + 1, before + 1
            else:
                if column >= 0:
                    columns[removed] = column
                    _put(to_rows, n_rows, column, removed, stop, -weight)
                    _put(to_rows, n_rows + 1, column, kept, kept_end, -weight)
                    _put(to_columns, n_columns, column, first_kept, kept, -weight)
                    removed, n_rows, n_columns = removed + 1, n_rows + 2, n_columns + 1
                before += 1
        begin = stop


@compiled
def _put(ranges, place, row, begin, end, factor):  # type: ignore[no-untyped-def]
    ranges.row[place], ranges.begin[place], ranges.end[place], ranges.factor[place] = row, begin, end, factor


@compiled
def _move(old, runs, sums, start, stop):  # type: ignore[no-untyped-def]
    n, n_old = len(runs.old_row), len(runs.run_of)
    for row in range(start, stop):
        old_row = runs.old_row[row]
        if old_row < 0:
            continue
        base, old_base = row_start(row, n), row_start(old_row, n_old)
        for run in range(runs.run_of[old_row], len(runs.then)):
            then = max(runs.then[run], old_row)
            length = runs.then[run] + runs.length[run] - then
            now = base + runs.now[run] + then - runs.then[run]
            source, target = old[old_base + then : old_base + then + length], sums[now : now + length]
            for place in range(length):
                target[place] = source[place]


@compiled
def _add_blocks(ranges, sums, n, start, stop):  # type: ignore[no-untyped-def]
    """Sum the columns of a block one after the other, then add them to the triangle, a tile of rows at a time."""
    gains = np.zeros((BLOCK, -(-n // ROWS) * ROWS), ranges.factor.dtype)
    turned = np.empty((ROWS, BLOCK), ranges.factor.dtype)
    for block in range(start, stop):
        first, last = block * BLOCK, min((block + 1) * BLOCK, n)
        if ranges.first[first] == ranges.first[last]:
            continue
        for column in range(first, last):
            add_to_sums(column, ranges, gains[column - first])
        for row in range(0, last, ROWS):
            if _turn(gains[:, row : row + ROWS], turned):
                _add_turned(turned, sums, n, row, first, last)


@compiled
def _turn(gains, turned):  # type: ignore[no-untyped-def]
    """Take a tile of the gains, of which zeros are left, row by row; whether any of them was another number."""
    gained = gains[0, 0]
    for place in range(BLOCK):
        for row in range(ROWS):
            gained |= gains[place, row]
    if gained == 0:
        return False
    for place in range(BLOCK):
        for row in range(ROWS):
            turned[row, place] = gains[place, row]
            gains[place, row] = 0
    return True


@compiled
def _add_turned(turned, sums, n, top, first, last):  # type: ignore[no-untyped-def]
    for row in range(top, min(top + ROWS, last)):
        begin = max(first, row)  # there is nothing below the diagonal, nor is anything gained there
        base = row_start(row, n)
        values, its_gains = sums[base + begin : base + last], turned[row - top, begin - first :]
        for place in range(len(values)):
            values[place] += its_gains[place]


@compiled
def _sign(sums, keys, of_rows, start, stop):  # type: ignore[no-untyped-def]
    n = len(keys)
    for row in range(start, stop):
        begin = row_start(row, n)
        values, its_keys, key = sums[begin + row : begin + n], keys[row:], np.uint64(0)
        for place in range(len(values)):
            key += np.uint64(values[place]) * its_keys[place]
        diagonal = np.uint64(values[0]) * keys[row]
        of_rows[row] = (np.uint64(2) * key - diagonal) * keys[row]
