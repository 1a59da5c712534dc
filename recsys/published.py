"""Reading what was published: the tables of a night, a person's lists, predictions of given pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
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
from recsys.errors import RecsysError, UsageError, sample
from recsys.models.base import Rater
from recsys.models.registry import rater
from recsys.prepare.prepared import Prepared
from recsys.publish.manifest import sha256_of
from recsys.ratings import IdType
from recsys.read import read_pairs
from recsys.read.blocks import file_bytes
from recsys.read.ids import typed_ids
from recsys.run import read_manifest
from recsys.store import MANIFEST, TABLES, Store

log = logging.getLogger("recsys")

BLOCK = 1 << 20  # pairs predicted at a time: about 50 MB of indices, gathers and results


class DamagedRun(RecsysError):
    """Published files are not what their manifest says."""


@dataclass(frozen=True)
class PublishedRun:
    """A complete run of a store."""

    folder: Path

    @classmethod
    def open(cls, store: Path, run_date: date | None = None) -> PublishedRun:
        """The published run, or the latest complete one of a date.

        Raises:
            UsageError: there is none.
        """
        current = Store(store).current()
        if run_date is None:
            if current is None:
                raise UsageError(
                    f"Nothing is published in {store}.",
                    expected="a store with a published run",
                    found="no pointer" if store.exists() else "no such folder",
                    todo="run `recsys run`, or name the store with --store",
                )
            return cls(store / current.path)
        of_date = [run for run in complete_runs(store) if run.manifest["run_date"] == run_date.isoformat()]
        if not of_date:
            raise UsageError(
                f"No run of {run_date} is complete.",
                expected="a date with a complete run",
                found=sample(sorted({run.manifest["run_date"] for run in complete_runs(store)})) or "no complete run",
                todo="`recsys runs list` shows them",
            )
        for run in of_date:
            if current is not None and run.run_id == current.run_id:
                return run
        return max(of_date, key=lambda run: run.manifest["published_at"])

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The run's manifest."""
        return read_manifest(self.folder)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.manifest["run_id"])

    @cached_property
    def prepared(self) -> Prepared:
        """The ratings the run was made from."""
        return Prepared(self.folder / "prepared")

    @cached_property
    def titles(self) -> Mapping[Any, str | None]:
        """Title of each item_id; None where the input has none."""
        items = self.prepared.items()
        return dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))

    def table(self, name: str) -> Path:
        """The folder of a table.

        Raises:
            UsageError: there is no such table in this run.
        """
        folder = self.folder / name
        if name not in TABLES or not folder.is_dir():
            raise UsageError(
                f"Run {self.run_id} has no table {name!r}.",
                expected=f"one of {', '.join(t for t in TABLES if (self.folder / t).is_dir())}",
                found=name,
                todo="choose one of them",
            )
        return folder

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
        index = ids.user_index(pa.array([user_id], ids.user_ids.type))[0]
        rows = np.flatnonzero(np.asarray(self.prepared.array("user_index")) == index)
        item, rating = self.prepared.array("item_index")[rows], self.prepared.array("rating")[rows]
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
        ids, model = self.prepared.ids, self._rater()
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

    def predict_file(self, pairs: Path, out: Path, columns: Mapping[str, str] | None = None) -> pa.Table:
        """Predict the pairs of a file into a Parquet file, which appears whole or not at all.

        Args:
            columns: names of the columns `user` and `item` in the file, where they are not the usual ones.

        Raises:
            InputRefused, SourceUnavailable: the pairs cannot be read.
            UsageError: `out` cannot be written.
        """
        file_bytes(pairs)  # a file that is not there is another failure than one that is no table
        predicted = self.predict(read_pairs(pairs, pairs_format(pairs, columns or {})))
        _warn_of_no_ids(predicted)
        _write_whole(predicted, out)
        return predicted

    def _rater(self) -> Rater:
        name = self.manifest["config"]["train"]["rater"]
        return rater(name).load(self.folder / "model" / "rater", self.prepared.ids.sha256)

    def verify(self) -> int:
        """Compare every file with the manifest; returns the number of files.

        Raises:
            DamagedRun: names what is missing, changed or not named.
        """
        wanted = {entry["path"]: entry for entry in self.manifest["files"]}
        found = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()} - {
            MANIFEST
        }
        missing = sorted(set(wanted) - found)
        added = sorted(found - set(wanted))
        changed = [path for path in sorted(found & set(wanted)) if self._changed(path, wanted[path])]
        if missing or added or changed:
            parts = (("changed", changed), ("missing", missing), ("not in the manifest", added))
            raise DamagedRun(
                f"Run {self.run_id} is damaged.",
                expected=f"{len(wanted)} files as in {self.folder / MANIFEST}",
                found="; ".join(f"{what}: {sample(paths)}" for what, paths in parts if paths),
                todo="do not read these tables; publish the night again, or point readers to another run",
            )
        return len(wanted)

    def _changed(self, path: str, entry: Mapping[str, Any]) -> bool:
        full = self.folder / path
        return full.stat().st_size != entry["bytes"] or sha256_of(full) != entry["sha256"]


def complete_runs(store: Path) -> list[PublishedRun]:
    """All runs with a manifest that can be read, by (run_date, published_at)."""
    runs = [
        PublishedRun(folder) for folder in Store(store).runs() if (folder / MANIFEST).exists() and _readable(folder)
    ]
    return sorted(runs, key=lambda run: (run.manifest["run_date"], run.manifest["published_at"]))


def _readable(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except UsageError as error:
        log.warning("%s", error.what)
        return False
    return True


def find_run(store: Path, run_id: str) -> PublishedRun:
    """A complete run by its id or the beginning of it.

    Raises:
        UsageError: none or several fit.
    """
    fitting = [run for run in complete_runs(store) if run.run_id.startswith(run_id)]
    if len(fitting) != 1:
        raise UsageError(
            f"{'No complete run' if not fitting else 'More than one run'} in {store} begins with {run_id!r}.",
            expected="the id of one run, or enough of its beginning",
            found=sample([run.run_id for run in fitting or complete_runs(store)]) or "no complete run",
            todo="`recsys runs list` shows them",
        )
    return fitting[0]


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


def _write_whole(table: pa.Table, out: Path) -> None:
    """Write a Parquet file that appears whole or not at all; one that stood there stays until then."""
    fresh = out.parent / f".{out.name}.new"
    try:
        pq.write_table(table, fresh, compression="zstd")
        fresh.replace(out)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written.",
            expected="a file in a folder that is there and that this user may write to",
            found=str(error),
            todo="choose another with --out",
        ) from error
    finally:
        with suppress(OSError):  # the first failure is the one to tell
            fresh.unlink(missing_ok=True)
