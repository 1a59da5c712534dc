"""Running a flow from the command line, with or without a Prefect server set up.

Without one a temporary server is started beside the run, as Prefect itself would, but here its start overlaps with the
imports, what it prints (cancelled-task traces, SQLite locks: nothing to an operator) goes to a file, and it ends with
this process, however that ends. Its database is the run's own and goes with it. Nothing is sent to the outside.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from recsys.errors import RecsysError

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "recsys",  # the library's lines show on the run's page
}
SERVER = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "error")
EPHEMERAL = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # 4 s with a new database, and no stage uses a block
}
START_S = 120  # 6 to 10 s on an idle machine, more with a fresh database on a busy one
PR_SET_PDEATHSIG = 1
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up here: between fork and exec that could wait for a lock


class ServerNotStarted(RecsysError):
    """Prefect's temporary server did not come up."""


def quiet_defaults() -> None:
    """Defaults for Prefect, before it is imported; what the operator has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def own_homes(folder: Path) -> None:
    """Prefect's and Keras's folders below `folder` where the user's cannot be written to; a readable profile counts."""
    try:
        Path.home()
    except RuntimeError:  # no HOME and a user without a name, as in some containers
        os.environ["HOME"] = str(folder)
    for name, usual in (("PREFECT_HOME", "~/.prefect"), ("KERAS_HOME", "~/.keras")):
        home = Path(os.environ.get(name, usual)).expanduser()
        if not _writable(home):
            own = folder / name.lower()
            own.mkdir()
            os.environ[name] = str(own)
            if name == "PREFECT_HOME" and os.access(home / "profiles.toml", os.R_OK):
                os.environ.setdefault("PREFECT_PROFILES_PATH", str(home / "profiles.toml"))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


class Database:
    """The temporary server's database, a copy of an empty one: to make one takes 7 s, and it would grow every night.

    Args:
        folder: the run's own.
        home: Prefect's; the empty database is kept there, one for each version of Prefect.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        from prefect import __version__

        self.file, self.empty = folder / "prefect.db", home / f"recsys-empty-{__version__}.db"
        self.url = f"sqlite+aiosqlite:///{self.file}"
        if self.empty.exists():
            shutil.copyfile(self.empty, self.file)

    def keep_empty(self) -> None:
        """Keep a copy for the next run, if there is none; call before a flow writes to it."""
        if self.empty.exists():
            return
        fresh = self.empty.with_name(f"{self.empty.name}.{os.getpid()}")
        with suppress(OSError, sqlite3.Error):
            with closing(sqlite3.connect(self.file)) as full, closing(sqlite3.connect(fresh)) as copy:
                full.backup(copy)
            os.replace(fresh, self.empty)
        fresh.unlink(missing_ok=True)


class Server:
    """The Prefect API of this run: the one that is set up, or a temporary one."""

    def __init__(
        self, process: subprocess.Popen[bytes] | None, url: str, log: Path, database: Database | None = None
    ) -> None:
        self.process, self.url, self.log, self.database = process, url, log, database

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
                    found=_cause(self.log.read_text(errors="replace")) or "no answer",
                    todo="look at that; or start one with `prefect server start` and set PREFECT_API_URL",
                )
            time.sleep(0.05)
        if self.database is not None:
            self.database.keep_empty()

    def _answers(self) -> bool:
        import httpx  # later than Prefect, which has it

        with suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=5) as client:
            return client.get(f"{self.url}/health").status_code == httpx.codes.OK
        return False


@contextmanager
def prefect_server() -> Iterator[Server]:
    """Within, Prefect talks to the server that is set up, else to a temporary one; call `wait` before a flow."""
    with tempfile.TemporaryDirectory(prefix="recsys-prefect-", ignore_cleanup_errors=True) as folder:
        own_homes(Path(folder))
        import prefect.main  # noqa: F401  (sets logging up, so that there are handlers to silence)
        from prefect.settings import get_current_settings

        _silence_console()
        if get_current_settings().api.url:
            yield Server(None, get_current_settings().api.url or "", Path())
            return
        server = _start(Path(folder))
        try:
            yield server
        finally:
            _drain()
            _stop(server)


def _start(folder: Path) -> Server:
    from prefect.context import refresh_global_settings_context

    log, database = folder / "server.log", _own_database(folder)
    own = {} if database is None else {"PREFECT_API_DATABASE_CONNECTION_URL": database.url}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *SERVER, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **EPHEMERAL, **own},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C on a terminal is for the run, whose last words still go to the server
            preexec_fn=_end_with_parent,  # noqa: PLW1509  (no other thread runs yet, and it takes no lock)
        )
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    return Server(process, url, log, database)


def _own_database(folder: Path) -> Database | None:
    """None where the operator has named a database."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    named = settings.server.database.connection_url
    usual = f"sqlite+aiosqlite:///{settings.home}/prefect.db"
    return Database(folder, settings.home) if named is None or named.get_secret_value() == usual else None


def _cause(log: str) -> str:
    """The last line of a server's log that names an error, else its last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")


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
    for name in ("", *logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler).__name__ == "PrefectConsoleHandler":
                logger.removeHandler(handler)
    logging.getLogger("prefect").addHandler(logging.NullHandler())
