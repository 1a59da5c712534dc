"""The stage `publish`: all or nothing."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.drift.nights import write_night
from recsys.gate.stage import DRIFT, require_promotion, verdict_of
from recsys.history.holds import Holds, read_holds
from recsys.publish.invariants import check_recommendations
from recsys.publish.manifest import build_manifest
from recsys.publish.mend import mend_pointer
from recsys.publish.obeyed import Obeyed
from recsys.run import Run
from recsys.score.stage import served_users
from recsys.store import MANIFEST, REFUSED, Pointer
from recsys.store.manifest import read_manifest
from recsys.summary import rows_by_source

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

    The pointer goes forward in time only: a run for an earlier night than the published one is kept, not shown. So is
    one beside a pinned run, or that a rollback took back. One that the gate refuses is made to its end all the same,
    under a manifest of another name.

    Raises:
        BrokenTable: a table is wrong; nothing is published.
        GateRefused: by the gate, after the manifest.
    """
    was_complete = run.complete and not run.work.exists()  # which goes last, when all is done
    seal(run)
    if not run.complete:
        shutil.rmtree(run.work, ignore_errors=True)
        require_promotion(run, verdict_of(run))
    store = run.home
    run.require_lease()
    current = mend_pointer(store, run.token)
    pointer = Pointer(run.run_date, run.run_id, run.folder.relative_to(run.store).as_posix())
    outcome = _outcome(was_complete, pointer, current, read_holds(store))
    if outcome != "kept":
        store.point_to(pointer, run.token)
    _tell(run, outcome, current)
    shutil.rmtree(run.work, ignore_errors=True)
    rows = sum(read_manifest(run.folder)["sources"].values())
    return Published(run.run_id, run.folder, store.shown(run.folder), rows, outcome)


def _outcome(was_complete: bool, pointer: Pointer, current: Pointer | None, holds: Holds) -> Outcome:
    if current is not None and current.run_date > pointer.run_date:
        return "kept"
    if holds.pinned not in (None, pointer.run_id) or pointer.run_id in holds.withdrawn:
        return "kept"
    if not was_complete:
        return "published"
    return "unchanged" if current == pointer else "pointed"


def _tell(run: Run, outcome: Outcome, current: Pointer | None) -> None:
    if run.set_aside.exists():
        log.info("publish: run %s was damaged and is rebuilt", run.run_id)
    if outcome == "kept" and current is not None:
        log.info("publish: run %s is kept; run %s of %s stays published", run.run_id, current.run_id, current.run_date)


def seal(run: Run) -> None:
    """Check the tables and write the manifest, once; under another name where the gate refuses the run.

    Raises:
        BrokenTable: a table is wrong; there is no manifest then.
    """
    if run.made:
        return
    prepared = run.prepared
    training_set = prepared.training_set("all")
    sources = check_recommendations(
        run.folder / "recommendations",
        prepared,
        served_users(prepared),
        n=run.config.score.top_n,
        n_candidates=int(np.count_nonzero(training_set.item_counts)),
        obeyed=Obeyed.of_run(run.folder, prepared),
    )
    for left in run.folder.rglob(".*.new"):  # of a killed writer of a small file
        left.unlink()
    manifest, name = build_manifest(run, sources), MANIFEST if verdict_of(run).publish else REFUSED
    night = write_night(run.store, manifest, json.loads((run.folder / DRIFT).read_text()))
    run.home.push([night])
    run.home.seal(run.folder, json.dumps(manifest, indent=2) + "\n", name)
    log.info("publish: %s files, %s", len(manifest["files"]), rows_by_source(manifest))
