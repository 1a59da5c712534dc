"""The stage `publish`: all or nothing."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.publish.invariants import check_recommendations
from recsys.publish.manifest import build_manifest
from recsys.publish.mend import mend_pointer
from recsys.run import Run, read_manifest
from recsys.score.stage import served_users
from recsys.store import Pointer

log = logging.getLogger("recsys")


# published: made now, and shown; unchanged: it was complete and shown before; pointed: it was complete before, and is
# shown (again) now; kept: it is complete, and a newer night stays shown.
Outcome = Literal["published", "unchanged", "pointed", "kept"]


@dataclass(frozen=True)
class Published:
    """Where the tables of a run stand, and whether the pointer leads there.

    Attributes:
        folder: of the run on this machine.
        address: where readers find it: the folder, or its URI.
    """

    run_id: str
    folder: Path
    address: str
    rows: int
    outcome: Outcome


def publish(run: Run) -> Published:
    """Check the tables, write the manifest, swap the pointer; each step is skipped where it was done before.

    The pointer goes forward in time only: a run for an earlier night than the published one is kept, not shown.

    Raises:
        BrokenTable: a table is wrong; nothing is published.
    """
    was_complete = run.complete
    if not was_complete:
        _complete(run)
    store = run.home
    run.require_lease()
    current = mend_pointer(store, run.token)
    pointer = Pointer(run.run_date, run.run_id, run.folder.relative_to(run.store).as_posix())
    outcome = _outcome(was_complete, pointer, current)
    if outcome != "kept":
        store.point_to(pointer, run.token)
    _tell(run, outcome, current)
    shutil.rmtree(run.work, ignore_errors=True)
    rows = sum(read_manifest(run.folder)["sources"].values())
    return Published(run.run_id, run.folder, store.shown(run.folder), rows, outcome)


def _outcome(was_complete: bool, pointer: Pointer, current: Pointer | None) -> Outcome:
    if current is not None and current.run_date > pointer.run_date:
        return "kept"
    if not was_complete:
        return "published"
    return "unchanged" if current == pointer else "pointed"


def _tell(run: Run, outcome: Outcome, current: Pointer | None) -> None:
    if run.set_aside.exists():
        log.info("publish: run %s was damaged and is rebuilt", run.run_id)
    if outcome == "kept" and current is not None:
        log.info("publish: run %s is kept; the newer night %s stays published", run.run_id, current.run_date)


def _complete(run: Run) -> None:
    prepared = run.prepared
    training_set = prepared.training_set("all")
    sources = check_recommendations(
        run.folder / "recommendations",
        prepared,
        served_users(prepared),
        n=run.config.score.top_n,
        n_candidates=int(np.count_nonzero(training_set.item_counts)),
    )
    for left in run.folder.rglob(".*.new"):  # of a killed writer of a small file
        left.unlink()
    manifest = build_manifest(run, sources)
    run.home.seal(run.folder, json.dumps(manifest, indent=2) + "\n")
    log.info("publish: %s files, %s", len(manifest["files"]), sources)
