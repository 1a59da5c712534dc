"""What people do with the published history, as Prefect tasks."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from recsys.history import prune as pruning
from recsys.history import shown
from recsys.history.holds import Holds
from recsys.history.prune import Pruned
from recsys.history.shown import Shown
from recsys.published import PublishedRun, find_run
from recsys.store import open_store


@task(cache_policy=NO_CACHE)
def verify(store: str, run_id: str | None = None) -> int:
    """Compare every file of a run with its manifest."""
    return (PublishedRun.open(store) if run_id is None else find_run(store, run_id)).verify()


@task(cache_policy=NO_CACHE)
def prune(store: str, keep: int, dry_run: bool) -> Pruned:
    """Remove old runs and downloads."""
    return pruning.prune(open_store(store), keep, dry_run=dry_run)


@task(cache_policy=NO_CACHE)
def roll_back(store: str, run_id: str) -> Shown:
    """Publish an earlier run again."""
    return shown.roll_back(open_store(store), run_id)


@task(cache_policy=NO_CACHE)
def promote(store: str, run_id: str, by: str, reason: str) -> Shown:
    """Publish a refused run by a person's name."""
    return shown.promote(open_store(store), run_id, by=by, reason=reason)


@task(cache_policy=NO_CACHE)
def pin(store: str, run_id: str | None) -> Holds:
    """Keep a run published."""
    return shown.pin(open_store(store), run_id)


@task(cache_policy=NO_CACHE)
def unpin(store: str) -> Holds:
    """Let the next night be published again."""
    return shown.unpin(open_store(store))
