"""Reading what was published: the tables of a night, a person's lists, predictions of given pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import tables
from recsys.download.columns import pairs_format
from recsys.download.objects import one_file
from recsys.errors import RecsysError, UsageError, sample
from recsys.history.holds import read_holds
from recsys.identifiers import UNKNOWN
from recsys.models import registry
from recsys.models.base import Ranker, Rater
from recsys.parquet import write_file
from recsys.prepare.prepared import Prepared
from recsys.publish.damage import Damage, DamagedRun, damaged_run, find_damage, find_damage_by_size
from recsys.ratings import IdType
from recsys.read import read_pairs
from recsys.read.blocks import file_bytes
from recsys.read.ids import typed_ids
from recsys.store import MANIFEST, REFUSED, TABLES, Pointer, Store, folder_of, open_store, run_id_of
from recsys.store.contents import Contents, LocalContents
from recsys.store.manifest import sealed_manifest

log = logging.getLogger("recsys")

BLOCK = 1 << 20  # pairs predicted at a time: about 50 MB of indices, gathers and results


@dataclass(frozen=True)
class PublishedRun:
    """A complete run of a store.

    Attributes:
        folder: of the run on this machine. What an object store has is fetched into it when it is asked for.
        store: the run's; None: a folder by itself.
    """

    folder: Path
    store: Store | None = None

    @classmethod
    def open(cls, store: Store | Path | str, run_date: date | None = None) -> PublishedRun:
        """The published run, or the latest complete one of a date.

        Args:
            store: it, or its folder or URI.

        Raises:
            UsageError: there is none, or the pointer is broken.
            SourceUnavailable: the object store cannot be reached.
        """
        opened = open_store(store)
        return cls(opened.root / _published(opened).path, opened) if run_date is None else _of_date(opened, run_date)

    @property
    def address(self) -> str:
        """Where other readers find it: its folder or URI."""
        return self.store.shown(self.folder) if self.store else str(self.folder)

    def part(self, name: str) -> Path:
        """A part of the run on this machine: a table, `prepared`, `model/rater`."""
        return self.store.here(self.folder, name) if self.store else self.folder / name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest.

        Raises:
            DamagedRun: it is gone, or not as it was written.
        """
        try:
            return sealed_manifest(self.folder)
        except UsageError as error:
            raise self.damaged(self.damage()) from error

    @property
    def run_id(self) -> str:
        """The run's id."""
        return run_id_of(self.folder)

    @property
    def pointer(self) -> Pointer:
        """What leads readers to the run."""
        path = f"runs/{self.folder.parent.name}/{self.folder.name}"
        return Pointer(date.fromisoformat(self.manifest["run_date"]), self.run_id, path)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the run's files: whatever fails on a damaged run is told as that; on a whole one it is a defect.

        Raises:
            DamagedRun: names the files.
        """
        try:
            yield
        except RecsysError:
            raise
        except Exception:
            self.verify()
            raise

    @cached_property
    def prepared(self) -> Prepared:
        """The ratings the run was made from."""
        return Prepared(self.part("prepared"))

    @cached_property
    def titles(self) -> Mapping[Any, str | None]:
        """Title of each item_id; None where the input has none."""
        items = self.prepared.items()
        return dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""
        there = {entry["path"].partition("/")[0] for entry in self.manifest["files"]}
        return tuple(name for name in TABLES if name in there)

    def table(self, name: str) -> Path:
        """The folder of a table on this machine.

        Raises:
            UsageError: there is no such table in this run.
            DamagedRun: a file of it is missing or of another size.
        """
        self._check_table(name)
        return self.part(name)

    def address_of(self, name: str) -> str:
        """The folder or URI of a table.

        Raises:
            UsageError, DamagedRun: as `table`.
        """
        self._check_table(name)
        return self.store.shown(self.folder / name) if self.store else str(self.folder / name)

    def _check_table(self, name: str) -> None:
        if name not in self.tables:
            raise UsageError(
                f"Run {self.run_id} has no table {name!r}.",
                expected=f"one of {', '.join(self.tables)}",
                found=name,
                todo="choose one of them",
            )
        entries = [entry for entry in self.manifest["files"] if entry["path"].startswith(f"{name}/")]
        damage = find_damage_by_size(self._contents, entries)
        if damage:
            raise self.damaged(damage)

    def user_id(self, text: str) -> Any:
        """A user id as typed by a person, in the type of the input.

        Raises:
            UsageError: it is not of that type, or no such user has a rating.
        """
        ids = self.prepared.ids
        try:
            value = int(text) if pa.types.is_integer(ids.user_ids.type) else text
            index = int(ids.user_index(pa.array([value], ids.user_ids.type))[0])
        except (ValueError, OverflowError, pa.ArrowInvalid):
            index = -1
        if index < 0:
            raise UsageError(
                f"There is no user {text!r} in run {self.run_id}.",
                expected=f"one of {ids.n_users:,} {ids.user_ids.type} ids",
                found=repr(text),
                todo=f"for example {sample(ids.user_ids.slice(0, 3).to_pylist())}",
            )
        return value

    def recommendations_of(self, user_id: Any) -> list[dict[str, Any]]:
        """A user's rows of `recommendations`, by rank, with titles."""
        rows = pq.read_table(self.table("recommendations"), filters=[("user_id", "=", user_id)], partitioning=None)
        return [row | {"title": self.titles.get(row["item_id"])} for row in rows.to_pylist()]

    def ratings_of(self, user_id: Any) -> list[dict[str, Any]]:
        """A user's valid ratings by (rating descending, item_id ascending), with titles."""
        ids = self.prepared.ids
        index = int(ids.user_index(pa.array([user_id], ids.user_ids.type))[0])
        if index == UNKNOWN:
            return []
        rows = self.prepared.array("indptr", index, index + 2)
        item, rating = self.prepared.array("item_index", *rows), self.prepared.array("rating", *rows)
        order = np.lexsort((item, -rating))
        item_ids = ids.item_ids.take(pa.array(item[order])).to_pylist()
        return [
            {"item_id": item_id, "title": self.titles.get(item_id), "rating": float(value)}
            for item_id, value in zip(item_ids, rating[order], strict=True)
        ]

    def predict(self, pairs: pa.Table) -> pa.Table:
        """Predicted ratings of (user_id, item_id) pairs, in their order, clipped to the scale; null where unknown.

        An id that is missing or not of the run's type is null too, and its row stays where it was.
        """
        ids, model = self.prepared.ids, self.rater()
        schema = tables.predictions(ids.user_ids.type, ids.item_ids.type)
        typed = [_as_type(pairs[name], schema.field(name).type) for name in ("user_id", "item_id")]
        lowest, highest = np.array(self.prepared.scale, dtype=np.float32)
        predicted = np.empty(pairs.num_rows, dtype=np.float32)
        for start in range(0, pairs.num_rows, BLOCK):
            block = slice(start, start + BLOCK)
            user, item = (column.slice(start, BLOCK) for column in typed)
            predicted[block] = np.clip(model.predict(ids.user_index(user), ids.item_index(item)), lowest, highest)
        unknown = np.isnan(predicted)
        if model.name == "means":  # it has a word for any pair; a rater may only speak of what it knows
            unknown |= (ids.user_index(typed[0]) < 0) | (ids.item_index(typed[1]) < 0)
        return pa.Table.from_arrays([*typed, pa.array(predicted, mask=unknown)], schema=schema)

    def predict_file(self, pairs: Path | str, out: Path, columns: Mapping[str, str] | None = None) -> pa.Table:
        """Predict the pairs of a file into a Parquet file, which appears whole or not at all.

        Args:
            pairs: the file, or the URI of one in an object store.
            columns: names of the columns `user` and `item` in the file, where they are not the usual ones.

        Raises:
            InputRefused, SourceUnavailable: the pairs cannot be read.
            UsageError: `out` cannot be written.
        """
        with one_file(str(pairs)) as path:
            file_bytes(path)  # a file that is not there is another failure than one that is no table
            predicted = self.predict(read_pairs(path, pairs_format(path, columns or {})))
        _warn_of_no_ids(predicted)
        write_file(predicted, out)
        return predicted

    def ranker(self) -> Ranker:
        """The model that made the run's lists."""
        name = self.manifest["config"]["train"]["ranker"]
        return registry.ranker(name).load(self.part("model/ranker"), self.prepared.ids.sha256)

    def rater(self) -> Rater:
        """The model behind the run's predicted ratings."""
        name = self.manifest["config"]["train"]["rater"]
        return registry.rater(name).load(self.part("model/rater"), self.prepared.ids.sha256)

    def verify(self) -> int:
        """Compare every file with the manifest; returns the number of files.

        Raises:
            DamagedRun: names what is missing, changed or not named.
        """
        damage = self.damage()
        if damage:
            raise self.damaged(damage)
        return damage.files

    def damage(self) -> Damage:
        """What is missing, changed or not named, by the manifest; by that of a refused run where it is one."""
        refused = not (self.folder / MANIFEST).exists() and (self.folder / REFUSED).exists()
        return find_damage(self._contents, REFUSED if refused else MANIFEST)

    def damaged(self, damage: Damage) -> DamagedRun:
        """The message of it."""
        return damaged_run(self.folder, damage, self.address)

    @property
    def _contents(self) -> Contents:
        return self.store.contents(self.folder) if self.store else LocalContents(self.folder)


