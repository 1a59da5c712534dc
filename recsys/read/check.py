"""What makes a row valid: both ids there, a finite rating on the scale, a time that is not negative.

Ids and ratings are judged by their distinct values, of which a block has few.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.ratings import IdType, Scale
from recsys.read import reasons, values
from recsys.read.ids import IdColumn, IdCount, Verdict, is_blank, typed_ids
from recsys.read.rows import Rows
from recsys.tables import QUARANTINE

FLOAT32_MAX = float(np.finfo(np.float32).max)
# A rating is on the scale when it is within this share of a step. A float32 near 100 is off by up to 4e-6, which is
# 4e-5 of a step of 0.1; nobody means 3.9999 when they write it.
STEP_TOLERANCE = 1e-4
LATEST_SECONDS = 10**11  # the year 5138; as milliseconds March 1973, before there were ratings to log


@dataclass(frozen=True)
class Part:
    """The checked rows of one block.

    Attributes:
        user_ids, item_ids: ids with a valid rating in this block; an id may stand there twice.
        user_code, item_code: (n,) int32, positions in them.
        user_rows: (len(user_ids),) int64, how many of these rows each user id has.
        rating: (n,) float32.
        timestamp: (n,) int64, or None.
        quarantine: the refused rows by line.
        seen_users, seen_items: (n_seen,) the ids of refused rows whose ids can both be read.
        rows: rows of the block, refused ones included, later ones not.
        later: rows that were left out because of their time.
        counts: of the user ids and of the item ids.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    user_code: NDArray[np.int32]
    item_code: NDArray[np.int32]
    user_rows: NDArray[np.int64]
    rating: NDArray[np.float32]
    timestamp: NDArray[np.int64] | None
    quarantine: pa.Table
    seen_users: pa.Array
    seen_items: pa.Array
    rows: int
    later: int
    counts: tuple[IdCount, IdCount]


def check(rows: Rows, kinds: tuple[IdType, IdType], scale: Scale, before: int | None = None) -> Part:
    """Part the valid rows from the refused ones.

    Args:
        kinds: the type of the user ids and of the item ids.
        before: rows from this time on, in seconds, count as not there, whatever else stands in them; None: all count.
    """
    users, items = IdColumn(rows, "user", kinds[0]), IdColumn(rows, "item", kinds[1])
    faults = _Faults(len(rows))
    for ids in (users, items):
        faults.add(ids.verdicts(), ids.codes)
    rating, rating_codes, verdicts = _ratings(rows.columns["rating"], scale)
    faults.add(verdicts, rating_codes)
    timestamp, verdicts = _timestamps(rows.columns.get("timestamp"))
    faults.add(verdicts)
    later = _later(timestamp, before, len(rows))
    bad, good = np.flatnonzero((faults.code > 0) & ~later), (faults.code == 0) & ~later
    n_later = int(np.count_nonzero(later))
    user_ids, user_code = users.kept(good)
    item_ids, item_code = items.kept(good)
    seen_users, seen_items = _seen(rows, users, items, bad)
    return Part(
        user_ids, item_ids, user_code, item_code, np.bincount(user_code, minlength=len(user_ids)),
        rating.astype(np.float32)[rating_codes[good]], None if timestamp is None else timestamp[good],
        _quarantine(rows, bad, faults), seen_users, seen_items,
        len(rows) + len(rows.refused) - n_later, n_later, (users.count(), items.count()),
    )  # fmt: skip


class _Faults:
    """The first reason to refuse each row. `code`: (n,) uint8, 0 for a valid row, else a position in `reasons`."""

    def __init__(self, rows: int) -> None:
        self.code = np.zeros(rows, np.uint8)
        self.reasons = [""]

    def add(self, verdicts: Iterable[Verdict], codes: NDArray[np.int32] | None = None) -> None:
        """Refuse rows; with `codes` the verdicts are on distinct values, `codes` (n,) the value of each row."""
        for refused, reason in verdicts:
            if refused.any():
                of_rows = refused if codes is None else refused[codes]
                self.code[of_rows & (self.code == 0)] = len(self.reasons)
                self.reasons.append(reason)


