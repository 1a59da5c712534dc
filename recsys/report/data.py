"""What the ratings are like: counts, what was refused, how they spread over items, users, stars and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.evaluate.groups import group_names, group_of
from recsys.report.blocks import Chart, Grid, Group, Section, Table, Words
from recsys.report.charts import Axes, Series, bars
from recsys.report.source import Source
from recsys.report.text import figure, group_ticks, share, shown, whole

MOST_REASONS = 12
MOST_LEVELS = 40  # bars of the ratings histogram
MOST_ACTIVE = 15
# The unit of the bars of time: the first under which the ratings span no more of them than this.
MOST_BARS = 130
UNITS = (("D", 1, "day"), ("W", 7, "week"), ("M", 30, "month"), ("Y", 365, "year"))
DAY_S = 86_400


def section(source: Source) -> Section:
    """Tables, then histograms, then who rated what."""
    charts = [_ratings_chart(source), _time_chart(source), *_popularity_charts(source)]
    blocks: list[Any] = [_counts(source), *_quarantine(source)]
    blocks += [Group("How the ratings spread", [_long_tail(source), *(chart for chart in charts if chart)])]
    return Section("data", "Data", [*blocks, Group("Who rates most, what is rated most", [_most_active(source)])])


def _counts(source: Source) -> Table:
    counts = source.prepared.counts
    cells = max(counts.users * counts.items, 1)
    once = int(np.count_nonzero(source.item_counts == 1))
    rows = [
        ["Rows read", whole(counts.rows_read), ""],
        ["Rows refused", whole(counts.refused), share(counts.refused / max(counts.rows_read, 1))],
        ["Repeated rows", whole(counts.repeated), share(counts.repeated / max(counts.rows_read, 1))],
        ["Ratings", whole(counts.ratings), f"{share(counts.ratings / cells)} of all pairs"],
        ["Held out", whole(counts.held_out), share(counts.held_out / max(counts.ratings, 1))],
        ["Users", whole(counts.users), f"{whole(counts.users_kept)} learned from"],
        ["Items", whole(counts.items), f"{whole(counts.items_kept)} kept"],
        ["Items with one rating", whole(once), share(once / max(counts.items, 1))],
        ["Scale", f"{counts.rating_min:g} to {counts.rating_max:g}", ""],
    ]
    return Table("Counts of the input", ["What", "Number", "Of which"], rows)


def _quarantine(source: Source) -> list[Any]:
    table = source.prepared.quarantine()
    if not table.num_rows:
        return [Words("No row of the input was refused.")]
    found = sorted(table["reason"].value_counts().to_pylist(), key=lambda each: (-each["counts"], each["values"]))
    rows = [
        [
            shown(each["values"]),
            whole(each["counts"]),
            share(each["counts"] / table.num_rows),
            _example(table, each["values"]),
        ]
        for each in found[:MOST_REASONS]
    ]
    more = sum(each["counts"] for each in found[MOST_REASONS:])
    rows += [["Other reasons", whole(more), share(more / table.num_rows), ""]] if more else []
    return [Table("Refused rows by reason", ["Reason", "Rows", "Share", "First such row"], rows, words=[3])]


def _example(table: Any, reason: str) -> str:
    row = table.slice(pc.index(table["reason"], reason).as_py(), 1).to_pylist()[0]
    return f"{shown(row['file'], 30)}, line {whole(row['line'])}: {shown(row['text'], 60)}"


def _long_tail(source: Source) -> Words:
    counts = source.item_counts[source.by_popularity]
    most, half = max(1, len(counts) // 10), int(np.searchsorted(np.cumsum(counts), counts.sum() / 2) + 1)
    held = float(np.sum(counts[:most])) / float(np.sum(counts))
    return Words(
        f"The most rated tenth of the items ({whole(most)}) holds {share(held)} of the "
        f"ratings; half of the ratings are on {whole(half)} items. "
        f"{source.titles[source.by_popularity[0]]} has the most, {whole(int(counts[0]))}."
    )


def _popularity_charts(source: Source) -> list[Chart]:
    return [
        _by_count("items", "Items by their number of ratings", source.item_counts),
        _by_count("users", "Users by their number of ratings", source.user_counts),
    ]


def _by_count(what: str, title: str, counts: NDArray[np.int64]) -> Chart:
    found = np.bincount(group_of(counts), minlength=1)
    first, last = np.flatnonzero(found)[[0, -1]]
    names, numbers = group_names()[first : last + 1], found[first : last + 1].tolist()
    most = f"most, {whole(max(numbers))}, have {names[int(np.argmax(numbers))]} ratings"
    label = f"{title}: {most}; the median is {np.median(counts):,.0f}."
    axes = Axes("Ratings, at least", what.capitalize(), ticks=group_ticks(names), zero=True, switch=True)
    return bars(f"data-{what}", title, label, names, [Series(what, numbers)], axes)


def _ratings_chart(source: Source) -> Chart:
    values, numbers = _levels(source)
    total = sum(numbers)
    mean = sum(value * number for value, number in zip(values, numbers, strict=True)) / total
    label = f"Ratings by value: the mean is {mean:.2f}, the most frequent {figure(values[int(np.argmax(numbers))])}."
    names = [f"{value:g}" for value in values]
    return bars(
        "data-ratings",
        "Ratings by value",
        label,
        names,
        [Series("ratings", numbers)],
        Axes("Rating", "Ratings", zero=True),
    )


def _levels(source: Source) -> tuple[list[float], list[int]]:
    """The distinct ratings and how many there are of each; the middles of equal steps where they are too many."""
    found: Counter[float] = Counter()
    for chunk in source.chunks("rating"):
        values, numbers = np.unique(chunk, return_counts=True)
        found.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
        if len(found) > MOST_LEVELS:
            return _steps(source)
    return sorted(found), [found[value] for value in sorted(found)]


def _steps(source: Source) -> tuple[list[float], list[int]]:
    counts = source.prepared.counts
    edges = np.linspace(counts.rating_min, counts.rating_max, MOST_LEVELS + 1)
    numbers = sum(np.histogram(chunk, edges)[0] for chunk in source.chunks("rating"))
    return ((edges[:-1] + edges[1:]) / 2).tolist(), np.asarray(numbers).tolist()


def _time_chart(source: Source) -> Chart | None:
    """Bars of the first unit under which there are few enough."""
    ends = [(int(np.min(chunk)), int(np.max(chunk))) for chunk in _times(source) if len(chunk)]
    if not ends:
        return None
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    unit = next((unit for unit in UNITS if (highest - lowest) // DAY_S < unit[1] * MOST_BARS), None)
    if unit is None:  # centuries: a clock was wrong somewhere
        return None
    numbers = np.sum([_counted(chunk, unit[0], lowest, highest) for chunk in _times(source)], axis=0)
    first = np.datetime64(lowest, "s").astype(f"datetime64[{unit[0]}]")
    days = (first + np.arange(len(numbers))).astype("datetime64[D]").astype(str).tolist()
    untimed = source.prepared.counts.ratings - int(numbers.sum())
    title = f"Ratings by {unit[2]}" + (f" ({whole(untimed)} have no time)" if untimed else "")
    most = f"most, {whole(int(np.max(numbers)))}, in that of {days[int(np.argmax(numbers))]}"
    axes = Axes(unit[2].capitalize(), "Ratings", dates=True, zero=True)
    series = Series("ratings", numbers.tolist())
    return bars("data-time", title, f"{title}, from {days[0]} to {days[-1]}; {most}.", days, [series], axes)


def _times(source: Source) -> Iterator[NDArray[np.int64]]:
    """The times of the ratings; one of 0 stands for none."""
    return (chunk[chunk > 0] for chunk in source.chunks("timestamp")) if source.prepared.timed else iter(())


def _counted(times: NDArray[np.int64], unit: str, lowest: int, highest: int) -> NDArray[np.int64]:
    """How many of the times fall into each unit, from that of the lowest to that of the highest."""
    first, last = (np.datetime64(end, "s").astype(f"datetime64[{unit}]").astype(np.int64) for end in (lowest, highest))
    place = times.astype("datetime64[s]").astype(f"datetime64[{unit}]").astype(np.int64) - first
    return np.bincount(place, minlength=int(last - first) + 1)


def _most_active(source: Source) -> Grid:
    """Ratings of the most active users on the most rated items."""
    users = np.argsort(-source.user_counts, kind="stable")[:MOST_ACTIVE]
    items = source.by_popularity[:MOST_ACTIVE]
    return Grid(
        f"The {len(users)} most active users by the {len(items)} most rated items: their ratings",
        "User",
        source.user_names(users),
        [source.titles[item] for item in items],
        [_row(source, int(user), items.tolist()) for user in users],
    )


def _row(source: Source, user: int, items: Sequence[int]) -> list[tuple[str, float] | None]:
    lowest, highest = source.prepared.scale
    rated, ratings = source.ratings_of(user)
    found = dict(zip(rated.tolist(), ratings.tolist(), strict=True))
    reach = (highest - lowest) or 1.0
    return [(f"{found[item]:g}", round((found[item] - lowest) / reach, 2)) if item in found else None for item in items]
