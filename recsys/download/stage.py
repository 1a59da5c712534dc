"""The stage `download`: take a snapshot of the input and name the run by it."""

from __future__ import annotations

import logging
import time
from datetime import date

from recsys.config import InputConfig, RunConfig
from recsys.download.shared import pull_copies, push_copies
from recsys.download.snapshot import take_snapshot
from recsys.models.registry import check_models
from recsys.ratings import Snapshot
from recsys.rules.source import take_rules
from recsys.run import Run
from recsys.store import Store, open_store, write_record
from recsys.store.remote import RemoteStore

log = logging.getLogger("recsys")


def open_run(config: RunConfig, run_date: date, token: int = 0) -> Run:
    """Check the names in the configuration and the rules, take the snapshots, and return the run's handle.

    Args:
        token: of the lease under which the run is made.

    Raises:
        UsageError, InputRefused, SourceUnavailable: before anything of the run is written.
    """
    check_models(config)
    started = time.monotonic()
    store = open_store(config.store, config.compute.workspace)
    uri = store.name if isinstance(store, RemoteStore) else ""
    snapshot, holdout = take_inputs(config, store)
    rules = take_rules(config.rules.file, snapshot, store.raw)
    run = Run(store.root, run_date, config, snapshot, holdout, token, rules, uri)
    store.pull("nights")
    store.has_manifest(run.folder)  # brings it, where another machine has completed the run
    if not run.complete:
        write_record(run.record("download"), time.monotonic() - started)
    state = "is already complete" if run.complete else "goes on" if run.folder.exists() else "begins"
    log.info("run %s of %s %s; input %s from %s", run.run_id, run_date, state, snapshot.dataset, snapshot.origin)
    if snapshot.stale:
        log.warning("the last good copy is used: %s", snapshot.stale_reason)
    return run


def take_inputs(config: RunConfig, store: Store) -> tuple[Snapshot, Snapshot | None]:
    """Snapshots of the ratings and, where one is given, of the hold-out.

    Raises:
        UsageError, InputRefused, SourceUnavailable: as `take_snapshot`.
    """
    pull_copies(store, config)
    inputs = take_snapshot(config.input, config.download, config.demo, store.raw), _holdout(config, store)
    push_copies(store, inputs)
    return inputs


def _holdout(config: RunConfig, store: Store) -> Snapshot | None:
    """The given hold-out is read as the ratings are: the same columns, the same scale."""
    given = config.prepare.test_ratings
    if given is None:
        return None
    columns = {key: name for key, name in config.input.columns.items() if key not in ("title", "genres")}
    return take_snapshot(InputConfig(ratings=given, columns=columns), config.download, config.demo, store.raw)
