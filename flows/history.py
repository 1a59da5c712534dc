"""The published history as flows: what `recsys runs` does by hand, for schedules and for the Prefect UI."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from recsys.history.holds import Holds
from recsys.history.prune import Pruned
from tasks import history


@flow(name="retention")
def retention(store: str = "./store", keep: Annotated[int, Field(ge=1)] = 14, dry_run: bool = False) -> Pruned:
    """Verify the published run, then remove all but the last `keep` runs, the published and the pinned one.

    Args:
        store: folder of the published tables and of all runs
        keep: complete runs that stay
        dry_run: only say what would go
    """
    history.verify(store)
    return history.prune(store, keep, dry_run)


@flow(name="verify")
def verify(store: str = "./store", run_id: str | None = None) -> int:
    """Compare every file of a run with its manifest; returns how many there are.

    Args:
        store: folder of the published tables and of all runs
        run_id: or the beginning of it; unset: the published run
    """
    return history.verify(store, run_id)


@flow(name="rollback")
def rollback(run_id: str, store: str = "./store") -> str:
    """Publish an earlier run again; returns its id.

    Args:
        run_id: or the beginning of it
        store: folder of the published tables and of all runs
    """
    return history.roll_back(store, run_id).run_id


@flow(name="promote")
def promote(run_id: str, by: str, reason: str = "", store: str = "./store") -> str:
    """Publish a run that the gate refused, by a person's name; returns its id.

    Args:
        run_id: or the beginning of it
        by: who wants it; the manifest says so
        reason: kept in the manifest
        store: folder of the published tables and of all runs
    """
    return history.promote(store, run_id, by, reason).run_id


@flow(name="pin")
def pin(run_id: str | None = None, store: str = "./store", off: bool = False) -> Holds:
    """Keep a run published, or let the next night be published again.

    Args:
        run_id: or the beginning of it; unset: the published run
        store: folder of the published tables and of all runs
        off: let the next night be published again
    """
    return history.unpin(store) if off else history.pin(store, run_id)
