"""One run: the handle that travels between the stages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys.config import RunConfig
from recsys.identity import effective_config, run_id
from recsys.models.edlae import largest_catalogue
from recsys.objects.folder import ObjectFolder
from recsys.prepare.prepared import Prepared
from recsys.ratings import Snapshot
from recsys.rules.source import RulesSource
from recsys.store import MANIFEST, REFUSED, LeaseLost, Store, write_record
from recsys.store.lease import holds
from recsys.store.remote import RemoteStore

MOST_ITEMS = 10_000  # kept where --top-items is unset: one inversion then takes tens of seconds, not hours


@dataclass(frozen=True)
class Run:
    """Where a run stands and what it is to do. Small: it is passed between tasks.

    Attributes:
        store: the store's folder.
        run_date: the night it is for.
        config: as given.
        snapshot: the ratings.
        holdout: a given hold-out; None draws one.
        token: of the lease under which the run is made; 0: of none, as where the library is called by itself.
        rules: policy over the lists; None: there is none.
        uri: of a store in an object store: `store` is then its working copy here.
    """

    store: Path
    run_date: date
    config: RunConfig
    snapshot: Snapshot
    holdout: Snapshot | None = None
    token: int = 0
    rules: RulesSource | None = None
    uri: str = ""

    @property
    def home(self) -> Store:
        """The store it is made for."""
        return RemoteStore(self.store, ObjectFolder.at(self.uri)) if self.uri else Store(self.store)

    def require_lease(self) -> None:
        """Stop a run that another one has taken for dead.

        Raises:
            LeaseLost: the store is held by a later run.
        """
        if self.token and not holds(self.home.place, self.token):
            raise LeaseLost(f"a lease later than this run's, which has token {self.token}")

    @property
    def top_items(self) -> int:
        """Items kept at most; 0 keeps all."""
        return items_kept(self.config)

    @cached_property
    def effective_config(self) -> dict[str, Any]:
        """The configuration that decides the tables."""
        return effective_config(self.config, self.top_items, self.rules.fingerprint if self.rules else None)

    @cached_property
    def run_id(self) -> str:
        """The run's identity: the same night run twice has the same."""
        inputs = [snapshot for snapshot in (self.snapshot, self.holdout) if snapshot is not None]
        return run_id(inputs, self.effective_config, self.run_date)

    @property
    def folder(self) -> Path:
        """All that the run makes for others."""
        return Store(self.store).run_folder(self.run_date, self.run_id)

    @property
    def work(self) -> Path:
        """What only the run itself needs."""
        return Store(self.store).work_folder(self.run_id)

    @property
    def under_way(self) -> Path:
        """Where pieces are made that other processes may make too."""
        return self.work / "under-way"

    @property
    def prepared(self) -> Prepared:
        """The prepared ratings."""
        return Prepared(self.folder / "prepared")

    @property
    def shards(self) -> range:
        """The numbers of the shards of the prepared users."""
        return range(len(self.prepared.shards))

    @property
    def set_aside(self) -> Path:
        """Where the run's folder is kept that was found damaged, until the rebuilt one is published."""
        return self.work / "damaged"

    def record(self, stage: str) -> Path:
        """Where a stage's time is kept until the manifest is written."""
        return self.work / "stages" / f"{stage}.json"

    def shard_record(self, stage: str, number: int) -> Path:
        """Where the time of one shard of a stage is kept."""
        return self.work / "stages" / stage / f"{number:05d}.json"

    def write_record_of_shards(self, stage: str, seconds: float) -> None:
        """Record a stage that was done shard by shard.

        Args:
            seconds: what it took besides, to bring the shards together.
        """
        shards = [json.loads(path.read_text()) for path in sorted((self.work / "stages" / stage).glob("*.json"))]
        write_record(
            self.record(stage), seconds + sum(shard["seconds"] for shard in shards), shards=len(shards),
            peak_memory_mib=max((shard["peak_memory_mib"] for shard in shards), default=0),
        )  # fmt: skip

    @property
    def complete(self) -> bool:
        """Whether the manifest stands."""
        return (self.folder / MANIFEST).exists()

    @property
    def made(self) -> bool:
        """Whether the run was made to its end, be it complete or refused by the gate."""
        return self.complete or (self.folder / REFUSED).exists()


def items_kept(config: RunConfig) -> int:
    """How many items a configuration keeps at most; 0 keeps all."""
    wanted = config.prepare.top_items
    return min(MOST_ITEMS, largest_catalogue(config.compute)) if wanted is None else wanted
