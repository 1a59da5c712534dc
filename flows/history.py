"""The published history as flows: what `recsys runs` does by hand, for schedules and for the Prefect UI."""

from __future__ import annotations

from prefect import flow

from recsys.history.holds import Holds
from recsys.history.prune import Pruned
from tasks import history


@flow(name="retention")
def retention(store: str = "./store", keep: int = 14, dry_run: bool = False) -> Pruned:
    """Verify the published run, then remove all but the last `keep` runs, the published and the pinned one."""
    history.verify(store)
    return history.prune(store, keep, dry_run)


@flow(name="verify")
def verify(store: str = "./store", run_id: str | None = None) -> int:
    """Compare every file of a run (unset: the published one) with its manifest; returns how many there are."""
    return history.verify(store, run_id)


@flow(name="rollback")
def rollback(run_id: str, store: str = "./store") -> str:
    """Publish an earlier run again; returns its id."""
    return history.roll_back(store, run_id).run_id


@flow(name="promote")
def promote(run_id: str, by: str, reason: str = "", store: str = "./store") -> str:
    """Publish a run that the gate refused, by a person's name; returns its id."""
    return history.promote(store, run_id, by, reason).run_id


@flow(name="pin")
def pin(run_id: str | None = None, store: str = "./store", off: bool = False) -> Holds:
    """Keep a run published (unset: the one that is), or with `off` let the next night be published again."""
    return history.unpin(store) if off else history.pin(store, run_id)
