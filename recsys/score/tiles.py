"""The compiled pass over approximate scores; each call has a block of users of its own and takes no lock.

Scores are compared as soon as 64 items have them for 6 users, and never written further than a first-level cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled
from recsys.score.formula import Floats, output, published
from recsys.score.lanes import LANES, ROWS, WIDTH, at_least, lowest_bit, network_kernel, product_kernel

CANDIDATE_BYTES = 16 << 20  # of candidates: fewer users a block where lists are very long
SPARE = 16  # candidates a user beside 2 n, before the worst are thrown away
INSERTED = 64  # a list up to that length is sorted by insertion: no memory is asked for, most moves are short
TINY = float(np.finfo(np.float32).tiny)
LOWEST = np.finfo(np.float32).min


def even_edges(n_users: int, largest: int, threads: int) -> list[int]:
    """Blocks of about equal size, a multiple of `threads` in number where that is not too small a block."""
    n_blocks = -(-n_users // largest)
    n_blocks = min(n_users, -(-n_blocks // threads) * threads)
    return [n_users * block // n_blocks for block in range(n_blocks + 1)]


class Rough(NamedTuple):
    """The same in float32, items in the order of what they can reach, for the pass that chooses.

    Attributes:
        users: (n_users, size).     items: flat, in panels of WIDTH places, filled up with zeros to groups of 64.
        hidden: (size,) float32, or of length 0.
        order: (n_allowed,) int32, the column at each place.     place: (n_columns,) int32, -1 for what is left out.
        user_norm: (n_users,) float64.
        norm: (n_tiles + 1,) the longest item from each tile on.     offset: (n_tiles + 1,) the highest, likewise.
        margin: (n_users,) no score here is further from the published one, before its output; inf: may overflow.
        tile: items a tile.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    hidden: NDArray[np.float32]
    order: NDArray[np.int32]
    place: NDArray[np.int32]
    user_norm: Floats
    norm: Floats
    offset: Floats
    margin: Floats
    tile: int


class Seen(NamedTuple):
    """What a block's users have seen, by tile: the places, and (n_users, n_tiles + 1) where each tile's begin."""

    places: NDArray[np.int32]
    edges: NDArray[np.int64]


class Limits(NamedTuple):
    """What a block's pass needs of both, a row a user of the block."""

    margin: Floats
    offset: Floats
    bounded: bool
    low: float
    high: float


