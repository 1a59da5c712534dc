"""Charts hold the numbers they are given, in the figure and in the table beside it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from recsys.report.charts import Axes, Series, bars, lines, rounded
from recsys.report.text import in_script

NUMBERS = st.lists(st.none() | st.floats(), min_size=1, max_size=6)


@given(NUMBERS)
def test_points_are_as_given_to_six_digits_or_left_out(values):
    for value, drawn in zip(values, rounded(values), strict=True):
        if value is None or not math.isfinite(value):
            assert drawn is None
        else:
            assert math.isclose(drawn, value, rel_tol=1e-5)


@given(NUMBERS)
def test_any_numbers_make_a_chart_and_a_table(values):
    names = [f"<b>{place}</b>" for place in range(len(values))]
    series = [Series("a & b", values, values, values), Series("c", values)]
    chart = lines("id", "title", "label", names, series, Axes("x", "y", ticks=names))
    assert in_script(chart.traces)
    assert [row[0] for row in chart.table.rows] == names
    assert all(len(row) == len(chart.table.columns) == 3 for row in chart.table.rows)
    assert chart.traces[-1]["x"][0] == "&lt;b&gt;0&lt;/b&gt;"


def test_bands_have_two_edges_and_bars_have_none():
    series = Series("a", [1.0, 2.0], [0.5, 1.5], [1.5, 2.5])
    drawn = lines("id", "title", "label", [1, 2], [series], Axes("x", "y", numbers=True)).traces
    assert [trace["y"] for trace in drawn] == [[0.5, 1.5], [1.5, 2.5], [1, 2]]
    assert drawn[1]["fill"] == "tonexty"
    chart = bars("id", "title", "label", ["p", "q"], [series], Axes("x", "y"))
    assert [trace["y"] for trace in chart.traces] == [[1, 2]]
    assert chart.table.rows == [["p", "1.000 [0.5000,\u00a01.500]"], ["q", "2.000 [1.500,\u00a02.500]"]]
    shares = bars("id", "title", "label", ["p", "q"], [series], Axes("x", "y", percent=True))
    assert shares.table.rows[0] == ["p", "100.0% [50.0%,\u00a0150.0%]"]


def test_few_nights_are_named_each_and_many_are_left_to_the_figure():
    for n, named in ((2, True), (7, True), (8, False)):
        nights = [f"2026-11-{day:02d}" for day in range(1, n + 1)]
        axis = lines("id", "title", "label", nights, [Series("a", [1.0] * n)], Axes("x", "y", dates=True)).layout[
            "xaxis"
        ]
        assert (axis.get("tickvals") == nights) == named


def test_an_axis_of_nothing_but_zeros_has_one_tick():
    for values, ticks in (([0, 0.0, None], [0]), ([0, 0.1, None], None)):
        drawn = lines("id", "title", "label", [1, 2, 3], [Series("a", values)], Axes("x", "y", zero=True))
        assert drawn.layout["yaxis"].get("tickvals") == ticks
