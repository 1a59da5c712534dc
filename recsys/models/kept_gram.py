"""The Gram matrix that one night leaves to the next (`train.incremental`): where it is kept, and when it is of use.

<store>/incremental/<part>/kept.json   which matrix is kept, and of which night's prepared folder it is
                           *.sums      its upper triangle, row after row, unsigned integers (`recsys.models.triangle`)

One matrix a part (`split`, `all`), replaced as a whole; 200 MB for 10,000 items. Nothing depends on its being there or
being right: it is a shorter way to the same matrix, and what does not add up is computed in full.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.identifiers import UNKNOWN
from recsys.models.cooccurrence import WeightedRows, upper_gram
from recsys.models.gram_update import OldGram, Unusable, Updated, updated_gram
from recsys.models.triangle import Sums, Triangle, entries, sum_type
from recsys.prepare.prepared import Part, Prepared
from recsys.prepare.training_set import TrainingSet
from recsys.store import Store, write_record, write_whole

log = logging.getLogger("recsys")

FORMAT = 1  # raised when a kept matrix, or what it is the sum of, can no longer be understood by older code
RECORD = "kept.json"
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException)


@dataclass(frozen=True)
class KeptGram:
    """Where a night finds the matrix of the night before, and leaves its own.

    Attributes:
        store: the store's folder.
        prepared: the night's own prepared folder, below the store.
        part: which training set it is fitted on.
        record: where to say which way was taken, for the manifest's timings.
    """

    store: Path
    prepared: Path
    part: Part
    record: Path

    @property
    def folder(self) -> Path:
        """Where the matrix is kept."""
        return Store(self.store).incremental / self.part

    def gram(self, training_set: TrainingSet, rows: WeightedRows, power: float, threads: int) -> Triangle:
        """As `upper_gram`, to the bit: from the matrix of the night before where that is of use, else in full.

        Args:
            power: what the rows' weights were made with.
        """
        started = time.monotonic()
        way: dict[str, Any]
        try:
            updated = self.updated(training_set, rows, power, threads)
            gram, way = updated.gram, {"way": "incremental", "rows_changed": updated.changed, "work": updated.work}
            log.info(
                "train: the Gram matrix of the night before is brought up to date: %s users", f"{updated.changed:,}"
            )
        except Unusable as reason:
            gram, way = upper_gram(rows, threads), {"way": "full", "why": str(reason)}
            log.info("train: the Gram matrix is computed in full; that of the night before: %s", reason)
        write_record(self.record, time.monotonic() - started, **way)
        self.keep(gram, rows, power)
        return gram

    def updated(self, training_set: TrainingSet, rows: WeightedRows, power: float, threads: int) -> Updated:
        """The matrix of the night before, brought up to date.

        Raises:
            Unusable: there is none that is of use.
        """
        return updated_gram(self._before(training_set, power), rows, threads)

    def _before(self, training_set: TrainingSet, power: float) -> OldGram:
        """The kept matrix, and where its users and items are now."""
        try:
            return self._load(self._read(power), training_set, power)
        except UNREADABLE as error:
            raise Unusable(f"it cannot be read: {error}") from error

    def _load(self, record: dict[str, Any], training_set: TrainingSet, power: float) -> OldGram:
        now, before = Prepared(self.prepared), Prepared(self.store / record["prepared"])
        if (now.ids.user_ids.type, now.ids.item_ids.type) != (before.ids.user_ids.type, before.ids.item_ids.type):
            raise Unusable("its ids are of another type")
        its_set = before.training_set(self.part)
        item = now.ids.item_index(before.ids.item_ids.take(pa.array(its_set.items)))
        return OldGram(
            sums=self._sums(record),
            largest=int(record["largest"]),
            rows=WeightedRows.of(its_set, power),
            user_of=before.ids.user_index(now.ids.user_ids),
            column_of=np.where(item == UNKNOWN, UNKNOWN, training_set.column_of[item]).astype(np.int32),
        )

    def _read(self, power: float) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self.folder / RECORD).read_text())
        except FileNotFoundError as missing:
            raise Unusable("there is none") from missing
        if record["format"] != FORMAT:
            raise Unusable("another version of the program has written it")
        if record["user_power"] != power:
            raise Unusable(f"it is of user_power {record['user_power']}")
        if not (self.store / record["prepared"]).exists():
            raise Unusable(f"the ratings that it was made of are gone ({record['prepared']})")
        return record

    def _sums(self, record: dict[str, Any]) -> Sums:
        kind = sum_type(int(record["largest"]))
        return np.memmap(self.folder / record["file"], kind, "r", shape=entries(int(record["columns"])))

    def keep(self, gram: Triangle, rows: WeightedRows, power: float) -> None:
        """Replace what is kept. Where that fails the night goes on: it costs the next one its short way."""
        record = {
            "format": FORMAT,
            "file": f"{self.prepared.parent.name}.sums",
            "prepared": self.prepared.relative_to(self.store).as_posix(),
            "user_power": power,
            "columns": len(gram),
            "largest": rows.largest,
        }
        file, fresh = self.folder / str(record["file"]), self.folder / f"{record['file']}.new"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            gram.sums.astype(sum_type(rows.largest), copy=False).tofile(fresh)
            os.replace(fresh, file)
            write_whole(self.folder / RECORD, json.dumps(record, indent=2))
            for other in self.folder.iterdir():
                if other.name not in (file.name, RECORD):
                    other.unlink()
        except OSError as error:
            log.warning("train: the Gram matrix cannot be kept for the next night: %s", error)
            with suppress(OSError):
                fresh.unlink()
