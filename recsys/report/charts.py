"""Charts of the few kinds that the page needs, from plain numbers. All are bounded by what they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.report.blocks import Chart, Table
from recsys.report.text import NONE, figure, in_figure, share, whole

Number = float | None
COLOURS = ("--blue", "--orange", "--green", "--purple", "--grey")
FEW_DATES = 7  # under a chart on a phone
SIX = 6  # significant digits of a point: a pixel is one in a thousand


@dataclass(frozen=True)
class Series:
    """One line, or one set of bars.

    Attributes:
        name: in the legend and in the table.
        values: None where there is none.
        low, high: bounds of an interval, drawn as a band or as whiskers.
        colour: a name of the page's.
        dash: "solid", "dash" or "dot".
    """

    name: str
    values: Sequence[Number]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    colour: str = "--blue"
    dash: str = "solid"


@dataclass(frozen=True)
class Axes:
    """How the axes are named and cut.

    Attributes:
        x, y: titles.
        dates: whether x are dates; else they are categories, or numbers where `numbers`. Few dates are named each.
        zero: whether y begins at 0.
        percent: whether y are shares.
        ticks: of categories, shorter than their names.
        switch: whether y can be switched to a log scale.
    """

    x: str
    y: str
    dates: bool = False
    numbers: bool = False
    ticks: Sequence[str] = ()
    zero: bool = False
    percent: bool = False
    switch: bool = False


def lines(name: str, title: str, label: str, x: Sequence[Any], series: Sequence[Series], axes: Axes) -> Chart:
    """Lines with bands over common points."""
    traces: list[dict[str, Any]] = []
    for each in series:
        if each.low is not None and each.high is not None:
            traces += _band(x, each)
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": in_figure(each.name), "x": _plain(x),
                "y": rounded(each.values), "line": {"color": each.colour, "width": 2, "dash": each.dash},
                "marker": {"color": each.colour, "size": 6}, "hovertemplate": _hover(axes),
            }
        )  # fmt: skip
    return _chart(name, title, label, traces, x, series, axes, {})


def bars(
    name: str, title: str, label: str, x: Sequence[Any], series: Sequence[Series], axes: Axes, *, stacked: bool = False
) -> Chart:
    """Bars side by side or on top of each other, with whiskers where the series has bounds."""
    traces = [
        {
            "type": "bar", "name": in_figure(each.name), "x": _plain(x), "y": rounded(each.values),
            "marker": {"color": each.colour}, "hovertemplate": _hover(axes),
        }
        for each in series
    ]  # fmt: skip
    return _chart(name, title, label, traces, x, series, axes, {"barmode": "stack" if stacked else "group"})


def flat_bars(name: str, title: str, label: str, rows: Sequence[str], series: Series, axes: Axes) -> Chart:
    """Bars from the left, the first row on top: for names that are long."""
    trace = {
        "type": "bar", "orientation": "h", "name": in_figure(series.name), "y": _plain(rows),
        "x": rounded(series.values), "marker": {"color": series.colour}, "hovertemplate": "%{y}: %{x}<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": axes.x}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "autorange": "reversed", "automargin": True, "showgrid": False},
        "showlegend": False,
    }
    table = points_table(title, axes.y, rows, [series])
    return Chart(name, title, label, [trace], layout, table, height=max(160, 60 + 24 * len(rows)))


def points_table(
    caption: str, head: str, x: Sequence[Any], series: Sequence[Series], show: Callable[[Number], str] | None = None
) -> Table:
    """The numbers of a chart."""
    columns = [head]
    rows = [[str(each)] for each in x]
    for each in series:
        columns.append(each.name)
        draw = show or (whole if _counts([*each.values, *(each.low or ())]) else figure)
        for row, place in zip(rows, range(len(x)), strict=True):
            row.append(_with_bounds(each, place, draw))
    return Table(caption, columns, rows)


def rounded(values: Sequence[Number]) -> list[Number]:
    """The numbers with as many digits as a picture shows; whole ones as such, None where there is none."""
    return [None if value is None or not math.isfinite(value) else _short(value) for value in values]


def _short(value: float) -> float:
    short = float(f"{value:.{SIX}g}")
    return int(value) if float(value).is_integer() else short


def _chart(
    name: str, title: str, label: str, traces: Sequence[dict[str, Any]], x: Sequence[Any], series: Sequence[Series],
    axes: Axes, layout: dict[str, Any],
) -> Chart:  # fmt: skip
    x_axis: dict[str, Any] = {"title": {"text": axes.x}, "automargin": True}
    x_axis["type"] = "date" if axes.dates else "linear" if axes.numbers else "category"
    x_axis |= {} if axes.dates or axes.numbers else {"showgrid": False}
    x_axis |= {"tickvals": list(x), "ticktext": list(axes.ticks)} if axes.ticks else {}
    x_axis |= {"tickvals": list(x), "tickformat": "%-d %b\n%Y"} if axes.dates and len(x) <= FEW_DATES else {}
    y_axis: dict[str, Any] = {"title": {"text": axes.y}, "automargin": True}
    y_axis |= {"rangemode": "tozero"} if axes.zero else {}
    y_axis |= {"tickformat": ".2~%"} if axes.percent else {}
    if axes.zero and not any(value for each in series for value in each.values):
        y_axis |= {"tickvals": [0], "range": [-0.05, 1]}  # else ticks would tell parts of what is whole, and of nothing
    table = points_table(title, axes.x, x, series, share if axes.percent else None)
    shown = {"xaxis": x_axis, "yaxis": y_axis, "showlegend": len(series) > 1, **layout}
    return Chart(name, title, label, traces, shown, table, switch="yaxis" if axes.switch else None)


def _band(x: Sequence[Any], series: Series) -> list[dict[str, Any]]:
    """Two invisible lines with the room between them filled."""
    assert series.low is not None
    assert series.high is not None
    edge = {"type": "scatter", "mode": "lines", "x": _plain(x), "hoverinfo": "skip", "showlegend": False}
    line = {"width": 0, "color": f"{series.colour}/0"}
    return [
        {**edge, "y": rounded(series.low), "line": line},
        {**edge, "y": rounded(series.high), "line": line, "fill": "tonexty", "fillcolor": f"{series.colour}/0.18"},
    ]


def _hover(axes: Axes) -> str:
    return f"%{{x}}: %{{y{':.1%' if axes.percent else ''}}}"


def _plain(x: Sequence[Any]) -> list[Any]:
    return [in_figure(each) if isinstance(each, str) else each for each in x]


def _counts(values: Sequence[Number]) -> bool:
    return all(value is None or float(value).is_integer() for value in values)


def _with_bounds(series: Series, place: int, draw: Callable[[Number], str]) -> str:
    value = draw(series.values[place])
    if series.low is None or series.high is None or value == NONE:
        return value
    return f"{value} [{draw(series.low[place])},\u00a0{draw(series.high[place])}]"
