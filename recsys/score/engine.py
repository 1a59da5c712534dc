"""Exact top-n of a formula over all (user, item) pairs: a fast pass chooses, the published arithmetic decides.

A published score is a sum in float64 in one fixed order, through the output, rounded to float32. Made for all pairs it
would take many times longer than a float32 matrix product. So the product only chooses: 64 scores at a time, as soon as
they are there, are compared with what the user's n-th best is so far, less all that the product and the rounding may
err. What passes (little more than n columns a user) is scored anew and sorted. A list therefore depends on its own user
alone: not on blocks, threads, order of work or the processor's way to sum.

Items stand in the order of what they can reach at most, so that after a tile all users can be dropped whose n-th best
is above what is still to come (J. Teflioudi, R. Gemulla and O. Mykytiuk, "LEMP: fast retrieval of large entries in a
matrix product", SIGMOD 2015, by blocks of users here, which keeps it a matrix product). Whether that pays is tried on
the night's own factors (F. Abuzaid, G. Sethi, P. Bailis and M. Zaharia, "To index or not to index: optimizing exact
maximum inner product search", ICDE 2019): the choice changes the time, never a list.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, over_ranges
from recsys.score.finite import check_finite
from recsys.score.formula import EXACT_ITEMS, Floats, Formula, score_row
from recsys.score.lanes import LANES, WIDTH
from recsys.score.selection import empty_lists, select
from recsys.score.tiles import CANDIDATE_BYTES, SPARE, TINY, Rough, block_top_n, even_edges

# Float32 vectors of a block of users: they are read again for each 64 items (16 KB at 64 factors, in the first-level
# cache meanwhile), so they and their candidates should stay in a second-level cache, 512 KB or more on today's cores.
BLOCK_BYTES = 128 << 10
TILE_ITEMS = 512  # items between two looks at who can be dropped
SAMPLES = 3  # blocks timed of each way
ROUNDING = 2.0**-24  # half the distance of two float32 around 1
LARGEST = 1e37  # a sum of that size and ten such more are still float32 numbers


def top_n(
    formula: Formula,
    seen: csr_matrix,
    n: int,
    threads: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
    prune: bool | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n best columns of each user by (published score descending, column ascending), seen columns left out.

    Args:
        seen: (n_users, n_columns) CSR; a stored entry is left out.
        allowed: (n_columns,) bool; the others are left out for all. None allows all.
        prune: drop users whose list is complete; None: as a timed sample says. It changes no list.

    Returns:
        columns (n_users, n) int32, -1 where there is no candidate, and scores (n_users, n) float32.

    Raises:
        UsageError: a number of the formula, or a score, is not finite.
    """
    n_users = len(formula.users)
    columns, scores = empty_lists(n_users, n)
    rough = _roughly(formula, np.arange(len(formula.items)) if allowed is None else np.flatnonzero(allowed))
    if not n_users or not n or not len(rough.order):
        return columns, scores
    given_up = ~(rough.margin < LARGEST)
    edges = even_edges(n_users, _users_a_block(n, rough.users.shape[1]), threads)
    choice = _Choice(len(edges) - 1, prune, rough)

    def work(first: int, last: int) -> None:
        for block in range(first, last):
            pruned, began = choice.take(), time.thread_time()
            start, stop = edges[block], edges[block + 1]
            block_top_n(start, stop, pruned, formula.exact, rough, seen.indptr, seen.indices, columns, scores, given_up)
            choice.tell(pruned, (time.thread_time() - began) / (stop - start))

    over_ranges(work, len(edges) - 1, threads)
    _exactly(formula, seen, rough, np.flatnonzero(given_up), columns, scores, threads)
    check_finite(scores[columns >= 0], "a score")
    return columns, scores


class _Choice:
    """Whether to prune, block by block: the first few are done both ways and timed, the rest the quicker way.

    The clock is the thread's own CPU time, so that what else runs does not decide. Short work is pruned untried: where
    that does not pay it costs some hundredths, where it does it costs a fraction. A network has no norms to go by.
    """

    def __init__(self, n_blocks: int, fixed: bool | None, rough: Rough) -> None:
        untried = True if n_blocks < 4 * SAMPLES else None
        self.fixed = False if len(rough.hidden) else untried if fixed is None else fixed
        self.taken = 0
        self.spent: dict[bool, list[float]] = {False: [], True: []}
        self.lock = threading.Lock()

    def take(self) -> bool:
        """The way of the next block."""
        if self.fixed is not None:
            return self.fixed
        with self.lock:
            self.taken += 1
            if self.taken <= 2 * SAMPLES or not all(self.spent.values()):
                return self.taken % 2 == 0
            return min(self.spent[True]) < min(self.spent[False])

    def tell(self, pruned: bool, seconds: float) -> None:
        """What a user of a block has cost."""
        with self.lock:
            if len(self.spent[pruned]) < SAMPLES:
                self.spent[pruned].append(seconds)


