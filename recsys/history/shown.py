"""Choosing by hand which run readers see: roll back, promote, pin. Each may be said twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from recsys.drift.nights import write_night
from recsys.errors import UsageError
from recsys.gate.stage import DRIFT
from recsys.history.holds import Holds, read_holds, write_holds
from recsys.published import PublishedRun, complete_runs, find_run
from recsys.store import MANIFEST, REFUSED, Store, folder_of
from recsys.store.manifest import seal, sealed_manifest

Done = Literal["published", "unchanged"]


@dataclass(frozen=True)
class Shown:
    """The run that is published now, and whether that is new."""

    run_id: str
    run_date: str
    outcome: Done


def roll_back(store: Store, run_id: str) -> Shown:
    """Publish an earlier complete run again; the later ones are taken back until a newer night is made.

    Args:
        run_id: or the beginning of it.

    Raises:
        UsageError: no such complete run, or another one is pinned. DamagedRun: its files are not what they were.
    """
    with store.hold() as lease:
        run = find_run(store, run_id)
        holds = _not_pinned_elsewhere(store, run.run_id)
        _require_whole(run)
        order = [each.run_id for each in complete_runs(store)]
        later = set(order[order.index(run.run_id) + 1 :])
        withdrawn = (set(holds.withdrawn) | later) - {run.run_id}
        write_holds(store, replace(holds, withdrawn=tuple(sorted(withdrawn & set(order)))))
        return _show(store, run, lease.token)


def promote(store: Store, run_id: str, *, by: str, reason: str) -> Shown:
    """Publish a run that the gate refused, or that was taken back, by a person's name.

    The manifest of a refused run says who, when and why.

    Args:
        run_id: or the beginning of it.

    Raises:
        UsageError: there is no such run, or another one is pinned. DamagedRun: its files are not what they were.
    """
    with store.hold() as lease:
        folder = _made(store, run_id)
        run = PublishedRun(folder, store)
        holds = _not_pinned_elsewhere(store, run.run_id)
        name = MANIFEST if (folder / MANIFEST).exists() else REFUSED
        _require_whole(run)
        if name == REFUSED:
            _accept(store, folder, {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds"), "reason": reason})
        store.hide(folder / REFUSED)
        (folder / REFUSED).unlink(missing_ok=True)
        left = tuple(each for each in holds.withdrawn if each != run.run_id)
        write_holds(store, replace(holds, withdrawn=left))
        return _show(store, run, lease.token)


def pin(store: Store, run_id: str | None) -> Holds:
    """Keep a run published whatever the next nights bring; None: the published one, as it is now.

    Raises:
        UsageError: no such complete run, or nothing is published. DamagedRun: its files are not what they were.
    """
    with store.hold() as lease:
        run = PublishedRun.open(store) if run_id is None else find_run(store, run_id)
        _require_whole(run)
        holds = replace(read_holds(store), pinned=run.run_id)
        write_holds(store, holds)
        _show(store, run, lease.token)
        return holds


def unpin(store: Store) -> Holds:
    """Let the next night be published again."""
    with store.hold():
        holds = replace(read_holds(store), pinned=None)
        write_holds(store, holds)
        return holds


def _show(store: Store, run: PublishedRun, token: int) -> Shown:
    outcome: Done = "unchanged" if store.names(run.run_id) else "published"
    store.point_to(run.pointer, token)
    return Shown(run.run_id, run.manifest["run_date"], outcome)


def _require_whole(run: PublishedRun) -> None:
    damage = run.damage()
    if damage:
        raise run.damaged(damage)


def _not_pinned_elsewhere(store: Store, run_id: str) -> Holds:
    holds = read_holds(store)
    if holds.pinned not in (None, run_id):
        raise UsageError(
            f"Run {holds.pinned} is pinned.",
            expected="no pinned run, or the one that is to be published",
            found=f"run {run_id} to be published",
            todo="`recsys runs unpin` first",
        )
    return holds


def _made(store: Store, run_id: str) -> Path:
    """The folder of a run that is complete or refused."""
    made = (folder for folder in store.runs() if (folder / MANIFEST).exists() or (folder / REFUSED).exists())
    return folder_of(store, run_id, made, "run that was made to its end")


def _accept(store: Store, folder: Path, promoted: dict[str, str]) -> None:
    """Write the manifest of a refused run, with who wanted it: last, as for any run."""
    refused: dict[str, Any] = sealed_manifest(folder, REFUSED)
    gate = {**refused["gate"], "promoted_by": promoted}
    manifest = seal({**refused, "gate": gate})
    store.push([write_night(store.root, manifest, json.loads(store.here(folder, DRIFT).read_text()))])
    store.seal(folder, json.dumps(manifest, indent=2) + "\n")
