"""Last night's Gram matrix brought up to date: the work follows the rows that have changed, the result is the same.

The sums are whole numbers, so what is added and taken away leaves no trace. Whatever was wrong with the old matrix or
the old rows shows in the end: for a fixed h of random 64-bit numbers, h^T (X^T W X) h must be the sum over users of
w (h^T x)^2, modulo 2^64 (R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977). One look at each
rating and each sum then stands for the whole computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges
from recsys.identifiers import UNKNOWN
from recsys.models.cooccurrence import (
    ChangedRows,
    Matrix,
    WeightedRows,
    Whole,
    add_row,
    pairs_of,
    sum_type,
)

# Entries of changed users added at once, 100 MB: each time takes a pass over the matrix, as long as 100 million pairs.
AT_ONCE = 1 << 22

Packed = NDArray[np.unsignedinteger]


class Unusable(Exception):
    """An old matrix that is of no use; says why."""


@dataclass(frozen=True, eq=False)
class OldGram:
    """A Gram matrix as it was, the rows it was made of, and where those stand now.

    Attributes:
        packed: the upper triangle, row after row, in the smaller type that holds it.
        largest: its largest sum.
        rows: its rows.
        user_of: (n_users now,) int32, the old row of each user, `UNKNOWN` for a new one.
        column_of: (n_columns then,) int32, the column of each old one now, ascending; `UNKNOWN` for one that is gone.
    """

    packed: Packed
    largest: int
    rows: WeightedRows
    user_of: NDArray[np.int32]
    column_of: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Updated:
    """A matrix brought up to date, and the number of users whose row or weight had changed."""

    gram: Matrix
    changed: int


def pack(gram: Matrix, largest: int, threads: int) -> Packed:
    """The upper triangle of whole numbers, row after row, in the smaller type that holds them."""
    packed = np.empty(packed_size(len(gram)), sum_type(largest))
    over_ranges(lambda start, stop: _pack(start, stop, gram, packed), len(gram), threads, pieces_a_thread=64)
    return packed


def packed_size(n: int) -> int:
    """Entries of an upper triangle."""
    return n * (n + 1) // 2


def updated_gram(old: OldGram, rows: WeightedRows, threads: int) -> Updated:
    """The upper triangle of X^T W X, as `upper_gram` would give it, to the bit.

    Cost: a look at each rating and at each sum, and for a changed user as many additions as there are pairs with a
    column that came or went, or, if the user's weight is another, pairs at all.

    Raises:
        Unusable: the old matrix or its rows are damaged, or so much has changed that it would not pay.
    """
    _check_shape(old)
    keys = 2 * np.random.default_rng(0).integers(0, 1 << 63, rows.n_columns, np.uint64) + np.uint64(1)
    changed, signature = _compare(old, rows, keys, threads)
    differing = _differing(changed, old, rows, threads)
    _check_work(changed, differing, rows)
    kind = sum_type(old.largest + rows.largest)  # on the way, some users' rows are new and some old
    gram = np.zeros((rows.n_columns, rows.n_columns))
    signatures = np.zeros(rows.n_columns, np.uint64)
    moved = _Moved.of(old, rows.n_columns)
    cuts = _cuts(changed, differing)
    for start, stop in pairwise(cuts):
        pairs = pairs_of(_changed_rows(changed.cut(start, stop), differing[start:stop], old, rows), rows, kind)
        step = partial(_update_rows, start == 0, stop == cuts[-1], old.packed, moved, pairs, gram, keys, signatures)
        over_ranges(step, len(gram), threads, pieces_a_thread=64)
    if signatures.sum() != signature:
        raise Unusable("it does not fit the ratings; it is damaged, or those that it was made of are")
    return Updated(gram, len(changed.old_weight))


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


class _Moved(NamedTuple):
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

    @classmethod
    def of(cls, old: OldGram, n_columns: int) -> _Moved:
        kept = np.flatnonzero(old.column_of != UNKNOWN)
        now = old.column_of[kept].astype(np.int64)
        old_row = np.full(n_columns, UNKNOWN, np.int64)
        old_row[now] = kept
        begins = np.flatnonzero((np.diff(kept, prepend=-2) != 1) | (np.diff(now, prepend=-2) != 1))
        length = np.diff(np.append(begins, len(kept)))
        ends = kept[begins] + length
        run_of = np.searchsorted(ends, np.arange(len(old.column_of)), side="right")
        return cls(old_row, run_of, kept[begins], now[begins], length)


def _check_shape(old: OldGram) -> None:
    """What compiled loops rely on."""
    indptr, columns = old.rows.indptr, old.rows.columns
    whole = indptr[0] == 0 and indptr[-1] == len(columns) and (np.diff(indptr) >= 0).all()
    if not whole or len(old.packed) != packed_size(old.rows.n_columns):
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
    return _Changed(*_bounds(rows, now), *_bounds(old.rows, then)), np.array(parts, np.uint64).sum()


def _bounds(rows: WeightedRows, users: NDArray[np.integer]) -> tuple[Whole, Whole, Whole]:
    """begin, end and weight of users' rows; nothing for `UNKNOWN` and for who is not learned from."""
    weight = np.where(users == UNKNOWN, 0, rows.weight[users])
    begin, end = (np.where(weight > 0, edges[users], 0) for edges in (rows.indptr[:-1], rows.indptr[1:]))
    return begin, end, weight


