"""Before a night is made: the pointer leads to a whole run or to none, and a damaged run is out of the way.

The order is what keeps readers whole: the pointer is moved first, then the damaged folder, then the run is made anew
where it stood. A kill between any two of these leaves a state that the next run goes on from.
"""

from __future__ import annotations

import logging
import os
import shutil
from datetime import date

from recsys.evaluate.champion import pick_champion
from recsys.models.registry import ROLES
from recsys.objects.failures import DamagedObject
from recsys.publish.damage import Damage, find_damage
from recsys.published import PublishedRun, latest_runs, published_before
from recsys.run import Run
from recsys.states import may_go_on, state_of
from recsys.store import MANIFEST, BrokenPointer, Pointer, Store, run_id_of, sync_folder
from recsys.train.stage import judged_folder

log = logging.getLogger("recsys")

CHAMPION_PARTS = ("prepared", "model/judged", "recommendations")  # of a published run, to compare tonight's with


def mend(run: Run) -> None:
    """Set the run aside where it was complete and is damaged, mend the pointer, clear what ended runs have left; then
    settle which published run this one is compared with.

    Raises:
        BrokenPointer: something that is no file stands in the pointer's place.
    """
    store = run.home
    shutil.rmtree(run.under_way, ignore_errors=True)  # of a run that was killed or lost its lease
    damage = _damage_of(run, store)
    if damage:
        log.warning("run %s is damaged (%s); it is rebuilt", run.run_id, damage)
    mend_pointer(store, run.token, damaged=run.run_id if damage else None)
    if damage:
        store.hide(run.folder / MANIFEST)
        _set_aside(run)
    _clear_work(store, run)
    if not run.made:
        pick_champion(run, *_champion(run))


def _champion(run: Run) -> tuple[str | None, str]:
    """Where the run stands that this one is compared with, or why there is none: what readers had that night."""
    if not run.config.gate.champion:
        return None, "switched off by gate.champion"
    before = published_before(run.home, run.run_date, run.run_id)
    if before is None:
        return None, "nothing was published before"
    why_not = _why_not(run, before)
    return (None, why_not) if why_not else (before.folder.relative_to(run.store).as_posix(), "")


def _why_not(run: Run, before: PublishedRun) -> str:
    """Why a published run is none to be compared with; empty where it is one, and on this machine."""
    if before.manifest["input"]["dataset"] != run.snapshot.dataset:
        return f"run {before.run_id} is of {before.manifest['input']['dataset']}"
    if before.manifest["config"].get("demo") != run.effective_config.get("demo"):
        return f"run {before.run_id} is of another demo"
    try:
        for part in CHAMPION_PARTS:
            before.part(part)
    except DamagedObject as error:
        return error.what
    kept = all(judged_folder(before.folder, role).is_dir() for role in ROLES)
    return "" if kept else f"run {before.run_id} has kept no judged models"


def mend_pointer(store: Store, token: int = 0, *, damaged: str | None = None) -> Pointer | None:
    """The pointer, once it leads to a whole run; where it did not, to the latest whole one of its night or before.

    Where there is none it is taken away: then nothing is published, which is what readers are told.

    Args:
        token: of the lease under which it is done.
        damaged: a run that is known to be damaged.
    """
    night: date | None
    try:
        current = store.current()
        if current is None:
            return None
        if current.run_id != damaged and state_of(store.root / current.path).name == "complete":
            store.point_to(current, token)  # for the link beside it
            return current
        night, why = current.run_date, f"run {current.run_id} is damaged"
    except BrokenPointer as error:
        if store.pointer_file.is_dir():
            raise
        night, why = error.night, f"{error.what} {error.found}"
    whole = _latest_whole(store, night, damaged)
    if whole is None:
        store.withdraw(token)
        log.warning("publish: the pointer is taken away: %s; there is no whole run before", why)
    else:
        store.point_to(whole, token)
        log.warning("publish: the pointer leads to run %s of %s again: %s", whole.run_id, whole.run_date, why)
    return whole


def _damage_of(run: Run, store: Store) -> Damage | None:
    """None where the run is whole, or was never complete and so may simply go on."""
    if not run.complete and not (run.folder.exists() and store.named() == run.run_id):
        return None
    damage = find_damage(store.contents(run.folder))
    if damage and store.restore(run.folder, damage.changed + damage.missing, damage.added):
        log.warning("run %s was damaged (%s) and is mended from this machine's copy", run.run_id, damage)
        damage = find_damage(store.contents(run.folder))
    return damage or None


def _latest_whole(store: Store, night: date | None, damaged: str | None) -> Pointer | None:
    return next((run.pointer for run in latest_runs(store, night, damaged) if not run.damage()), None)


def _set_aside(run: Run) -> None:
    """Out of `runs`, into the work that goes when the rebuilt run is published; nothing of either is used again."""
    shutil.rmtree(run.work, ignore_errors=True)
    run.work.mkdir(parents=True)
    os.replace(run.folder, run.set_aside)
    sync_folder(run.folder.parent)


def _clear_work(store: Store, run: Run) -> None:
    """What a kill kept a published or refused run from clearing; an unfinished run needs its work to go on."""
    for folder in store.runs():
        work = store.work_folder(run_id_of(folder))
        if work != run.work and work.exists() and not may_go_on(state_of(folder)):
            shutil.rmtree(work, ignore_errors=True)
