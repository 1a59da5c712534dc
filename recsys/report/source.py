"""What a report is made from: the run's own files, and the nights before in its store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.evaluate.breakdown import BREAKDOWN
from recsys.gate.stage import DRIFT, verdict_of
from recsys.gate.verdict import Verdict
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import by_popularity
from recsys.publish.manifest import timings
from recsys.report.text import shown
from recsys.run import Run

CHUNK = 1 << 22  # ratings looked at together: 4 million of 8 bytes, and as much again for what is counted


@dataclass(frozen=True)
class Source:
    """The files of one run whose tables stand; each is read when it is first asked for."""

    run: Run

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def prepared(self) -> Prepared:
        """The ratings."""
        return self._prepared

    @cached_property
    def _prepared(self) -> Prepared:
        return self.run.prepared

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json."""
        return read_json(self.folder / "evaluation.json")

    @cached_property
    def breakdown(self) -> dict[str, Any]:
        """breakdown.json."""
        return read_json(self.folder / BREAKDOWN)

    @cached_property
    def drift(self) -> dict[str, Any]:
        """drift.json."""
        return read_json(self.folder / DRIFT)

    @cached_property
    def timings(self) -> dict[str, Any]:
        """Seconds and peak memory of the stages before this one."""
        return {stage: taken for stage, taken in timings(self.run).items() if stage != "report"}

    @property
    def ranker(self) -> str:
        """Name of the model that orders."""
        return self.run.config.train.ranker

    @property
    def rater(self) -> str:
        """Name of the model that predicts ratings."""
        return self.run.config.train.rater

    @cached_property
    def titles(self) -> list[str]:
        """Title of each item_index, its id where it has none."""
        items = self.prepared.items()
        pairs = zip(items["title"].to_pylist(), items["item_id"].to_pylist(), strict=True)
        return [shown(title or str(item_id)) for title, item_id in pairs]

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """(n_items,) ratings of each item, the hold-out included."""
        return self.prepared.training_set("all").item_counts

    @cached_property
    def by_popularity(self) -> NDArray[np.int32]:
        """All item_index by (ratings descending, item_index ascending)."""
        return by_popularity(self.item_counts)

    @cached_property
    def user_counts(self) -> NDArray[np.int64]:
        """(n_users,) ratings of each user."""
        return np.diff(self.prepared.array("indptr"))

    @property
    def rows_by_source(self) -> dict[str, int]:
        """Rows of the recommendations by `source`."""
        rows: dict[str, int] = self.drift["now"]["rows"]
        return rows

    @cached_property
    def verdict(self) -> Verdict:
        """The gate's."""
        return verdict_of(self.run)

    def user_names(self, users: Sequence[int] | NDArray[Any]) -> list[str]:
        """The ids of some users, as text."""
        return [shown(str(user)) for user in self.user_ids(users)]

    def user_ids(self, users: Sequence[int] | NDArray[Any]) -> list[Any]:
        """The ids of some users."""
        ids: list[Any] = self.prepared.ids.user_ids.take(pa.array(users, pa.int64())).to_pylist()
        return ids

    def chunks(self, name: str) -> Iterator[NDArray[Any]]:
        """One of the arrays of a value a rating, part after part."""
        total = self.prepared.counts.ratings
        for start in range(0, total, CHUNK):
            yield self.prepared.array(name, start, min(start + CHUNK, total))

    def ratings_of(self, user: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """item_index and rating of a user, by item."""
        rows = self.prepared.array("indptr", user, user + 2)
        return self.prepared.array("item_index", *rows), self.prepared.array("rating", *rows)

    @property
    def everybody(self) -> Shard:
        """All users."""
        return Shard(0, self.prepared.counts.users)


def read_json(path: Path) -> dict[str, Any]:
    """A file of the run's own."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def metric(record: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A metric of an evaluation, None where it was not measured."""
    value: Mapping[str, Any] | None = record["metrics"].get(name)
    return value
