"""Tonight against last night and the nights before, from the store's table of nights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa

from recsys.drift.nights import read_nights
from recsys.gate.verdict import PROMOTED, UNGATED
from recsys.report.blocks import Chart, Group, Section, Table, Words
from recsys.report.charts import Axes, Series, bars, lines
from recsys.report.source import Source, metric
from recsys.report.text import NONE, figure, share, whole
from recsys.tables import NIGHTS as NIGHTS_SCHEMA

log = logging.getLogger("recsys")

NIGHTS = 30  # shown before tonight
PUBLISHED = (PROMOTED, UNGATED)
NOTHING = "No earlier night of this dataset is recorded in the store yet: from the next night on it stands here."

Row = dict[str, Any]
Draw = Callable[[float | None], str]
COMPARED: tuple[tuple[str, str, Draw], ...] = (
    ("ndcg@10", "ndcg@10", figure), ("rmse", "rmse", figure), ("coverage@10", "coverage@10", share),
    ("novelty@10", "novelty@10", figure), ("ratings", "Ratings", whole), ("users", "Users", whole),
    ("items", "Items", whole), ("refused_share", "Refused rows", share), ("new_users", "New users", whole),
    ("vanished_users", "Vanished users", whole), ("new_items", "New items", whole),
    ("vanished_items", "Vanished items", whole), ("rating_mean", "Mean rating", figure),
    ("rating_psi", "Drift of the ratings (PSI)", figure), ("rows_model", "Rows by the model", whole),
    ("rows_fold_in", "Rows by fold-in", whole), ("rows_popular", "Rows by popularity", whole),
    ("list_overlap", "Lists unchanged (overlap)", share), ("list_rbo", "Lists unchanged (rank-biased)", share),
    ("fallback_share", "Rows filled up by popularity", share),
    ("mean_popularity", "Mean popularity of listed items", share),
)  # fmt: skip


@dataclass(frozen=True)
class Nights:
    """Rows of the table of nights of one dataset.

    Attributes:
        tonight: this run's own.
        before: of the nights before, oldest first.
    """

    tonight: Row
    before: Sequence[Row]

    @property
    def last(self) -> Row:
        """The last night before that was published, else the last; empty where there is none."""
        published = [row for row in self.before if row.get("verdict") in PUBLISHED]
        return (published or list(self.before) or [{}])[-1]

    def column(self, name: str) -> list[Any]:
        """A figure of all nights, tonight last."""
        return [row.get(name) for row in (*self.before, self.tonight)]

    def has(self, name: str) -> bool:
        """Whether a figure is known of any night."""
        return any(value is not None for value in self.column(name))


def nights_of(source: Source) -> Nights:
    """The nights of the run's dataset; tonight's own row is written with its manifest, later than this."""
    run = source.run
    earlier = [
        row for row in _rows(run.store) if row["run_date"] < run.run_date and row["dataset"] == run.snapshot.dataset
    ]
    # A night may have been run twice: the run that was published counts, else the last by id.
    by_date = {row["run_date"]: row for row in sorted(earlier, key=lambda row: row["verdict"] in PUBLISHED)}
    return Nights(_tonight(source), [by_date[night] for night in sorted(by_date)[-NIGHTS:]])


def section(source: Source) -> Section:
    """The table, then how the figures went."""
    nights = nights_of(source)
    if not nights.before:
        return Section("nights", "Tonight against the nights before", [Words(NOTHING)])
    charts = [chart for chart in (draw(nights) for draw in DRAWN) if chart is not None]
    about = f"Earlier nights of this dataset here: {len(nights.before)}, of at most {NIGHTS}."
    return Section(
        "nights", "Tonight against the nights before", [_table(nights), Words(about), Group("How it went", charts)]
    )


def _rows(store: Path) -> list[Row]:
    try:
        return read_nights(store).to_pylist()  # type: ignore[no-any-return]
    except (OSError, pa.ArrowException) as error:  # the nights before are decoration: this one goes on
        log.warning("report: the nights before are left out, they cannot be read: %s", error)
        return []


def _tonight(source: Source) -> Row:
    now, change = source.drift["now"], source.drift["change"] or {}
    row = {name: now.get(name, change.get(name)) for name in NIGHTS_SCHEMA.names}
    row |= {f"rows_{name}": count for name, count in source.rows_by_source.items()}
    for name in ("ndcg@10", "rmse", "coverage@10", "novelty@10"):
        value = metric(source.evaluation, name) or {}
        row |= {name: value.get("value"), f"{name}_low": value.get("low"), f"{name}_high": value.get("high")}
    return row | {"run_date": source.run.run_date, "run_id": source.run.run_id}


def _table(nights: Nights) -> Table:
    last = nights.last
    known = [row for row in COMPARED if nights.has(row[0])]
    rows = [
        [
            title,
            draw(nights.tonight.get(name)),
            draw(last.get(name)),
            _change(nights.tonight.get(name), last.get(name), draw),
            _range([row.get(name) for row in nights.before], draw),
        ]
        for name, title, draw in known
    ]
    columns = ["Figure", "Tonight", "Last", "Change", "Lowest, median, highest before"]
    if len(nights.before) == 1:  # all three are the last
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(f"Tonight, the last night ({last['run_date']}), and all before", columns, rows)


def _change(now: float | None, then: float | None, draw: Draw) -> str:
    if now is None or then is None:
        return NONE
    if now == then:
        return "0"
    change = draw(now - then)
    sign = "+" if now > then else ""
    return f"{sign}{change[:-1]}\u00a0points" if draw is share else f"{sign}{change}"


def _range(values: Sequence[float | None], draw: Draw) -> str:
    known = [value for value in values if value is not None]
    return "\u00a0·\u00a0".join(draw(value) for value in (min(known), median(known), max(known))) if known else NONE


def _dates(rows: Sequence[Row]) -> list[str]:
    return [row["run_date"].isoformat() for row in rows]


def _metric(name: str, title: str) -> Callable[[Nights], Chart | None]:
    def draw(nights: Nights) -> Chart | None:
        if not nights.has(name):
            return None
        bounds = [nights.column(f"{name}_{end}") for end in ("low", "high")]
        series = Series(name, nights.column(name), *(bounds if nights.has(f"{name}_low") else (None, None)))
        label = f"{name} by night; tonight {figure(nights.tonight.get(name))}."
        return lines(f"nights-{_slug(name)}", title, label, _x(nights), [series], Axes("Night", name, dates=True))

    return draw


def _several(
    id: str, title: str, parts: Sequence[tuple[str, str, str]], y: str, *, percent: bool = False, stacked: bool = False
) -> Callable[[Nights], Chart | None]:
    def draw(nights: Nights) -> Chart | None:
        known = [part for part in parts if nights.has(part[0])]
        if not known:
            return None
        series = [Series(name, nights.column(column), colour=colour) for column, name, colour in known]
        label = f"{title} by night; tonight " + ", ".join(
            f"{name} {(share if percent else figure)(nights.tonight.get(column))}" for column, name, _ in known
        )
        axes = Axes("Night", y, dates=True, zero=True, percent=percent)
        drawn = bars if stacked else lines
        more = {"stacked": True} if stacked else {}
        return drawn(f"nights-{id}", title, f"{label}.", _x(nights), series, axes, **more)  # type: ignore[operator]

    return draw


def _x(nights: Nights) -> list[str]:
    return _dates([*nights.before, nights.tonight])


def _slug(name: str) -> str:
    return name.replace("@", "-at-")


DRAWN: tuple[Callable[[Nights], Chart | None], ...] = (
    _metric("ndcg@10", "Ranking: ndcg@10 with its interval"),
    _metric("rmse", "Ratings: rmse with its interval"),
    _several("users", "Users and items", [("users", "users", "--blue"), ("items", "items", "--orange")], "Number"),
    _several("ratings", "Ratings of the input", [("ratings", "ratings", "--blue")], "Ratings"),
    _several("rows", "Rows of the lists by source",
             [("rows_model", "model", "--blue"), ("rows_fold_in", "fold-in", "--green"),
              ("rows_popular", "popular", "--orange")], "Rows", stacked=True),
    _several("churn", "How much of the lists stayed",
             [("list_overlap", "overlap", "--blue"), ("list_rbo", "rank-biased overlap", "--orange")], "Share",
             percent=True),
    _several("come", "Users and items that came and went",
             [("new_users", "new users", "--blue"), ("vanished_users", "vanished users", "--purple"),
              ("new_items", "new items", "--green"), ("vanished_items", "vanished items", "--orange")], "Number"),
    _several("psi", "Drift of the ratings (population stability index)", [("rating_psi", "PSI", "--purple")], "PSI"),
    _several("refused", "Refused rows", [("refused_share", "refused", "--orange")], "Share", percent=True),
    _several("catalogue", "Coverage of the lists", [("coverage@10", "coverage@10", "--green")], "Share", percent=True),
)  # fmt: skip
