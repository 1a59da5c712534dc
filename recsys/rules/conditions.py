"""Comparisons of columns in three values: true, false, and null where a value is not known (Kleene's logic)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import UsageError
from recsys.rules.schema import Condition

_COMPARE = {
    "==": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
SEPARATOR = "|"  # between the values of a text


def hold(conditions: Sequence[Condition], columns: Mapping[str, pa.Array], run_date: date) -> pa.Array:
    """(n,) bool, whether all conditions hold: false where one does not, null where that is not known.

    Args:
        columns: (n,) each, as `tables.plain` has them.
        run_date: what ages are counted to.

    Raises:
        UsageError: a value cannot be compared with its column.
    """
    return reduce(pc.and_kleene, (_holds(condition, columns[condition.column], run_date) for condition in conditions))


def value_lists(column: pa.Array) -> pa.Array:
    """(n,) the values of each row as a list of texts: of a list its entries, of a text its parts between "|"."""
    if pa.types.is_list(column.type):
        return column
    texts = column.cast(pa.string())
    return pc.split_pattern(texts, SEPARATOR) if pa.types.is_string(column.type) else _alone(texts)


def years_ago(day: date, years: int) -> date:
    """The same day, years before; the 28th for a 29th of February that is not there."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28) if years < day.year else date.min


def _holds(condition: Condition, column: pa.Array, run_date: date) -> pa.Array:
    operator, kind = condition.operator, column.type
    if column.null_count == len(column):  # of no type that could be told
        return pa.nulls(len(column), pa.bool_())
    if operator in ("min_age", "max_age"):
        return _of_age(condition, column, run_date)
    if operator == "contains":
        if not (pa.types.is_string(kind) or kind == pa.list_(pa.string())):
            raise _unlike(condition, column, "a column of texts, or of lists of texts")
        return _contains(value_lists(column), condition.value)
    if operator in ("in", "not in"):
        _check(condition, column, condition.value)
        found = pc.is_in(column, value_set=_value_set(condition.value, kind))
        return pc.if_else(pc.is_valid(column), pc.invert(found) if operator == "not in" else found, None)
    _check(condition, column, [condition.value])
    if operator not in ("==", "!=") and not _is_ordered(kind):
        raise _unlike(condition, column, "a column of numbers or dates, which have an order")
    return _COMPARE[operator](column, pa.scalar(condition.value))


def _of_age(condition: Condition, column: pa.Array, run_date: date) -> pa.Array:
    """The age of a date in days or calendar years; of a whole number, which is a year, in years."""
    count, unit = condition.age
    at_least = condition.operator == "min_age"
    if pa.types.is_date(column.type):
        last = years_ago(run_date, count) if unit == "year" else date.fromordinal(max(run_date.toordinal() - count, 1))
        return (pc.less_equal if at_least else pc.greater_equal)(column, pa.scalar(last))
    if pa.types.is_integer(column.type) and unit == "year":
        return (pc.less_equal if at_least else pc.greater_equal)(column, pa.scalar(run_date.year - count))
    raise _unlike(condition, column, "a column of dates, or of years (whole numbers) with an age in years")


def _contains(lists: pa.Array, wanted: tuple[str, ...]) -> pa.Array:
    """Whether any of the texts is among a row's."""
    row = pc.list_parent_indices(lists).to_numpy()
    hit = pc.is_in(pc.utf8_trim_whitespace(lists.flatten()), value_set=pa.array(wanted)).to_numpy(zero_copy_only=False)
    found = np.zeros(len(lists), bool)
    found[row[hit]] = True
    return pc.if_else(pc.is_valid(lists), pa.array(found), None)


def _alone(texts: pa.Array) -> pa.Array:
    filled = pa.ListArray.from_arrays(pa.array(np.arange(len(texts) + 1, dtype=np.int32)), texts)
    return pc.if_else(pc.is_valid(texts), filled, None)


def _check(condition: Condition, column: pa.Array, values: Sequence[Any]) -> None:
    for value in values:
        if not _comparable(column.type, value):
            raise _unlike(condition, column, "a value of the column's type")


def _comparable(kind: pa.DataType, value: Any) -> bool:
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(kind))
    if isinstance(value, int | float):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
    return bool(pa.types.is_date(kind) if isinstance(value, date) else pa.types.is_string(kind))


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_date(kind))


def _value_set(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """In the column's type; no whole number is equal to a fraction."""
    if pa.types.is_integer(kind):
        return pa.array([int(value) for value in values if value == int(value)], kind)
    return pa.array(values, kind)


def _unlike(condition: Condition, column: pa.Array, expected: str) -> UsageError:
    return UsageError(
        f"A rule compares the column {condition.column!r} by {condition.operator!r} with {condition.value!r}, and it "
        "cannot be compared so.",
        expected=expected,
        found=f"a column of the type {column.type}",
        todo="mend the rule, or the column",
    )