def _differing(changed: _Changed, old: OldGram, rows: WeightedRows, threads: int) -> Whole:
    """(n,) columns that each changed user has gained or lost."""
    count, nothing = np.zeros(len(changed.weight), np.int64), np.empty(0, np.int64)

    def work(start: int, stop: int) -> None:
        some = changed.cut(start, stop)
        _differ(
            some,
            rows.columns,
            old.rows.columns,
            old.column_of,
            False,
            count[start:stop],
            nothing.view(np.uint32),
            nothing,
        )

    over_ranges(work, len(count), threads)
    return count


def _check_work(changed: _Changed, differing: Whole, rows: WeightedRows) -> None:
    """Every addition costs about the same, whichever way it is made."""
    length = (changed.end - changed.begin).astype(np.float64)
    pairs = length * differing + (changed.weight != changed.old_weight) * length**2 / 2
    full = ((np.diff(rows.indptr) * (rows.weight > 0)).astype(np.float64) ** 2 / 2).sum()
    if pairs.sum() > full / 2:
        raise Unusable(f"too much has changed: {len(length):,} users' rows")


def _cuts(changed: _Changed, differing: Whole) -> list[int]:
    """Edges between changed users of about `AT_ONCE` entries together."""
    entries = np.cumsum(changed.end - changed.begin + differing)
    last = int(entries[-1]) if len(entries) else 0
    inner = np.searchsorted(entries, np.arange(AT_ONCE, last, AT_ONCE)).tolist()
    return [0, *sorted({*inner} - {0, len(entries)}), len(entries)]


def _changed_rows(changed: _Changed, differing: Whole, old: OldGram, rows: WeightedRows) -> ChangedRows:
    first = np.concatenate(([0], np.cumsum(differing)))
    columns, sign = np.empty(first[-1], np.uint32), np.empty(first[-1], np.int64)
    _differ(changed, rows.columns, old.rows.columns, old.column_of, True, first[:-1].copy(), columns, sign)
    return ChangedRows(changed.begin, changed.end, changed.old_weight, changed.weight, first, columns, sign)


@compiled
def _pack(start, stop, gram, packed):  # type: ignore[no-untyped-def]
    n = len(gram)
    for row in range(start, stop):
        begin = row * n - row * (row - 1) // 2
        values, its_own = gram[row, row:], packed[begin : begin + n - row]
        for place in range(len(values)):
            its_own[place] = np.int64(values[place])


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
def _differ(changed, new, old, column_of, fill, places, columns, sign):  # type: ignore[no-untyped-def]
    """Walk along old and new rows together: count the columns that came or went, or fill them in."""
    n_old, beyond = len(column_of), np.int64(1 << 32)
    for one in range(len(places)):
        at, end, before, old_end = changed.begin[one], changed.end[one], changed.old_begin[one], changed.old_end[one]
        while at < end or before < old_end:
            old_column = beyond
            if before < old_end:
                old_column = np.int64(column_of[old[before]]) if old[before] < n_old else np.int64(-1)
                if old_column < 0:  # an item that is gone from the matrix
                    before += 1
                    continue
            column = np.int64(new[at]) if at < end else beyond
            if column != old_column:
                if fill:
                    columns[places[one]], sign[places[one]] = min(column, old_column), 1 if column < old_column else -1
                places[one] += 1
            at += column <= old_column
            before += old_column <= column


@compiled
def _update_rows(  # type: ignore[no-untyped-def]
    fill, check, packed, moved, pairs, gram, keys, signatures, start, stop
):
    """Rows of the matrix: take over the old ones if `fill`, add the pairs, sum the signature if `check`."""
    sums, n_old = np.empty(len(gram), pairs.factor.dtype), len(moved.run_of)
    for row in range(start, stop):
        values, old_row = gram[row], moved.old_row[row]
        if fill and old_row >= 0:
            # Old column c of this row stands at old_row x n_old - (0 + 1 + ... + old_row) + c.
            base = old_row * n_old - old_row * (old_row + 1) // 2
            for run in range(moved.run_of[old_row], len(moved.then)):
                then = max(moved.then[run], old_row)
                length = moved.then[run] + moved.length[run] - then
                now = moved.now[run] + then - moved.then[run]
                source, target = packed[base + then : base + then + length], values[now : now + length]
                for place in range(length):
                    target[place] = source[place]
        add_row(row, pairs, values, sums)
        if check:
            from_diagonal, its_keys, key = values[row:], keys[row:], np.uint64(0)
            for place in range(len(from_diagonal)):
                key += np.uint64(np.int64(from_diagonal[place])) * its_keys[place]
            diagonal = np.uint64(np.int64(values[row])) * keys[row]
            signatures[row] = (np.uint64(2) * key - diagonal) * keys[row]