def complete_runs(store: Store | Path) -> list[PublishedRun]:
    """All runs with a manifest that is as it was written, by (run_date, published_at)."""
    readable = [run for run in _with_manifest(open_store(store)) if _readable(run)]
    return sorted(readable, key=lambda run: (run.manifest["run_date"], run.manifest["published_at"]))


def published_before(store: Store, run_date: date, besides: str = "") -> PublishedRun | None:
    """What readers had on a night: the published run where it is not of a later one, else the last complete one until
    then that was not taken back.

    Args:
        besides: a run_id that does not count.
    """
    current = store.current()
    if current is not None and current.run_date <= run_date and current.run_id != besides:
        return PublishedRun(store.root / current.path, store)
    return next(latest_runs(store, run_date, besides), None)


def latest_runs(store: Store, night: date | None, besides: str | None = None) -> Iterator[PublishedRun]:
    """Complete runs that were not taken back, the latest first.

    Args:
        night: of none later; None: of all nights.
        besides: a run_id that does not count.
    """
    out = {besides, *read_holds(store).withdrawn}
    for run in reversed(complete_runs(store)):
        if run.run_id not in out and (night is None or run.manifest["run_date"] <= night.isoformat()):
            yield run


def find_run(store: Store | Path | str, run_id: str) -> PublishedRun:
    """A complete run, damaged or not, by its id or the beginning of it.

    Raises:
        UsageError: none or several fit.
    """
    store = open_store(store)
    there = (run.folder for run in _with_manifest(store))
    return PublishedRun(folder_of(store, run_id, there, "complete run"), store)


