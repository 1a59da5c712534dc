"""Where the page of a run stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from recsys.errors import UsageError, sample
from recsys.published import PublishedRun
from recsys.report import PAGE
from recsys.store import REFUSED, Store, open_store, run_date_of, run_id_of


@dataclass(frozen=True)
class Page:
    """A run's page.

    Attributes:
        file: where it stands.
        run_date, run_id: of the run.
        refused: whether the gate refused the run.
    """

    file: Path
    run_date: str
    run_id: str
    refused: bool


def find_page(store: Store | Path | str, run_date: date | None = None) -> Page:
    """The page, on this machine, of the published run; or of a date's: the published, the last complete or refused one.

    Raises:
        UsageError: there is none.
    """
    opened = open_store(store)
    try:
        folder = PublishedRun.open(opened, run_date).folder
    except UsageError:
        refused = [] if run_date is None else _refused(opened, run_date)
        if not refused:
            raise
        folder = refused[-1]
    return _page_in(opened, folder)


def _refused(store: Store, run_date: date) -> list[Path]:
    """Runs of a date that the gate refused, in the order in which they were made."""
    folders = [path for path in store.runs() if path.parent.name == f"run_date={run_date.isoformat()}"]
    return sorted(
        (path for path in folders if (path / REFUSED).exists()), key=lambda path: (path / REFUSED).stat().st_mtime
    )


def _page_in(store: Store, folder: Path) -> Page:
    store.here(folder, PAGE.parts[0])
    run_id, run_date = run_id_of(folder), run_date_of(folder)
    if not (folder / PAGE).exists():
        raise UsageError(
            f"Run {run_id} of {run_date} has no page.",
            expected=str(folder / PAGE),
            found=sample(sorted(path.name for path in folder.iterdir())),
            todo="it was made by an earlier version: the next night has one; `recsys runs verify` says whether the run "
            "is damaged",
        )
    return Page(folder / PAGE, run_date, run_id, (folder / REFUSED).exists())
