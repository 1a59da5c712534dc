"""Texts to numbers. Usual spellings are converted together, a column at a time; the rest one by one.

The one-by-one functions say what is accepted; a fast way only ever takes texts on which it agrees with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

INT64 = np.iinfo(np.int64)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_BLANKS = " \t"

Way = tuple[str, Callable[[pa.Array], pa.Array]]  # a pattern, and how texts that match it are converted


def trimmed(texts: pa.Array) -> pa.Array:
    """Without the blanks around each text."""
    return pc.utf8_trim(texts, _BLANKS)


def integral(texts: pa.Array) -> pa.Array:
    """Without blanks around and a fraction of zeros: pandas writes ids as "7.0" once one of them is missing.

    >>> integral(pa.array([" 7.0", "7.50", "7"])).to_pylist()
    ['7', '7.50', '7']
    """
    return pc.replace_substring_regex(trimmed(texts), r"\.0+$", "")


def is_integer(texts: pa.Array) -> NDArray[np.bool_]:
    """(n,) True where a text is an int64, written in full: "7", "-7" or "7.0", but not "007", "+7", "7.5" or "7e0"."""
    texts = integral(texts)
    found = _mask(pc.match_substring_regex(texts, r"^(0|-?[1-9]\d{0,17})$"))
    for at in np.flatnonzero(_mask(pc.match_substring_regex(texts, r"^-?[1-9]\d{18}$"))):
        found[at] = INT64.min <= int(texts[at].as_py()) <= INT64.max
    return found


def to_number(text: str) -> float | None:
    """A rating as it may be written: decimal, with an exponent, infinite; else None.

    >>> to_number("+4.5"), to_number("1e1"), to_number("-inf"), to_number("nan"), to_number("4,5")
    (4.5, 10.0, -inf, None, None)
    """
    return float(text) if _NUMBER.fullmatch(text) or _INFINITE.fullmatch(text) else None


def to_seconds(text: str) -> int | None:
    """A timestamp as it may be written, a fraction of a second cut downwards; else None. No zone means UTC.

    >>> to_seconds("964982703"), to_seconds("964982703.9"), to_seconds("1970-01-02"), to_seconds("yesterday")
    (964982703, 964982703, 86400, None)
    >>> to_seconds("1970-01-01T01:00:00+01:00"), to_seconds("1970-01-01 00:00:01.5Z")
    (0, 1)
    """
    try:
        seconds = _whole(text) if _NUMBER.fullmatch(text) else _since_1970(text)
    except (ValueError, OverflowError):  # no date, a date before year 1, an infinite number
        return None
    return seconds if INT64.min <= seconds <= INT64.max else None


def _whole(text: str) -> int:
    # Over 4,300 digits int() refuses, with a ValueError.
    return math.floor(float(text)) if set(text) & set(".eE") else int(text)


def _since_1970(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def has_decimal_comma(texts: pa.Array) -> NDArray[np.bool_]:
    """(n,) True where a text is a number but for its comma, as in "3,5"."""
    return _mask(pc.match_substring_regex(trimmed(texts), r"^[+-]?\d+,\d+$"))


def numbers(texts: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(n,) float64 and whether each text is a number, by `to_number`."""
    return _converted(trimmed(texts), [_DECIMAL], to_number, np.dtype(np.float64))


def seconds(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n,) int64 and whether each text is a timestamp, by `to_seconds`."""
    # Nearly all are plain digits, which are found 6 times as fast as by a pattern; 18 of them are always an int64.
    digits = _mask(pc.and_(pc.ascii_is_decimal(texts), pc.less(pc.binary_length(texts), 19)))
    if digits.all():
        return texts.cast(pa.int64()).to_numpy(), digits
    values = np.zeros(len(texts), np.int64)
    values[digits] = texts.filter(pa.array(digits)).cast(pa.int64()).to_numpy()
    rest = trimmed(texts.filter(pa.array(~digits)))
    values[~digits], known = _converted(rest, [_FRACTIONS, _MOMENTS], to_seconds, np.dtype(np.int64))
    digits[~digits] = known
    return values, digits


# 15 digits are exact in float64: cutting downwards agrees with `to_seconds`.
_DECIMAL: Way = (r"^-?\d{1,15}(\.\d{1,15})?$", lambda texts: texts.cast(pa.float64()))
_FRACTIONS: Way = (r"^\d{1,15}\.\d{0,9}$", lambda texts: pc.floor(texts.cast(pa.float64())).cast(pa.int64()))
_MOMENTS: Way = (
    r"^[12]\d{3}-\d\d-\d\d([ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d)?$",
    lambda texts: texts.cast(pa.timestamp("s")).cast(pa.int64()),
)


def _converted(
    texts: pa.Array, ways: list[Way], one: Callable[[str], Any], kind: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values, done = np.zeros(len(texts), kind), np.zeros(len(texts), bool)
    for pattern, convert in ways:
        match = _mask(pc.match_substring_regex(texts, pattern)) & ~done
        try:
            values[match] = convert(texts.filter(pa.array(match))).to_numpy()
        except pa.ArrowInvalid:  # e.g. a thirteenth month
            continue
        done |= match
    _one_by_one(texts, one, values, done)
    return values, done


def _one_by_one(texts: pa.Array, one: Callable[[str], Any], values: NDArray[Any], done: NDArray[np.bool_]) -> None:
    """Convert in place what is not done, each distinct text once."""
    rest = np.flatnonzero(~done)
    encoded = texts.take(pa.array(rest)).dictionary_encode()
    each = [one(text) for text in encoded.dictionary.to_pylist()]
    known = np.array([value is not None for value in each], bool)[encoded.indices.to_numpy()]
    converted = np.array([value or 0 for value in each], values.dtype)[encoded.indices.to_numpy()]
    values[rest[known]] = converted[known]
    done[rest[known]] = True


def _mask(column: pa.Array) -> NDArray[np.bool_]:
    """A writable copy without nulls; a null is False."""
    return np.array(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)
