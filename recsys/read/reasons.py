"""Why a row is refused: short fixed texts, so that the quarantine can be counted by reason."""

from __future__ import annotations

from recsys.ratings import Scale

NOT_UTF8 = "not UTF-8"
CARRIAGE_RETURN = "carriage return inside the row"
RESERVED_BYTE = "byte 1F inside the row"
UNCLOSED_QUOTE = "unclosed quote"
STRAY_QUOTE = "quote inside a field that is not quoted"
RATING_MISSING = "rating is missing"
RATING_NOT_A_NUMBER = "rating is not a number"
RATING_DECIMAL_COMMA = "rating has a decimal comma"
RATING_INFINITE = "rating is infinite"
TIMESTAMP_MISSING = "timestamp is missing"
TIMESTAMP_NOT_A_NUMBER = "timestamp is not a number"
TIMESTAMP_NEGATIVE = "timestamp is negative"


def id_missing(role: str) -> str:
    """`role` is "user" or "item"."""
    return f"{role} id is missing"


def id_not_integer(role: str) -> str:
    """`role` is "user" or "item"."""
    return f"{role} id is not an integer"


def fields(expected: int, found: int) -> str:
    """A row with another number of fields than the file has columns.

    >>> fields(4, 3)
    '4 fields expected, 3 found'
    """
    return f"{expected} fields expected, {found} found"


def off_scale(scale: Scale) -> str:
    """A rating that the scale does not have.

    >>> off_scale(Scale(0.5, 5, 0.5))
    'rating is off the scale 0.5..5 step 0.5'
    """
    lowest, highest = ("" if bound is None else f"{bound:g}" for bound in (scale.lowest, scale.highest))
    step = "" if scale.step is None else f" step {scale.step:g}"
    return f"rating is off the scale {lowest}..{highest}{step}"
