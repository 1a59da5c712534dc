"""Running a flow from the command line, with or without a Prefect server set up.

Without one a temporary server is started beside the run, as Prefect itself would, but here its start overlaps with the
imports, what it prints (cancelled-task traces, SQLite locks: nothing to an operator) goes to a file, and it ends with
this process, however that ends. Nothing is sent to the outside.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from recsys.errors import RecsysError

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "recsys",  # the library's lines show on the run's page
}
SERVER = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "error")
EPHEMERAL = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_SERVER_UI_ENABLED": "false"}
START_S = 120  # 6 to 10 s on an idle machine, more with a fresh database on a busy one
PR_SET_PDEATHSIG = 1
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up here: between fork and exec that could wait for a lock


class ServerNotStarted(RecsysError):
    """Prefect's temporary server did not come up."""


def quiet_defaults() -> None:
    """Defaults for Prefect, before it is imported; what the operator has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


class Server:
    """The Prefect API of this run: the one that is set up, or a temporary one."""

    def __init__(self, process: subprocess.Popen[bytes] | None, url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ServerNotStarted: it ended, or took too long.
        """
        deadline = time.monotonic() + START_S
        while self.process is not None and not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerNotStarted(
                    "Prefect's temporary server did not start.",
                    expected=f"an answer from {self.url} within {START_S} s",
                    found=self.log.read_text(errors="replace")[-400:].strip() or "no answer",
                    todo="look at that; or start one with `prefect server start` and set PREFECT_API_URL",
                )
            time.sleep(0.05)

    def _answers(self) -> bool:
        with suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=5) as client:
            return client.get(f"{self.url}/health").status_code == httpx.codes.OK
        return False


@contextmanager
def prefect_server() -> Iterator[Server]:
    """Within, Prefect talks to the server that is set up, else to a temporary one; call `wait` before a flow."""
    import prefect.main  # noqa: F401  (sets logging up, so that there are handlers to silence)
    from prefect.settings import get_current_settings

    _silence_console()
    if get_current_settings().api.url:
        yield Server(None, get_current_settings().api.url or "", Path())
        return
    with tempfile.TemporaryDirectory(prefix="recsys-prefect-") as folder:
        server = _start(Path(folder) / "server.log")
        try:
            yield server
        finally:
            _drain()
            _stop(server)


def _start(log: Path) -> Server:
    from prefect.context import refresh_global_settings_context

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *SERVER, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **EPHEMERAL},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C on a terminal is for the run, whose last words still go to the server
            preexec_fn=_end_with_parent,  # noqa: PLW1509  (no other thread runs yet, and it takes no lock)
        )
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    return Server(process, url, log)


def _end_with_parent() -> None:
    """Also when the parent is killed: else each killed run would leave a server behind. Linux only."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _drain() -> None:
    """Send what is queued before the server ends: else each sender waits out its own retries."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _stop(server: Server) -> None:
    if server.process is None:
        return
    server.process.terminate()
    try:
        server.process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


def _silence_console() -> None:
    """Prefect's own lines and tracebacks go to its server; this terminal shows the library's."""
    for name in ("", "prefect", "prefect.extra"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler).__name__ == "PrefectConsoleHandler":
                logger.removeHandler(handler)
    logging.getLogger("prefect").addHandler(logging.NullHandler())
