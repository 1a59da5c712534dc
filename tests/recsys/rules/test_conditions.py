"""Comparisons in three values, against plain Python, the judge of `publish.obeyed` among it."""

from datetime import date, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import UsageError
from recsys.publish.obeyed import _all
from recsys.rules.conditions import hold
from recsys.rules.schema import rule_set

NIGHT = date(2024, 2, 29)


def conditions(where):
    return rule_set({"rule": [{"kind": "deny", "where": where}]}, "test").rule[0].where


def holds(where, run_date=NIGHT, **columns):
    return hold(conditions(where), {name: pa.array(*column) if isinstance(column, tuple) else pa.array(column)
                                    for name, column in columns.items()}, run_date).to_pylist()  # fmt: skip


@pytest.mark.parametrize(("wanted", "column", "expected"), [
    (3, [3, 4, None], [True, False, None]),
    ({"!=": 3}, [3, 4, None], [False, True, None]),
    ({"<": 3.5}, [3, 4, None], [True, False, None]),
    ({">=": 3, "<": 5}, [2, 4, 5], [False, True, False]),
    ([3, 4.0, 4.5], [3, 4, 5, None], [True, True, False, None]),
    ({"not in": [3]}, [3, 4, None], [False, True, None]),
    ("DE", ["DE", "de", None], [True, False, None]),
    (True, [True, False, None], [True, False, None]),
    ({"<=": date(2020, 1, 2)}, [date(2020, 1, 2), date(2020, 1, 3), None], [True, False, None]),
    ({"contains": "a"}, ["a", "b| a ", "ab", "", None], [True, True, False, False, None]),
    ({"contains": ["a", "c"]}, [["a"], ["b", "c"], [], None], [True, True, False, None]),
    ({"in": [1]}, [None, None], [None, None]),
    ({"min_age": "1 year"}, [2023, 2024, 2025, None], [True, False, False, None]),
    ({"max_age": "1 year"}, [2022, 2023, 2024, 2025], [False, True, True, True]),
    ({"min_age": "1 year"}, [date(2023, 2, 28), date(2023, 3, 1)], [True, False]),
    ({"max_age": "1 year"}, [date(2023, 2, 28), date(2023, 2, 27)], [True, False]),
    ({"min_age": "30 days"}, [date(2024, 1, 30), date(2024, 1, 31), None], [True, False, None]),
    ({"max_age": "0 days"}, [date(2024, 2, 29), date(2024, 2, 28), date(2025, 1, 1)], [True, False, True]),
    ({"max_age": "99999 years"}, [date(1, 1, 1)], [True]),
])  # fmt: skip
def test_a_comparison_is_true_false_or_unknown(wanted, column, expected):
    assert holds({"x": wanted}, x=column) == expected
    assert [_all(conditions({"x": wanted}), {"x": value}, NIGHT) for value in column] == expected


def test_all_must_hold_and_one_that_does_not_decides():
    found = holds({"x": 1, "y": "a"}, x=[1, 1, 1, 0, None], y=["a", "b", None, None, None])
    assert found == [True, False, None, False, None]


@pytest.mark.parametrize(("wanted", "column"), [
    ("3", [3]), (3, ["3"]), (True, [1]), (1, [True]), ({"<": "b"}, ["a"]), ({"contains": "a"}, [1]),
    (date(2020, 1, 1), ["2020-01-01"]), (["a", 1], ["a"]), ({"min_age": "3 days"}, [2020]), ({"min_age": "3 years"}, [2020.0]),
    ({">": False}, [True]), ({"==": "a"}, [["a"]]),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(wanted, column):
    with pytest.raises(UsageError, match="'x'"):
        holds({"x": wanted}, x=column)


DAYS = st.dates(date(2019, 1, 1), date(2029, 1, 1))


@given(
    st.lists(st.none() | DAYS, min_size=1, max_size=8), DAYS, st.sampled_from(["min_age", "max_age"]),
    st.integers(0, 5), st.sampled_from(["day", "days", "year", "years"]),
)  # fmt: skip
def test_ages_are_the_judges_ages(days, night, operator, count, unit):
    wanted = {operator: f"{count} {unit}"}
    expected = [_all(conditions({"x": wanted}), {"x": day}, night) for day in days]
    assert holds({"x": wanted}, night, x=(days, pa.date32())) == expected
    assert holds({"x": {operator: "1 day"}}, night, x=([night - timedelta(1)],)) == [True]
