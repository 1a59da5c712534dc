"""The engine dask: the same bytes from any workers, also when they or their scheduler die in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("prefect_dask", reason="the extra `dask` is not installed")

# A small night in nine shards.
CUT = """
from deployments.cli.app import main
from recsys.prepare.shards import SHARD_RATINGS, cut

cut.__defaults__ = (SHARD_RATINGS, 60)
main()
"""
# A worker that takes its time over a shard, so that it can be caught at it.
SLOW = """
import time
import recsys.parquet
import recsys.score.stage as stage


def write_slowly(*given):
    time.sleep(0.5)
    recsys.parquet.write_batches(*given)


stage.write_batches = write_slowly
"""
SIZE = ("--set", "demo.users=500", "--set", "demo.items=300", "--set", "demo.ratings=20000", "--rater", "means")
NIGHT = ("run", *SIZE, "--run-date", "2026-11-07", "--set", "compute.threads=1", "--top-n", "200")
AT_WORK = re.compile(r"\w+-\d{5}\.(?P<host>.+)-(?P<pid>\d+)\.partial")


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CUT, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, told = process.communicate(timeout=300)
    assert process.returncode == code, told
    return told


@pytest.fixture(scope="module")
def expected(server_env, tmp_path_factory, tables) -> dict[str, str]:
    """By --engine local."""
    store = tmp_path_factory.mktemp("local")
    finish(start(server_env, *NIGHT, "--store", store))
    manifest = json.loads((store / "published" / "current" / "manifest.json").read_text())
    assert manifest["timings"]["score"]["shards"] == manifest["timings"]["evaluate"]["shards"] == 9
    return tables(store)


class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, env: dict[str, str], folder: Path, port: int) -> None:
        self.env, self.folder, self.port = env, folder, port
        (folder / "slow.py").write_text(SLOW)
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, workers: int = 2) -> None:
        self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        for _ in range(workers):
            self._start(
                "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", "slow.py"
            )

    def _start(self, kind: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        with (self.folder / f"{kind}-{len(self.processes)}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)
            )  # fmt: skip

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()


@pytest.fixture
def cluster(server_env, tmp_path, free_port) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(server_env, folder, free_port())
    cluster.start()
    yield cluster
    cluster.stop()


def caught_at_work(store: Path, stage: str, run: subprocess.Popen[str], alive: Callable[[int], bool]) -> int:
    """The process id of a worker that is stopped in the middle of a shard."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and run.poll() is None:
        for folder in store.glob(f"work/*/under-way/{stage}-*.partial"):
            found = AT_WORK.fullmatch(folder.name)
            if not found or not alive(pid := int(found["pid"])):
                continue
            os.kill(pid, signal.SIGSTOP)
            if folder.exists():
                return pid
            os.kill(pid, signal.SIGCONT)  # it was done just then
    pytest.fail(f"no worker was seen in {stage}: {run.poll()}")


def test_two_workers_of_its_own_make_the_same_bytes(server_env, tmp_path, expected, tables) -> None:
    told = finish(
        start(server_env, *NIGHT, "--store", tmp_path, "--engine", "dask", "--set", "compute.workers=2")
    )  # fmt: skip
    assert "engine: dask, 2 workers" in told
    assert "distributed" not in told
    assert "Traceback" not in told
    assert tables(tmp_path) == expected


def test_a_killed_worker_costs_its_shard_only(server_env, tmp_path, cluster, expected, tables) -> None:
    store = tmp_path / "store"
    run = start(server_env, *NIGHT, "--store", store, "--engine", "dask", "--scheduler", cluster.address)
    workers = {process.pid for process in cluster.processes[1:]}
    os.kill(caught_at_work(store, "scored", run, workers.__contains__), signal.SIGKILL)
    finish(run)
    assert tables(store) == expected


def test_a_scheduler_that_goes_away_ends_the_run_which_then_goes_on(
    server_env, tmp_path, cluster, expected, tables
) -> None:
    store = tmp_path / "store"
    arguments = (*NIGHT, "--store", store, "--engine", "dask", "--scheduler", cluster.address)
    run = start(server_env, *arguments)
    caught_at_work(store, "scored", run, lambda _: True)
    done = {folder: folder.stat().st_ino for folder in store.glob("work/*/evaluated/?????")}
    assert len(done) == 9
    cluster.stop()
    cluster.start()  # on the same port, and it knows nothing of the run
    told = finish(run, code=5)
    assert "Dask cluster was lost" in told
    assert "Traceback" not in told
    assert not (store / "published").exists()
    assert {folder: folder.stat().st_ino for folder in store.glob("work/*/evaluated/?????")} == done
    finish(start(server_env, *arguments))
    assert tables(store) == expected


def test_no_scheduler_is_one_message(server_env, tmp_path, free_port) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    told = finish(start(server_env, *NIGHT, "--store", tmp_path, "--engine", "dask", "--scheduler", address), code=5)
    assert f"The Dask scheduler {address} cannot be used" in told
    assert "Traceback" not in told


def test_a_scheduler_goes_with_dask_only(cli, tmp_path) -> None:
    told = cli("run", "--store", tmp_path, "--scheduler", "tcp://127.0.0.1:8786", code=2).err
    assert "goes with --engine dask" in told