@compiled
def block_top_n(start, stop, prune, exact, rough, seen_indptr, seen_indices, columns, scores, given_up):  # type: ignore[no-untyped-def]
    """The lists of users start..stop-1, tile by tile of items; left empty, and marked, for users who are given up.

    Those have too many columns that the approximate scores cannot tell apart.
    """
    n, n_users, n_tiles = columns.shape[1], stop - start, len(rough.norm) - 1
    capacity = min(len(rough.order), 2 * n + SPARE)
    found, value = np.empty((n_users, capacity), np.int32), np.empty((n_users, capacity), np.float32)
    held, spare = np.zeros(n_users, np.int64), np.empty(max(capacity, LANES), np.float32)
    least = np.where(given_up[start:stop], np.float32(np.inf), np.float32(LOWEST))
    limits = Limits(rough.margin[start:stop], exact.user_offset[start:stop], exact.bounded, exact.low, exact.high)
    seen = Seen(*seen_by_tile(start, stop, rough.place, rough.tile, n_tiles, seen_indptr, seen_indices))
    active, n_active = np.arange(n_users), n_users
    panels = np.zeros(-(-n_users // ROWS) * ROWS * rough.users.shape[1], np.float32)
    _pack(rough.users[start:stop], active, panels)
    if n <= LANES // 2 and n_tiles > 1:
        _begin(panels, n, rough, seen, limits, least, spare)
    for number in range(n_tiles):
        _take(number, active[:n_active], panels, n, rough, seen, limits, found, value, held, least, spare)
        if prune and number + 1 < n_tiles:
            _tighten_all(active[:n_active], n, limits, found, value, held, least, spare)
            left = _drop(active, n_active, start, number + 1, rough, least)
            if left < n_active:
                n_active = left
                _pack(rough.users[start:stop], active[:n_active], panels)
    _tighten_all(np.arange(n_users), n, limits, found, value, held, least, spare)
    for row in range(n_users):
        if least[row] == np.inf:
            given_up[start + row] = True
        else:
            _finish(start + row, found[row, : held[row]], exact, rough, columns, scores)


@compiled
def _pack(users, rows, panels):  # type: ignore[no-untyped-def]
    """These rows in panels of ROWS, in each a factor of all after the other; what is left of the last is any row."""
    size = users.shape[1]
    for at in range(len(rows)):
        base = at // ROWS * ROWS * size + at % ROWS
        for factor in range(size):
            panels[base + factor * ROWS] = users[rows[at], factor]


@compiled
def _score_panel(panels, panel, items, group, hidden, size, out):  # type: ignore[no-untyped-def]
    """out[64 r + i]: approximate scores of a panel of users with a group of 64 items."""
    user = panel * ROWS * size
    for part in range(0, LANES, WIDTH):
        item = (group * LANES + part) * size
        if len(hidden) == 0:
            product_kernel(panels, user, items, item, size, out, part)
        else:
            network_kernel(panels, user, items, item, size, out, part, hidden)


@compiled
def seen_by_tile(start, stop, place, tile, n_tiles, indptr, indices):  # type: ignore[no-untyped-def]
    """What users start..stop-1 have seen, by tile: its places, and where in them each user's part of a tile begins.

    Args:
        place: (n_columns,) of each column, -1 for none.

    Returns:
        (entries,) int32 and (stop - start, n_tiles + 1) int64.
    """
    edges = np.zeros((stop - start, n_tiles + 1), np.int64)
    places = np.empty(indptr[stop] - indptr[start], np.int32)
    after = np.empty(n_tiles + 1, np.int64)
    base = 0
    for row in range(stop - start):
        own = edges[row]
        for entry in range(indptr[start + row], indptr[start + row + 1]):
            if place[indices[entry]] >= 0:
                own[place[indices[entry]] // tile + 1] += 1
        own[0] = base
        for number in range(n_tiles):
            own[number + 1] += own[number]
        base = own[n_tiles]
        after[:] = own
        for entry in range(indptr[start + row], indptr[start + row + 1]):
            at = place[indices[entry]]
            if at >= 0:
                places[after[at // tile]] = at
                after[at // tile] += 1
    return places, edges


@compiled
def _begin(panels, n, rough, seen, limits, least, spare):  # type: ignore[no-untyped-def]
    """Start from the n-th largest of 64 maxima over the first tile, which is a whole one.

    They belong to 64 columns, so the n-th best score is not below it. One tile more to score saves most candidates.
    """
    out, largest = np.empty(ROWS * LANES, np.float32), np.empty(ROWS * LANES, np.float32)
    items, hidden, size = rough.items, rough.hidden, rough.users.shape[1]
    for panel in range(-(-len(least) // ROWS)):
        rows = min(ROWS, len(least) - panel * ROWS)
        largest[:] = -np.inf
        for group in range(rough.tile // LANES):
            _score_panel(panels, panel, items, group, hidden, size, out)
            for row in range(rows):
                for entry in range(seen.edges[panel * ROWS + row, 0], seen.edges[panel * ROWS + row, 1]):
                    lane = seen.places[entry] - group * LANES
                    if 0 <= lane < LANES:
                        out[row * LANES + lane] = -np.inf
            for lane in range(ROWS * LANES):
                largest[lane] = out[lane] if out[lane] > largest[lane] else largest[lane]
        for row in range(rows):
            if least[panel * ROWS + row] == LOWEST:
                spare[:LANES] = largest[row * LANES : (row + 1) * LANES]
                least[panel * ROWS + row] = _still_possible(nth_largest(spare, LANES, n), panel * ROWS + row, limits)


@compiled
def _take(number, active, panels, n, rough, seen, limits, found, value, held, least, spare):  # type: ignore[no-untyped-def]
    """Hold what reaches `least` of a tile's approximate scores."""
    out = np.empty(ROWS * LANES, np.float32)
    items, hidden, size, places, edges = rough.items, rough.hidden, rough.users.shape[1], seen.places, seen.edges
    first, last = number * rough.tile // LANES, min((number + 1) * rough.tile, len(rough.order))
    for group in range(first, -(-last // LANES)):
        filled = np.uint64(2**64 - 1) >> np.uint64(LANES - min(LANES, last - group * LANES))
        for panel in range(-(-len(active) // ROWS)):
            _score_panel(panels, panel, items, group, hidden, size, out)
            for at in range(panel * ROWS, min((panel + 1) * ROWS, len(active))):
                row, base = active[at], at % ROWS * LANES
                passing = at_least(out, base, least[row]) & filled
                if passing == 0:
                    continue
                for entry in range(edges[row, number], edges[row, number + 1]):
                    lane = places[entry] - group * LANES
                    if 0 <= lane < LANES:
                        passing &= ~(np.uint64(1) << np.uint64(lane))
                while passing != 0 and least[row] < np.inf:  # inf: given up, while what overflows is inf too
                    lane = lowest_bit(passing)
                    passing &= passing - np.uint64(1)
                    if held[row] == found.shape[1]:
                        _make_room(row, n, limits, found, value, held, least, spare)
                    if out[base + lane] >= least[row]:
                        value[row, held[row]], found[row, held[row]] = out[base + lane], group * LANES + lane
                        held[row] += 1


@compiled
def _make_room(row, n, limits, found, value, held, least, spare):  # type: ignore[no-untyped-def]
    """Let go of candidates; where too few can be, the user is given up: `least` is inf."""
    _tighten(row, n, limits, found, value, held, least, spare)
    if held[row] > (found.shape[1] + n) // 2:
        least[row] = np.inf


@compiled
def _tighten_all(rows, n, limits, found, value, held, least, spare):  # type: ignore[no-untyped-def]
    for row in rows:
        if held[row] > n and least[row] < np.inf:
            _tighten(row, n, limits, found, value, held, least, spare)


@compiled
def _tighten(row, n, limits, found, value, held, least, spare):  # type: ignore[no-untyped-def]
    """Raise `least` to what the n-th best so far allows, and let go of what is below."""
    count = held[row]
    for place in range(count):
        spare[place] = value[row, place]
    limit = _still_possible(nth_largest(spare, count, n), row, limits)
    kept = 0
    for place in range(count):
        if value[row, place] >= limit:
            value[row, kept] = value[row, place]
            found[row, kept] = found[row, place]
            kept += 1
    held[row], least[row] = kept, limit


@compiled
def nth_largest(values, count, n):  # type: ignore[no-untyped-def]
    """The n-th largest of values[:count], which are moved about (Hoare's selection)."""
    low, high, wanted = 0, count - 1, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@compiled
def _still_possible(nth, row, limits):  # type: ignore[no-untyped-def]
    """The lowest approximate score that can belong to a list whose n-th best approximate score is `nth`.

    n published scores are made from at least nth - margin (before the output). A column may stand among them if its
    published score is not lower than the lowest of those; the margin is in the comparison on either side.
    """
    x = np.float64(nth) - limits.margin[row]
    if limits.bounded:
        offset = limits.offset[row]
        x = _lowest_equal(x + offset, limits.low, limits.high) - offset
    x -= limits.margin[row]
    limit = np.float32(x - abs(x) * 2.0**-22)  # lower than x, however it is rounded
    return limit if limit > LOWEST else LOWEST


@compiled
def _lowest_equal(x, low, high):  # type: ignore[no-untyped-def]
    """An x from which on down no published score can equal that of `x`, since a sigmoid makes one of many.

    The score's float32 less one step of it, and less what float64 may err in the sigmoid and back, is below all numbers
    that are rounded to it; that is what the inverse is taken of.
    """
    score = np.float64(output(x, True, low, high))
    below = score - abs(score) * 2.0**-22 - 1e-12 * (abs(low) + abs(high)) - TINY
    if below <= low:
        return -np.inf
    share = (below - low) / (high - low)
    return min(x, np.log(share / (1.0 - share))) if share < 1.0 else x


@compiled
def _drop(active, n_active, start, number, rough, least):  # type: ignore[no-untyped-def]
    """Gather the users whose list the tiles from `number` on may still change; how many there are."""
    left = 0
    for at in range(n_active):
        row = active[at]
        user = start + row
        highest = rough.user_norm[user] * rough.norm[number] + rough.offset[number] + rough.margin[user]
        if highest >= least[row]:
            active[left] = row
            left += 1
    return left


@compiled
def _finish(user, places, exact, rough, columns, scores):  # type: ignore[no-untyped-def]
    """Score what is left as it is published, and list the best."""
    column, score = np.empty(len(places), np.int32), np.empty(len(places), np.float32)
    for at in range(len(places)):
        column[at] = rough.order[places[at]]
        score[at] = published(user, column[at], exact)
    list_best(column, score, columns[user], scores[user])


@compiled
def list_best(column, score, columns, scores):  # type: ignore[no-untyped-def]
    """Write the best of these candidates by (score descending, column ascending); they are moved about."""
    if len(column) > INSERTED:
        by_column = np.argsort(column)
        column, score = column[by_column], score[by_column]
        best = np.argsort(-score, kind="mergesort")  # stable: equal scores stay in the order of the columns
        column, score = column[best], score[best]
    else:
        _insert(column, score)
    count = min(len(column), len(columns))
    columns[:count], scores[:count] = column[:count], score[:count]


@compiled
def _insert(column, score):  # type: ignore[no-untyped-def]
    """Sort both by (score descending, column ascending)."""
    for at in range(1, len(column)):
        own_column, own_score, place = column[at], score[at], at
        while place > 0 and (
            score[place - 1] < own_score or (score[place - 1] == own_score and column[place - 1] > own_column)
        ):
            column[place], score[place] = column[place - 1], score[place - 1]
            place -= 1
        column[place], score[place] = own_column, own_score
