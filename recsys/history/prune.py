"""Freeing what no reader and no later night needs."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from recsys.errors import UsageError
from recsys.history.holds import read_holds
from recsys.published import complete_runs
from recsys.states import state_of
from recsys.store import Store, run_date_of, run_id_of, sync_folder

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Pruned:
    """What went, or would go.

    Attributes:
        runs: run_ids, by (run_date, run_id).
        downloads: folders of `raw`, relative to the store.
        bytes: what they held.
        kept: run_ids that stay and why.
    """

    runs: tuple[str, ...]
    downloads: tuple[str, ...]
    bytes: int
    kept: dict[str, str]


def prune(store: Store, keep: int, *, dry_run: bool = False) -> Pruned:
    """Remove all but the last `keep` complete runs, the published and the pinned one, and what belongs to none of them.

    Runs that are refused, damaged or unfinished go where they are older than every run that stays; downloads where a
    newer one of the dataset stood before the oldest run that stays was made. The table of nights stays whole.

    Args:
        keep: at least 1.
        dry_run: only say what would go.

    Raises:
        UsageError: `keep` is less than 1. StoreBusy: a run holds the store.
    """
    if keep < 1:
        raise UsageError(
            f"--keep {keep} would leave no run.", expected="1 or more", todo="give how many complete runs stay"
        )
    with store.hold():
        _finish_removals(store)
        kept = _kept(store, keep)
        going = _going(store, kept)
        downloads = _unused_downloads(store, going)
        freed = sum(store.bytes_below(folder) for folder in (*going, *downloads))
        if not dry_run:
            for folder in going:
                shutil.rmtree(store.work_folder(run_id_of(folder)), ignore_errors=True)
                _remove(store, folder)
            for folder in downloads:
                _remove(store, folder)
    relative = tuple(folder.relative_to(store.root).as_posix() for folder in downloads)
    return Pruned(tuple(map(run_id_of, going)), relative, freed, kept)


def _kept(store: Store, keep: int) -> dict[str, str]:
    """run_id and why; the last reason that applies."""
    holds = read_holds(store)
    kept = {run.run_id: f"one of the last {keep}" for run in complete_runs(store)[-keep:]}
    current = store.current()
    if current is not None:
        kept[current.run_id] = "published"
    if holds.pinned is not None:
        kept[holds.pinned] = "pinned"
    return kept


def _going(store: Store, kept: dict[str, str]) -> list[Path]:
    """Complete runs that are not kept, and others of nights before every run that is."""
    runs = store.runs()
    oldest = min((run_date_of(folder) for folder in runs if run_id_of(folder) in kept), default="")
    others = (folder for folder in runs if run_id_of(folder) not in kept)
    return [folder for folder in others if run_date_of(folder) < oldest or state_of(folder).name == "complete"]


def _unused_downloads(store: Store, going: Iterable[Path]) -> list[Path]:
    """Folders `raw/<dataset>/<hash>` in whose place a newer one stood before the oldest run left was made."""
    gone = set(going)
    left = [run.manifest["published_at"] for run in complete_runs(store) if run.folder not in gone]
    oldest = datetime.fromisoformat(min(left)).timestamp() if left else 0.0
    unused: list[Path] = []
    for dataset in sorted(path for path in store.raw.glob("*") if path.is_dir()):
        copies = sorted((path for path in dataset.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        unused += [copy for copy, newer in pairwise(copies) if newer.stat().st_mtime < oldest]
    return unused


def _remove(store: Store, folder: Path) -> None:
    """Out of sight at once, then away: a kill leaves no half of a run where readers look."""
    store.hide(folder)
    gone = store.root / "work" / "pruned" / f"{folder.parent.name}-{folder.name}"
    gone.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, gone)
    sync_folder(folder.parent)
    if folder.parent.parent == store.root / "runs" and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
    _finish_removals(store)


def _finish_removals(store: Store) -> None:
    shutil.rmtree(store.root / "work" / "pruned", ignore_errors=True)
