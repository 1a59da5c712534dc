"""Running a flow from the command line, with or without a Prefect server set up.

Without one Prefect starts a temporary server. What it prints at start and exit (cancelled-task traces, SQLite locks)
says nothing to an operator; it goes to a file. Nothing is sent to the outside.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "recsys",  # the library's lines show on the run's page
}
SERVER_LOG = Path(tempfile.gettempdir()) / f"recsys-prefect-server-{os.getuid()}.log"


def quiet_defaults() -> None:
    """Defaults for Prefect, before it is imported; what the operator has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def prefect_ready() -> Iterator[None]:
    """Within, a Prefect API can be reached: the one that is set up, else a temporary one."""
    import prefect.main  # noqa: F401  (sets logging up, so that the handlers below exist)
    from prefect.settings import get_current_settings

    _silence_console()
    if get_current_settings().api.url:
        yield
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    with _output_to(SERVER_LOG):
        server.start()
    try:
        yield
    finally:
        # What is still queued goes out before the server ends: else each sender waits out its own retries.
        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)
        server.stop()


def _silence_console() -> None:
    """Prefect's own lines and tracebacks go to its server; this terminal shows the library's."""
    for name in ("", "prefect", "prefect.extra"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler).__name__ == "PrefectConsoleHandler":
                logger.removeHandler(handler)
    logging.getLogger("prefect").addHandler(logging.NullHandler())


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Processes started within inherit a file as standard output and error."""
    kept = [os.dup(number) for number in (1, 2)]
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for number in (1, 2):
            os.dup2(target, number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(target)
