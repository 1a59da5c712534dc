"""Some users: what they rated, beside what they get and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.report.blocks import Section, Table, Words
from recsys.report.source import Source
from recsys.report.text import NONE, figure, whole
from recsys.score.stage import served_users

N_PEOPLE = 6
MOST_ROWS = 10
SOURCE_WORDS = {"model": "by the model", "fold_in": "from their own ratings", "popular": "by popularity"}


@dataclass(frozen=True)
class Person:
    """A user with two tables."""

    name: str
    about: str
    rated: Table
    gets: Table
    kind: ClassVar[str] = "person"


def section(source: Source) -> Section:
    """One user of each sixth by activity, drawn with the run's seed."""
    users = _sample(source)
    lists = _lists(source, users)
    about = (
        "Drawn with the run's seed, one from each part of the users by how much they rated. “Because of” names the "
        "rated item that adds most to the score, where the model can say exactly."
    )
    people = [_person(source, user, lists.get(user, [])) for user in users]
    return Section("people", "Some users", [Words(about), *people])


def _sample(source: Source) -> list[int]:
    """user_index, the most active first."""
    served = served_users(source.prepared)
    order = served[np.argsort(-source.user_counts[served], kind="stable")]
    rng = np.random.default_rng(source.run.config.seed)
    return [int(rng.choice(part)) for part in np.array_split(order, min(N_PEOPLE, len(order)))]


def _lists(source: Source, users: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Rows of the recommendations of each user."""
    ids = source.user_ids(users)
    wanted = [("user_id", "in", ids)]
    rows = pq.read_table(source.folder / "recommendations", filters=wanted, partitioning=None).to_pylist()
    by_id: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        by_id.setdefault(row["user_id"], []).append(row)
    return {user: by_id.get(user_id, []) for user, user_id in zip(users, ids, strict=True)}


def _person(source: Source, user: int, rows: Sequence[Mapping[str, Any]]) -> Person:
    item, rating = source.ratings_of(user)
    order = np.lexsort((item, -rating))[:MOST_ROWS]
    name = f"User {source.user_names([user])[0]}"
    rated = [[source.titles[item[place]], f"{rating[place]:g}"] for place in order]
    titles = _titles(source, rows)
    gets = [
        [
            str(row["rank"]), titles[row["item_id"]], _number(row["predicted_rating"]),
            SOURCE_WORDS[row["source"]], titles.get(row["because_item_id"], NONE),
        ]
        for row in rows[:MOST_ROWS]
    ]  # fmt: skip
    sources = {row["source"] for row in rows[:MOST_ROWS]}
    mean = f", {rating.mean():.2f} on average" if len(rating) else ""
    about = f"{whole(len(rating))} {'rating' if len(rating) == 1 else 'ratings'}{mean}"
    return Person(
        name, about,
        Table(f"{name} rated highest", ["Item", "Rating"], rated),
        _gets(name, gets, sources),
    )  # fmt: skip


def _gets(name: str, rows: Sequence[Sequence[str]], sources: set[str]) -> Table:
    """The list; the source has a column only where the rows come from several."""
    columns = ["Rank", "Item", "Predicted", "Source", "Because of"]
    if not rows:
        return Table(f"{name} gets nothing: no item is left", columns, rows, words=[1, 3, 4], short=True)
    if len(sources) != 1:
        return Table(f"{name} gets", columns, rows, words=[1, 3, 4], short=True)
    caption = f"{name} gets, {SOURCE_WORDS[next(iter(sources))]}"
    fewer = [[*row[:3], *row[4:]] for row in rows]
    return Table(caption, [*columns[:3], *columns[4:]], fewer, words=[1, 3], short=True)


def _titles(source: Source, rows: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Titles of the items that the rows name."""
    ids = source.prepared.ids
    named = list(dict.fromkeys(row[key] for row in rows[:MOST_ROWS] for key in ("item_id", "because_item_id")))
    known = [item_id for item_id in named if item_id is not None]
    index = ids.item_index(pa.array(known, ids.item_ids.type)).tolist()
    return {item_id: source.titles[item] for item_id, item in zip(known, index, strict=True)}


def _number(value: float | None) -> str:
    return figure(None) if value is None else f"{value:.2f}"