def _ratings(column: pa.Array, scale: Scale) -> tuple[NDArray[np.float64], NDArray[np.int32], list[Verdict]]:
    """The distinct ratings, the position in them of each row's, and the verdicts on them."""
    distinct, codes = column.dictionary, column.indices.to_numpy()
    missing, comma = _is_null(distinct), np.zeros(len(distinct), bool)
    if pa.types.is_string(distinct.type):
        texts = pc.fill_null(distinct, "")
        missing |= is_blank(texts)
        comma = values.has_decimal_comma(texts)
        rating, known = values.numbers(texts)
    else:
        rating = np.array(pc.fill_null(distinct, 0.0).to_numpy(zero_copy_only=False))
        known = ~np.isnan(rating)
    infinite = np.abs(rating) > FLOAT32_MAX  # as float32, which ratings are kept in
    rating[missing | ~known | infinite] = 0.0
    return rating, codes, [
        (missing, reasons.RATING_MISSING),
        (comma, reasons.RATING_DECIMAL_COMMA),
        (~known, reasons.RATING_NOT_A_NUMBER),
        (infinite, reasons.RATING_INFINITE),
        (_is_off(rating, scale), reasons.off_scale(scale)),
    ]  # fmt: skip


def _is_off(rating: NDArray[np.float64], scale: Scale) -> NDArray[np.bool_]:
    off = np.zeros(len(rating), bool)
    slack = STEP_TOLERANCE * (scale.step or 0.0)
    if scale.lowest is not None:
        off |= rating < scale.lowest - slack
    if scale.highest is not None:
        off |= rating > scale.highest + slack
    if scale.step is not None:
        steps = (rating - (scale.lowest or 0.0)) / scale.step
        off |= np.abs(steps - np.round(steps)) > STEP_TOLERANCE
    return off


def _timestamps(column: pa.Array | None) -> tuple[NDArray[np.int64] | None, list[Verdict]]:
    if column is None:
        return None, []
    missing = _is_null(column)
    if pa.types.is_string(column.type):
        texts = pc.fill_null(column, "")
        seconds, known = values.seconds(texts)
        if not known.all():
            missing |= is_blank(texts)
    else:
        seconds, known = _whole_seconds(pc.fill_null(column, 0).to_numpy(zero_copy_only=False))
    return seconds, [
        (missing, reasons.TIMESTAMP_MISSING),
        (~known, reasons.TIMESTAMP_NOT_A_NUMBER),
        (seconds < 0, reasons.TIMESTAMP_NEGATIVE),
    ]


def _later(timestamp: NDArray[np.int64] | None, before: int | None, rows: int) -> NDArray[np.bool_]:
    """(rows,) True from a time on; times that can only be milliseconds are taken as such."""
    if timestamp is None or before is None:
        return np.zeros(rows, np.bool_)
    seconds = np.where(timestamp > LATEST_SECONDS, timestamp // 1000, timestamp)
    return seconds >= before


def _whole_seconds(seconds: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if seconds.dtype.kind == "i":
        return seconds.astype(np.int64, copy=False), np.ones(len(seconds), bool)
    known = np.abs(seconds) < 2.0**63  # the first float beyond int64; False for NaN
    return np.floor(np.where(known, seconds, 0)).astype(np.int64), known


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    return np.array(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _seen(rows: Rows, users: IdColumn, items: IdColumn, bad: NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
    """The typed ids of the refused rows whose ids can both be read."""
    pairs = []
    for ids, broken in ((users, [row.user_id for row in rows.refused]), (items, [row.item_id for row in rows.refused])):
        texts = ids.texts.take(pa.array(ids.codes[bad]))
        pairs.append(typed_ids(pa.concat_arrays([texts, pa.array(broken, pa.string())]), ids.kind))
    (user_ids, user_fit), (item_ids, item_fit) = pairs
    both = pa.array(user_fit & item_fit)
    return user_ids.filter(both), item_ids.filter(both)


def _quarantine(rows: Rows, bad: NDArray[np.int64], faults: _Faults) -> pa.Table:
    lines, texts = rows.locate(bad) if len(bad) else (np.zeros(0, np.int64), [])
    table = {
        "file": pa.repeat(rows.file, len(bad) + len(rows.refused)),
        "line": np.concatenate([lines, np.array([row.line for row in rows.refused], np.int64)]),
        "reason": [faults.reasons[code] for code in faults.code[bad]] + [row.reason for row in rows.refused],
        "text": texts + [row.text for row in rows.refused],
    }
    return pa.table(table, schema=QUARANTINE).sort_by("line")
