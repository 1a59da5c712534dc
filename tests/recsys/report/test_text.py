"""Text of the input: shown whole where it is short, and never as anything but text."""

import doctest
import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluate import groups
from recsys.report import page, rater, text

ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


@pytest.mark.parametrize("module", [text, page, rater, groups])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


@given(st.text(max_size=80).filter(lambda value: value.isprintable()))
def test_short_printable_text_is_shown_as_it_is(value):
    assert text.shown(value, 80) == value


@given(st.text())
def test_no_control_character_is_shown(value):
    shown = text.shown(value)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", shown)
    assert len(shown) <= text.MOST_SHOWN


@given(st.text(max_size=90))
def test_plotly_finds_neither_tags_nor_entities(value):
    written = text.in_figure(value)
    assert "<" not in written
    assert not re.search(r"&(?!lt;|gt;|amp;)", written)
    assert html.unescape(written) == text.shown(value).translate(text._TURNING)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_script_is_the_same_and_ends_nothing(value):
    written = text.in_script(value)
    assert json.loads(written) == value
    assert not re.search("[<>&\u2028\u2029]", written)


def test_numbers_that_are_none_finite_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        text.in_script([float("nan")])
