"""How well ratings are predicted: by the true rating, by the prediction, by user and by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.report.blocks import Chart, Group, Section, Words
from recsys.report.charts import Axes, Series, bars, lines, points_table, rounded
from recsys.report.source import Source
from recsys.report.text import figure, group_ticks, in_figure, whole

NOTHING = "No rating is held out: there is nothing to compare predictions with."
BASELINE = "means"


def section(source: Source) -> Section:
    """Charts from breakdown.json."""
    raters = source.breakdown.get("raters", {})
    own = raters.get(source.rater, {})
    if not own.get("by_level"):
        return Section("rater", "The rater", [Words(NOTHING)])
    stood_in = source.evaluation["metrics"]["rmse"].get("stood_in", 0)
    about = f"{source.rater} on the held-out ratings, beside {BASELINE}. " + (
        f"For {whole(stood_in)} ratings it could not say, and {BASELINE} stood in." if stood_in else ""
    )
    charts = [
        _density(own, source.breakdown["scale"]), _calibration(own), _by_level(own),
        *(_by_group(raters, source.rater, *parts) for parts in GROUPED),
    ]  # fmt: skip
    return Section("rater", "The rater", [Words(about.strip()), Group("Predictions on the hold-out", charts)])


def _density(own: Mapping[str, Any], scale: Sequence[float]) -> Chart:
    """Of each true rating, how its predictions spread: a column each, so that rare ratings are seen as well."""
    counts = np.array(own["density"], dtype=float)
    edges = np.linspace(scale[0], scale[1], counts.shape[1] + 1)
    names = [figure_short(row["rating"]) for row in own["by_level"]]
    bar = {
        "title": {"text": "share", "side": "right", "font": {"size": 12}}, "tickformat": ".0%", "thickness": 10,
        "outlinewidth": 0, "tickfont": {"size": 11},
    }  # fmt: skip
    trace = {
        "type": "heatmap", "x": names, "y": rounded(((edges[:-1] + edges[1:]) / 2).tolist()),
        "z": [rounded(row) for row in (counts / counts.sum(axis=1, keepdims=True)).T.tolist()], "xgap": 1,
        "colorscale": [[0, "--heat-0"], [0.5, "--heat-1"], [1, "--heat-2"]], "colorbar": bar,
        "hovertemplate": "true %{x}, predicted %{y:.2f}: %{z:.1%}<extra></extra>",
    }  # fmt: skip
    middle = {
        "type": "scatter", "mode": "lines+markers", "name": "mean prediction", "x": names,
        "y": rounded([row["predicted"] for row in own["by_level"]]), "line": {"color": "--ink", "width": 1.5},
        "marker": {"color": "--ink", "size": 6},
        "hovertemplate": "true %{x}, predicted %{y:.2f} on average<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"type": "category", "title": {"text": "True rating"}, "showgrid": False},
        "yaxis": {"title": {"text": "Predicted rating"}, "showgrid": False}, "showlegend": False,
    }  # fmt: skip
    said = ", ".join(f"{figure_short(row['rating'])}: {row['predicted']:.2f}" for row in own["by_level"])
    table = points_table("Mean prediction by true rating", "True rating", names, [
        Series("Ratings", [row["ratings"] for row in own["by_level"]]),
        Series("Mean prediction", [row["predicted"] for row in own["by_level"]]),
    ])  # fmt: skip
    label = f"Density of predicted by true rating; mean prediction by true rating {said}."
    return Chart("rater-density", "Predicted against true rating", label, [trace, middle], layout, table, height=360)


def _calibration(own: Mapping[str, Any]) -> Chart:
    rows = own["calibration"]
    ends = [min(row["predicted"] for row in rows), max(row["predicted"] for row in rows)]
    size = np.sqrt([row["ratings"] for row in rows])
    traces = [
        {"type": "scatter", "mode": "lines", "x": rounded(ends), "y": rounded(ends), "hoverinfo": "skip",
         "line": {"color": "--grey", "width": 1.5, "dash": "dot"}, "name": "as predicted"},
        {"type": "scatter", "mode": "markers", "name": "ratings", "x": rounded([row["predicted"] for row in rows]),
         "y": rounded([row["rating"] for row in rows]), "customdata": [row["ratings"] for row in rows],
         "marker": {"color": "--blue/0.75", "size": rounded((4 + 14 * size / size.max()).tolist())},
         "hovertemplate": "predicted %{x:.2f}: true %{y:.2f}, %{customdata:,} ratings<extra></extra>"},
    ]  # fmt: skip
    weights = np.array([row["ratings"] for row in rows], dtype=float)
    off = float(np.average([abs(row["predicted"] - row["rating"]) for row in rows], weights=weights))
    label = f"Mean true rating by predicted rating; they differ by {figure(off)} on average."
    layout = {
        "xaxis": {"title": {"text": "Predicted rating"}},
        "yaxis": {"title": {"text": "Mean true rating"}},
        "showlegend": False,
    }
    table = points_table("Mean true rating by prediction", "Predicted", [f"{row['predicted']:.2f}" for row in rows], [
        Series("True", [row["rating"] for row in rows]), Series("Ratings", [row["ratings"] for row in rows])
    ])  # fmt: skip
    return Chart("rater-calibration", "Calibration", label, traces, layout, table, height=360)


def _by_level(own: Mapping[str, Any]) -> Chart:
    rows = own["by_level"]
    names = [figure_short(row["rating"]) for row in rows]
    series = [
        Series("rmse", [row["rmse"] for row in rows], colour="--blue"),
        Series("mean absolute error", [row["mae"] for row in rows], colour="--green"),
        Series("mean error", [row["bias"] for row in rows], colour="--orange"),
    ]
    worst = max(rows, key=lambda row: row["rmse"])
    label = f"Errors by true rating; the largest, rmse {figure(worst['rmse'])}, at {figure_short(worst['rating'])}."
    return bars("rater-levels", "Error by true rating", label, names, series, Axes("True rating", "Error"))


GROUPED = (
    ("by_activity", "rater-activity", "Error by how active the user is", "Ratings of the user in training, at least"),
    (
        "by_popularity",
        "rater-popularity",
        "Error by how popular the item is",
        "Ratings of the item in training, at least",
    ),
)


def _by_group(raters: Mapping[str, Any], rater: str, key: str, id: str, title: str, axis: str) -> Chart:
    rows = raters[rater][key]
    names = [row["group"] for row in rows]
    beside = {row["group"]: row["rmse"] for row in raters.get(BASELINE, {}).get(key, [])}
    series = [Series(in_figure(rater), [row["rmse"] for row in rows])]
    if rater != BASELINE:
        series.append(Series(BASELINE, [beside.get(name) for name in names], colour="--grey", dash="dash"))
    said = ", ".join(f"{row['group']}: {figure(row['rmse'])}" for row in rows)
    return lines(id, title, f"rmse by group: {said}.", names, series, Axes(axis, "rmse", ticks=group_ticks(names)))


def figure_short(rating: float) -> str:
    """A rating as people write it.

    >>> figure_short(3.0), figure_short(3.5000001)
    ('3', '3.5')
    """
    return f"{rating:.3g}"