def _with_manifest(store: Store) -> list[PublishedRun]:
    return [PublishedRun(folder, store) for folder in store.runs() if (folder / MANIFEST).exists()]


def _readable(run: PublishedRun) -> bool:
    try:
        return bool(run.manifest)
    except DamagedRun as error:
        log.warning("%s %s", error.what, error.found)
        return False


def _published(store: Store) -> Pointer:
    current = store.current()
    if current is None:
        raise UsageError(
            f"Nothing is published in {store.name}.",
            expected="a store with a published run",
            found="no pointer" if store.exists else "no such folder",
            todo="run `recsys run`, or name the store with --store",
        )
    return current


def _of_date(store: Store, run_date: date) -> PublishedRun:
    """The published run where it is of that date, else the one completed last."""
    runs = complete_runs(store)
    of_date = [run for run in runs if run.manifest["run_date"] == run_date.isoformat()]
    if not of_date:
        raise UsageError(
            f"No run of {run_date} is complete.",
            expected="a date with a complete run",
            found=sample(sorted({run.manifest["run_date"] for run in runs})) or "no complete run",
            todo="`recsys runs list` shows them",
        )
    named = store.named()
    return next((run for run in of_date if run.run_id == named), of_date[-1])


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    """The ids in the type of the published ones, null where they are not of it."""
    if column.type == wanted and pa.types.is_integer(wanted):  # a string may be blank, which is no id
        return column.combine_chunks()
    kind: IdType = "integer" if pa.types.is_integer(wanted) else "string"
    return pa.chunked_array([_typed(chunk, kind) for chunk in column.chunks], wanted).combine_chunks()


def _typed(ids: pa.Array, kind: IdType) -> pa.Array:
    encoded = ids.cast(pa.string()).dictionary_encode()
    typed, fit = typed_ids(encoded.dictionary, kind)
    return pc.if_else(pa.array(fit), typed, pa.scalar(None, typed.type)).take(encoded.indices)


def _warn_of_no_ids(predicted: pa.Table) -> None:
    for name in ("user_id", "item_id"):
        if absent := predicted[name].null_count:
            log.warning(
                "%s of %s pairs have no %s of the published type, %s; it and their prediction are null",
                f"{absent:,}",
                f"{predicted.num_rows:,}",
                name,
                predicted[name].type,
            )
