"""Models tried on one split, apart from the nights: what `compare` and `tune` have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recsys.config import RunConfig
from recsys.download.stage import take_inputs
from recsys.errors import UsageError
from recsys.identity import effective_config, experiment_key
from recsys.models.registry import settings_of
from recsys.ratings import Snapshot
from recsys.run import items_kept
from recsys.store import open_store

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Experiment:
    """What is tried, and on what. Nothing of it is published.

    Attributes:
        store: the store's folder.
        config: as given; its `train` and `gate` play no part.
        snapshot: the ratings.
        holdout: a given hold-out; None draws one.
        models: what is tried, by name, with all that decides it.
    """

    store: Path
    config: RunConfig
    snapshot: Snapshot
    holdout: Snapshot | None
    models: Mapping[str, Any]

    @property
    def top_items(self) -> int:
        """Items kept at most; 0 keeps all."""
        return items_kept(self.config)

    @cached_property
    def key(self) -> str:
        """Of the input, the split, what is measured, the models with their settings, the seed and the code."""
        inputs = [snapshot for snapshot in (self.snapshot, self.holdout) if snapshot is not None]
        return experiment_key(inputs, effective_config(self.config, self.top_items), self.models)


def open_experiment(config: RunConfig, models: Mapping[str, Any]) -> Experiment:
    """Take the snapshots; the store is held while that lasts, not while the models are tried.

    Raises:
        UsageError, InputRefused, SourceUnavailable, StoreBusy: before anything is tried.
    """
    for name, settings in config.models.items():
        settings_of(name, settings)
    store = open_store(config.store, config.compute.workspace)
    with store.hold():
        snapshot, holdout = take_inputs(config, store)
    log.info("input %s from %s", snapshot.dataset, snapshot.origin)
    if snapshot.stale:
        log.warning("the last good copy is used: %s", snapshot.stale_reason)
    return Experiment(store.root, config, snapshot, holdout, models)


def require_writable(file: Path) -> None:
    """Tell before the first fit that the result could not be written after the last.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as opened:
            empty = not opened.tell()
        if empty:
            file.unlink()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written to.",
            expected="a file in a folder this user may write to",
            found=error.strerror or str(error),
            todo="choose another with --out, or mend the permissions",
        ) from error
