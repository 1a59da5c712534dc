"""Progress of long work on a run's Prefect page, as artifacts; short work shows none."""

from __future__ import annotations

import contextvars
import threading
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from recsys.progress import Bar
from recsys.report.text import in_markdown

AFTER_S = 5.0  # of work before it is shown, and between two changes: the server is asked little
PATIENCE_S = 20.0  # for the last change: a server that does not answer is asked for minutes, which no work waits for


class OnPage:
    """The reporter for a flow run's page."""

    def start(self, label: str, total: int | None, unit: str) -> Bar:
        """Begin a piece of work; one whose end is not known has no share to show."""
        return _Quiet() if not total else _Shown(label, total, unit)


class _Quiet:
    def advance(self, amount: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Shown:
    """An artifact that a thread of its own keeps up to date, so that the work never waits for the server."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.ended = 0, threading.Event()
        self.artifact: UUID | None = None
        context = contextvars.copy_context()  # which run the artifact belongs to
        self.thread = threading.Thread(target=context.run, args=(self._keep,), name="progress", daemon=True)
        self.thread.start()

    def advance(self, amount: int) -> None:
        self.done += amount

    def close(self) -> None:
        self.ended.set()
        self.thread.join(PATIENCE_S)

    def _keep(self) -> None:
        while not self.ended.wait(AFTER_S):
            self._tell()
        if self.artifact is not None:
            self._tell()

    def _tell(self) -> None:
        share = min(100.0, 100.0 * self.done / self.total)
        words = f"{in_markdown(self.label)}: {self.done:,} of {self.total:,} {self.unit}"
        try:
            if self.artifact is None:
                self.artifact = cast(UUID, create_progress_artifact(share, description=words))
            else:
                update_progress_artifact(self.artifact, share, description=words)
        except Exception:  # noqa: BLE001  (a page that stands still must not stop the night)
            self.ended.set()
