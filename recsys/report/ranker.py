"""How good the lists are: at each k, for whom, and of what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys.report.blocks import Chart, Group, Section, Table, Words
from recsys.report.charts import Axes, Series, bars, lines
from recsys.report.source import Source
from recsys.report.text import figure, group_ticks, share

BASELINE = "popular"
AT_K = (
    ("ndcg", "NDCG"), ("precision", "Precision"), ("recall", "Recall"), ("hit_rate", "Hit rate"),
)  # fmt: skip
OF_LISTS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("coverage", "Coverage", share), ("novelty", "Novelty, bits", figure), ("diversity", "Diversity", figure),
    ("gini", "Gini", figure),
)  # fmt: skip
PER_GROUP = (
    ("ndcg", "NDCG@10", False), ("precision", "Precision@10", False), ("recall", "Recall@10", False),
    ("coverage", "Coverage of their lists", True), ("novelty", "Novelty of their lists, bits", False),
)  # fmt: skip
ACTIVITY, POPULARITY = "Ratings of the user in training, at least", "Ratings of the item in training, at least"


def section(source: Source) -> Section:
    """At k, then by group."""
    rankers = source.breakdown.get("rankers", {})
    own = rankers.get(source.ranker, {})
    blocks: list[Any] = [Group("At each k", [*_at_k(source), _of_lists(source)])]
    if own.get("by_activity"):
        blocks.append(Group("By how active the users are", _by_activity(rankers, source.ranker)))
    if own.get("by_popularity"):
        blocks.append(Group("By how popular the items are", _by_popularity(rankers, source.ranker)))
    about = (
        f"{source.ranker} beside {BASELINE}, on lists in the published format; all items the user has not rated in "
        "training are candidates."
    )
    return Section("ranker", "The ranker", [Words(about), *blocks])


def _both(source: Source) -> list[tuple[str, Mapping[str, Any], str, str]]:
    """Name, metrics, colour and dash of the ranker and, where it is another, of the baseline."""
    own = (source.ranker, source.evaluation.get("metrics", {}), "--blue", "solid")
    other = (BASELINE, source.evaluation.get("baselines", {}).get(BASELINE, {}), "--grey", "dash")
    return [own] if source.ranker == BASELINE else [own, other]


def _at_k(source: Source) -> list[Chart]:
    cutoffs = sorted(set(source.run.config.evaluate.cutoffs))
    return [
        _one_at_k(metric, title, cutoffs, source)
        for metric, title in AT_K
        if f"{metric}@10" in source.evaluation.get("metrics", {})
    ]


def _one_at_k(metric: str, title: str, cutoffs: Sequence[int], source: Source) -> Chart:
    series = [
        Series(
            name,
            [found.get(f"{metric}@{k}", {}).get("value") for k in cutoffs],
            [found.get(f"{metric}@{k}", {}).get("low") for k in cutoffs],
            [found.get(f"{metric}@{k}", {}).get("high") for k in cutoffs],
            colour,
            dash,
        )
        for name, found, colour, dash in _both(source)
    ]
    said = "; ".join(
        f"{each.name} " + ", ".join(f"{figure(v)} at {k}" for v, k in zip(each.values, cutoffs, strict=True))
        for each in series
    )
    axes = Axes("k", title, zero=True)
    return lines(f"ranker-{metric}", f"{title} at k", f"{title}: {said}.", [str(k) for k in cutoffs], series, axes)


def _of_lists(source: Source) -> Table:
    cutoffs = sorted(set(source.run.config.evaluate.cutoffs))
    rows = [
        [title, *(draw(found.get(f"{metric}@{k}", {}).get("value")) for _, found, *_ in _both(source) for k in cutoffs)]
        for metric, title, draw in OF_LISTS
    ]
    columns = ["Metric", *(f"{name} at\u00a0{k}" for name, *_ in _both(source) for k in cutoffs)]
    return Table("What the lists are like", columns, rows)


def _by_activity(rankers: Mapping[str, Any], ranker: str) -> list[Chart]:
    rows = rankers[ranker]["by_activity"]
    names = [row["group"] for row in rows]
    charts = []
    for metric, title, percent in PER_GROUP:
        series = _series(rankers, ranker, "by_activity", metric, names)
        axes = Axes(ACTIVITY, title, ticks=group_ticks(names), zero=True, percent=percent)
        said = ", ".join(f"{row['group']}: {figure(row[metric])}" for row in rows)
        charts.append(lines(f"ranker-activity-{metric}", title, f"{title} by activity: {said}.", names, series, axes))
    axes = Axes(ACTIVITY, "Users", ticks=group_ticks(names), zero=True, switch=True)
    title, users = "Users with a held-out rating", Series("users", [row["users"] for row in rows])
    said = ", ".join(f"{row['group']}: {row['users']:,}" for row in rows)
    return [*charts, bars("ranker-activity-users", title, f"{title} by activity: {said}.", names, [users], axes)]


def _series(rankers: Mapping[str, Any], ranker: str, key: str, metric: str, names: Sequence[str]) -> list[Series]:
    found = []
    for name, colour, dash in ((ranker, "--blue", "solid"), (BASELINE, "--grey", "dash")):
        values = {row["group"]: row[metric] for row in rankers.get(name, {}).get(key, [])}
        found.append(Series(name, [values.get(each) for each in names], colour=colour, dash=dash))
    return found[:1] if ranker == BASELINE else found


def _by_popularity(rankers: Mapping[str, Any], ranker: str) -> list[Chart]:
    rows = rankers[ranker]["by_popularity"]
    names = [row["group"] for row in rows]
    share_axes = Axes(POPULARITY, "Share", ticks=group_ticks(names), zero=True, percent=True)
    charts = [
        bars("ranker-popularity-listed", "What is listed, and what is wanted",
             f"Share of the places in the lists by popularity: {_said(rows, 'listed')}.", names,
             _listed_and_wanted(rankers, ranker, names), share_axes),
    ]  # fmt: skip
    for key, title in (("found", "Held-out ratings found in the first 10"), ("coverage", "Items that stand in a list")):
        series = _series(rankers, ranker, "by_popularity", key, names)
        charts.append(
            lines(f"ranker-popularity-{key}", title, f"{title}: {_said(rows, key)}.", names, series, share_axes)
        )
    axes = Axes(POPULARITY, "Items", ticks=group_ticks(names), zero=True, switch=True)
    items = Series("items", [row["items"] for row in rows])
    said = ", ".join(f"{row['group']}: {row['items']:,}" for row in rows)
    return [*charts, bars("ranker-popularity-items", "Items", f"Items by popularity: {said}.", names, [items], axes)]


def _listed_and_wanted(rankers: Mapping[str, Any], ranker: str, names: Sequence[str]) -> list[Series]:
    rows = rankers[ranker]["by_popularity"]
    held_out = sum(row["held_out"] for row in rows) or 1
    wanted = Series("held-out ratings", [row["held_out"] / held_out for row in rows], colour="--green")
    places = Series("places in the lists", [row["listed"] for row in rows], colour="--blue")
    others = _series(rankers, ranker, "by_popularity", "listed", names)[1:]
    return [wanted, places, *(Series(f"places in {each.name}'s", each.values, colour="--grey") for each in others)]


def _said(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    return ", ".join(f"{row['group']}: {share(row[name])}" for row in rows)
