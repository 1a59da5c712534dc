"""Texts to numbers: the ways for many texts agree with the ways for one."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.read import values

LOOSE = st.one_of(
    st.from_regex(r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?",
        fullmatch=True,
    ),
    st.datetimes().map(str),
    st.text(max_size=5),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(LOOSE, min_size=1, max_size=8))
def test_together_as_one_by_one(texts):
    array = pa.array(texts, pa.string())
    for together, one in ((values.numbers, values.to_number), (values.seconds, values.to_seconds)):
        converted, known = together(array)
        each = [one(text.strip(" \t")) for text in texts]
        assert known.tolist() == [value is not None for value in each]
        assert converted.tolist() == [value or 0 for value in each]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-(2**65), 2**65).map(str), st.integers().map("{}.00".format), LOOSE), min_size=1))
def test_an_integer_is_what_python_writes_of_it_whole_or_as_a_float(texts):
    def canonical(text: str) -> bool:
        whole, point, zeros = text.strip(" \t").partition(".")
        try:
            return str(int(whole)) == whole and -(2**63) <= int(whole) < 2**63 and set(zeros) == set("0" * len(point))
        except ValueError:
            return False

    assert values.is_integer(pa.array(texts, pa.string())).tolist() == [canonical(text) for text in texts]


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "-1e999", "0000-01-01", "2001-02-29", "24:00", ""])
def test_no_timestamp(text):
    assert values.to_seconds(text) is None
