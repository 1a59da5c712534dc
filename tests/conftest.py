"""A Prefect server for the whole session, and the command line as other programs call it."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RECSYS_TEST_DATA", ROOT.parent / "shared" / "data"))
RECSYS = Path(sys.executable).with_name("recsys")
# A deadline would fail a test for what else the machine is doing.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
START_S = 240  # of a Prefect server on a busy machine; 7 s on an idle one


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with real MovieLens archives; tests that need them are skipped where there is none."""
    if not (DATA / "ml-100k.zip").exists():
        pytest.skip(f"no MovieLens archives in {DATA}; name their folder with RECSYS_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's own folder, away from the user's, as a first start of the server leaves it.

    Such a start takes 20 CPU seconds, most of them for the database, which is made once, by the worker that comes first.
    """
    folder, home = tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("prefect-home")
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers of this session
    empty = folder / "empty.db"
    with (folder / "empty.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty.exists():
            first = tmp_path_factory.mktemp("first-home")
            with _serve(_bare(first), first):
                pass
            with closing(sqlite3.connect(first / "prefect.db")) as full, closing(sqlite3.connect(empty)) as copy:
                full.backup(copy)
    for name in ("prefect.db", f"recsys-empty-{version('prefect')}.db"):  # of a server, and of temporary ones
        shutil.copyfile(empty, home / name)
    return home


@pytest.fixture(scope="session")
def no_server_env(prefect_home: Path) -> dict[str, str]:
    """An environment in which no Prefect server is set up and nothing of this project is."""
    return _bare(prefect_home)


def _bare(prefect_home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "RECSYS_"))}
    return kept | {"PREFECT_HOME": str(prefect_home), "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def serve_prefect() -> Callable[[dict[str, str], Path], AbstractContextManager[str]]:
    """serve_prefect(env, folder): within, a real Prefect server runs; gives its API's address."""
    return _serve


@contextmanager
def _serve(env: dict[str, str], folder: Path) -> Iterator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = env | {"PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    env |= {"PREFECT_SERVER_UI_V2_ENABLED": "false", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}
    log = (folder / "log").open("w")
    command = [str(RECSYS.with_name("prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        _wait_for(url, process, Path(log.name))
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


@pytest.fixture(scope="session")
def prefect_server(
    no_server_env: dict[str, str],
    serve_prefect: Callable[[dict[str, str], Path], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The API address of a real Prefect server on SQLite; stopped at the end."""
    with serve_prefect(no_server_env, tmp_path_factory.mktemp("prefect-server")) as url:
        yield url


@pytest.fixture(scope="session")
def server_env(no_server_env: dict[str, str], prefect_server: str) -> dict[str, str]:
    """An environment in which the session's Prefect server is set up."""
    return no_server_env | {"PREFECT_API_URL": prefect_server}


@pytest.fixture(scope="session")
def recsys(server_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """recsys.call("run", "--store", store): what the program says, whatever its exit code."""
    return _beside("command_line").CommandLine(server_env, tmp_path_factory.mktemp("warm"))


Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def cli(recsys: Any) -> Cli:
    """cli("run", "--store", store, code=0): call `recsys` and check its exit code."""

    def call(*arguments: object, code: int = 0, env: dict[str, str] | None = None, timeout: float = 240) -> Any:
        done = recsys.call(*arguments, env=env, timeout=timeout)
        assert done.code == code, f"exit {done.code}, expected {code}\n{done.out}\n{done.err}"
        return done

    return call


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port that is free now."""
    return _free_port


@pytest.fixture(scope="session")
def tables() -> Callable[..., dict[str, str]]:
    """SHA-256 of every file of the tables of a store's published run, or of a night's."""

    def hashes(store: Path, run_date: str | None = None) -> dict[str, str]:
        night = store / "runs" / f"run_date={run_date}"
        run = (store / "published" / "current").resolve() if run_date is None else next(night.iterdir())
        parts = sorted(run.glob("*/part-*.parquet"))
        return {str(part.relative_to(run)): hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}

    return hashes


def _beside(name: str) -> ModuleType:
    """A module beside this one; tests are no package, so it is loaded by its path, and once."""
    full = f"recsys_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


@dataclass(frozen=True)
class Bucket:
    """A folder of its own in the session's S3 server.

    Attributes:
        uri: of the folder.
        env: what a process needs to get at it.
    """

    uri: str
    env: dict[str, str]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3-compatible server."""
    with _beside("object_servers").SeaweedFS(
        tmp_path_factory.mktemp("seaweedfs"), [_free_port() for _ in range(8)]
    ) as server:
        yield server


@pytest.fixture
def s3(s3_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """A folder of its own in it, that this process and others can get at."""
    env = _beside("object_servers").environment(s3_server.url) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with _in_environment(env, monkeypatch):
        yield Bucket(f"s3://tests/{tmp_path.name}-{uuid4().hex[:8]}", env)


@pytest.fixture
def faulty(s3: Bucket, s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy before the server of `s3`, which this process now asks; `faulty.fault` says what fails."""
    with _beside("object_servers").Proxy(s3_server.url) as proxy:
        s3.env.update(_beside("object_servers").environment(proxy.url))
        with _in_environment(s3.env, monkeypatch):
            yield proxy


@contextmanager
def _in_environment(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from recsys.objects import service
    from recsys.store import object_place

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for cached in (service.connect, object_place.is_conditional):
        cached.cache_clear()
    yield
    for cached in (service.connect, object_place.is_conditional):
        cached.cache_clear()


def _free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the Prefect server ended: {log.read_text()[-2000:]}")
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"no Prefect server after {START_S} s: {log.read_text()[-2000:]}")
