"""An installation as operators have one: a Prefect server, PostgreSQL behind it, a worker, and someone who is told."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE_S = 150  # a minute's schedule, a worker's start and a night on a busy machine
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Postgres:
    """A PostgreSQL of its own, with an empty database, that can be stopped and started again.

    Attributes:
        url: of the database, as Prefect wants it.
    """

    def __init__(self) -> None:
        self.programs, user = _postgres_programs(), _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))
        self.own: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        self.port, self.process = _free_port(), None
        self.url = f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/postgres"
        if user is not None:
            shutil.chown(self.folder, user.pw_uid, user.pw_gid)
        made = subprocess.run(
            [self.programs / "initdb", "-D", self.folder / "data", "-U", "prefect", "--auth=trust", "--no-sync", "-E", "UTF8",
             "--locale=C"],
            capture_output=True, text=True, timeout=120, check=False, cwd=self.folder, **self.own,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-h", "127.0.0.1", "-k",
                 self.folder, "-c", "fsync=off"],
                stdout=log, stderr=log, cwd=self.folder, **self.own,
            )  # fmt: skip
        _wait(lambda: _answers(self.port), "PostgreSQL", 60)

    def stop(self) -> None:
        """Fast: clients are cut off."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


@contextmanager
def _running() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL database; the server is stopped at the end."""
    with _running() as server:
        yield server.url


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """An empty database of its own, that may be stopped and started."""
    with _running() as server:
        yield server


def _postgres_programs() -> Path:
    """The folder of initdb and postgres, with the extension that Prefect asks for."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin")) + [Path(found).parent for found in _on_path("initdb")]
    for programs in reversed(known):
        if (programs / "initdb").exists() and (programs / "postgres").exists():
            if not _extension(programs):
                pytest.skip(f"PostgreSQL in {programs} has no pg_trgm: install Debian's postgresql-contrib or its like")
            return programs
    pytest.skip("no PostgreSQL: initdb is neither on the PATH nor in /usr/lib/postgresql; install Debian's postgresql")


def _on_path(program: str) -> list[str]:
    found = shutil.which(program)
    return [os.path.realpath(found)] if found else []


def _extension(programs: Path) -> bool:
    asked = subprocess.run([programs / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
    shared = [Path(asked.stdout.strip())] if asked.returncode == 0 else []
    shared.append(Path("/usr/share/postgresql") / programs.parent.name)
    return any((folder / "extension" / "pg_trgm.control").exists() for folder in shared)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; None where this is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Operator:
    """Who is told: a webhook and a mailbox on this machine.

    Attributes:
        calls: the JSON of each call of the webhook.
        mails: each e-mail.
        ratings: served at `ratings_url` while there are any.
    """

    webhook: str = ""
    mailbox: str = ""
    ratings_url: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    mails: list[Message] = field(default_factory=list)
    ratings: bytes | None = None

    def told(self, kind: str, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The first call of the webhook of a kind; waits for it, and for the e-mail that goes with it."""
        _wait(lambda: any(call["kind"] == kind for call in self.calls), f"alert {kind}", seconds)
        call = next(call for call in self.calls if call["kind"] == kind)
        _wait(lambda: any(mail["Subject"] == call["subject"] for mail in self.mails), f"e-mail {kind}", 30)
        return call


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """Someone who is told, and whose ratings are fetched over HTTP."""
    told = Operator()

    class Web(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.calls.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(200, b"")

        def do_GET(self) -> None:
            self._answer(200 if told.ratings is not None else 503, told.ratings or b"")

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    post = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_take_mail, args=(post, told.mails), daemon=True).start()
    told.webhook = f"http://127.0.0.1:{web.server_port}/alerts?token=s3cret"
    told.ratings_url = f"http://127.0.0.1:{web.server_port}/ratings.csv"
    told.mailbox = f"mailto://127.0.0.1:{post.getsockname()[1]}/?from=night@example.org&to=ops@example.org"
    yield told
    web.shutdown()
    web.server_close()
    post.close()


def _take_mail(server: socket.socket, mails: list[Message]) -> None:
    """As much of SMTP as a client without a password speaks."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed
            return
        with connection, connection.makefile("rwb") as stream:
            lines: list[str] | None = None
            _say(stream, "220 ready")
            for raw in stream:
                line = raw.decode().rstrip("\r\n")
                if lines is not None and line != ".":
                    lines.append(line.removeprefix("."))
                elif lines is not None:
                    mails.append(message_from_string("\n".join(lines)))
                    lines = None
                    _say(stream, "250 taken")
                elif line.upper() == "DATA":
                    lines = []
                    _say(stream, "354 go on")
                elif line.upper() == "QUIT":
                    _say(stream, "221 bye")
                    break
                else:
                    _say(stream, "250 fine")


def _say(stream: Any, line: str) -> None:
    stream.write(f"{line}\r\n".encode())
    stream.flush()


@dataclass
class Installation:
    """A Prefect server that is worked with by its command line and looked at by its API."""

    url: str
    env: dict[str, str]
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def readme(self, program: str, *more: object, env: dict[str, str] | None = None) -> str:
        """Give the command that the README has for a program, with its store here and more options; its output."""
        (line,) = re.findall(rf"^({re.escape(program)}.*)$", README, flags=re.MULTILINE)
        words = [str(self.store) if word == "./store" else word for word in shlex.split(line)]
        return self.call(*words, *more, env=env)

    def call(self, *words: object, env: dict[str, str] | None = None, code: int = 0) -> str:
        program, *rest = map(str, words)
        done = subprocess.run(
            [BIN / program, *rest], env=self.env | (env or {}), cwd=self.folder, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, deployment: str, **parameters: Any) -> str:
        """Run a deployment now; the run's id. By the API: two that are to meet must not wait for a command to start."""
        found = httpx.get(f"{self.url}/deployments/name/{deployment}", timeout=30).json()
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.post(f"/deployments/{found['id']}/create_flow_run", **body)["id"])

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def run(self, id: str) -> dict[str, Any]:
        return self.post("/flow_runs/filter", flow_runs={"id": {"any_": [id]}})[0]

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:
        """All runs, the oldest first, of which these keys have these values."""
        found = self.post("/flow_runs/filter", sort="EXPECTED_START_TIME_ASC")
        return [run for run in found if all(run[key] == value for key, value in wanted.items())]

    def ended(self, id: str) -> dict[str, Any]:
        """A run when it has ended."""
        _wait(lambda: self.run(id)["state_type"] in ENDED, f"run {id}", PATIENCE_S)
        return self.run(id)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Within, the worker that the README starts takes runs; its process."""
        (line,) = re.findall(r"^(prefect worker start.*)$", README, flags=re.MULTILINE)
        program, *rest = shlex.split(line)
        with (self.folder / "worker.log").open("a") as log:
            process = subprocess.Popen(
                [BIN / program, *rest], env=self.env | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """eventually(condition, what, seconds): wait until it holds."""
    return _wait


@pytest.fixture(scope="session")
def installation() -> type[Installation]:
    """Installation(url, env, folder)."""
    return Installation


def _wait(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.3)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