def _users_a_block(n: int, size: int) -> int:
    return max(1, min(BLOCK_BYTES // (4 * size), CANDIDATE_BYTES // (8 * (2 * n + SPARE))))


def _roughly(formula: Formula, allowed: NDArray[np.intp]) -> Rough:
    users, items = formula.users, formula.items[allowed]
    offset, hidden = formula.item_offset[allowed], formula.hidden
    user_norm, norm = _norms(users), _norms(items)
    for values, what in ((user_norm, "a user's vector"), (norm, "an item's vector"), (offset, "an item's offset")):
        check_finite(values, what)
    check_finite(formula.user_offset, "a user's offset")
    check_finite(hidden, "a hidden unit's weight")
    reach = norm * float(user_norm.mean() if len(users) else 0.0) + offset
    by_reach = np.argsort(-reach, kind="stable")
    order = allowed[by_reach].astype(np.int32)
    place = np.full(len(formula.items), -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    tile = max(LANES, TILE_ITEMS // LANES * LANES)
    starts = range(0, len(order), tile)
    with np.errstate(over="ignore"):  # then the margin is inf
        near_users, near_items = _with_offset(users, items, offset)
        return Rough(
            near_users, _panels(near_items[by_reach]), hidden.astype(np.float32), order, place, user_norm,
            _from_each(norm[by_reach], starts), _from_each(offset[by_reach], starts),
            rough_error(formula, user_norm, items, norm, offset), tile,
        )  # fmt: skip


def _with_offset(
    users: NDArray[Any], items: NDArray[Any], offset: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both in float32, the items' offsets as one factor more, where there are any."""
    if offset.any():
        users, items = np.column_stack([users, np.ones(len(users))]), np.column_stack([items, offset])
    return np.ascontiguousarray(users, np.float32), np.ascontiguousarray(items, np.float32)


def _panels(items: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flat: of each WIDTH items all first factors, all second, ...; filled up with zeros to groups of 64."""
    missing = -len(items) % LANES
    filled = np.concatenate([items, np.zeros((missing, items.shape[1]), np.float32)])
    return np.ascontiguousarray(filled.reshape(-1, WIDTH, items.shape[1]).transpose(0, 2, 1)).reshape(-1)


def _from_each(values: Floats, starts: range) -> Floats:
    """The largest value from each start on, and -inf after the last."""
    largest = np.maximum.reduceat(values, np.array(starts)) if len(values) else values
    return np.append(np.maximum.accumulate(largest[::-1])[::-1], -np.inf)


def rough_error(formula: Formula, user_norm: Floats, items: NDArray[Any], norm: Floats, offset: Floats) -> Floats:
    """(n_users,) no float32 score is further from the published one before its output, for any of these items.

    |fl(x . y) - x . y| <= m u / (1 - m u) |x|.|y| for m products in any order of summation (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, section 3.1), and |x|.|y| is at most the product of the norms. Into float32
    each side is rounded once (two u more), and the sum of two sides of a hidden unit once. The published score is
    rounded once, by u of all of it. Twice that is for the float64 sums and for what is second order in u; and each
    operation may lose TINY below the smallest float32.
    """
    size = formula.users.shape[1] + 1
    if len(formula.hidden):
        at_most = np.abs(formula.items if not len(items) else items).max(axis=0, initial=0.0)
        reach = (np.abs(formula.users) + at_most) @ np.abs(formula.hidden)
    else:
        reach = user_norm * np.max(norm, initial=0.0) + np.max(np.abs(offset), initial=0.0)
    whole = reach + np.abs(formula.user_offset)
    margin = 2.0 * ROUNDING * ((size + 6) * reach + whole) + (size + 6) * TINY
    safe = (whole < LARGEST) & (user_norm < LARGEST) & (np.max(norm, initial=0.0) < LARGEST)
    return np.where(safe, margin, np.inf)


def _exactly(
    formula: Formula,
    seen: csr_matrix,
    rough: Rough,
    users: NDArray[np.intp],
    columns: NDArray[np.int32],
    scores: NDArray[np.float32],
    threads: int,
) -> None:
    """The lists of users for whom the product tells too few columns apart, from the published scores of all."""
    if not len(users):
        return
    exact, turned = formula.exact, np.ascontiguousarray(formula.items.T)
    denied = np.flatnonzero(rough.place < 0)

    def work(start: int, stop: int) -> None:
        _exact_lists(users[start:stop], exact, turned, seen.indptr, seen.indices, denied, columns, scores)

    over_ranges(work, len(users), threads)


def _norms(vectors: NDArray[Any]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.einsum("nk,nk->n", vectors, vectors, dtype=np.float64))


@compiled
def _exact_lists(users, exact, turned, seen_indptr, seen_indices, denied, columns, scores):  # type: ignore[no-untyped-def]
    sums = np.empty(min(EXACT_ITEMS, turned.shape[1]), np.float64)
    row = np.empty(turned.shape[1], np.float32)
    for user in users:
        score_row(user, exact, turned, sums, row)
        for column in denied:
            row[column] = -np.inf
        for entry in range(seen_indptr[user], seen_indptr[user + 1]):
            row[seen_indices[entry]] = -np.inf
        select(row, columns[user], scores[user])
