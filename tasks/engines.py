"""Where the pieces of a stage run: one after the other in this process, or on the workers of a Dask cluster.

The pieces are the same, and so are the bytes they make; only where and how many at a time differs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

from prefect import Task

from recsys.config import ComputeConfig, RunConfig
from recsys.errors import RecsysError, SourceUnavailable, UsageError, sample
from recsys.identity import code_version
from recsys.publish.manifest import library_versions
from recsys.run import Run

if TYPE_CHECKING:
    from distributed import Client
    from prefect_dask.task_runners import DaskTaskRunner

log = logging.getLogger("recsys")

CONNECT_S = 20.0  # to reach a scheduler and a first worker; they answer within a second or are not there
NOBODY_S = 60.0  # without any worker before a run is given up: a nanny starts a dead one anew within seconds
LOOK_S = 0.05
# One piece at a time in a worker, which has threads of its own; what it may hold is for compute.memory_mib to say.
# Prefect's lines go to the run's page, not to the terminal of whoever started it.
LOCAL_CLUSTER = {
    "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None, "silence_logs": logging.CRITICAL,
    "env": {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"},
}  # fmt: skip
CORES_A_WORKER = 4  # a worker holds a model of its own, its threads share it


class EngineLost(RecsysError):
    """The cluster went away in the middle of a run."""

    exit_code = SourceUnavailable.exit_code


class Engine(Protocol):
    """A way to run the pieces of a stage."""

    def each(self, task: Task[..., Any], run: Run, pieces: Sequence[Any]) -> list[Any]:
        """The results of `task(run, piece)`, in the order of the pieces; the first failure is raised."""


class Local:
    """In this process, one piece after the other: each uses all threads."""

    def each(self, task: Task[..., Any], run: Run, pieces: Sequence[Any]) -> list[Any]:
        """Call the task on each piece."""
        return [task(run, piece) for piece in pieces]


class OnDask:
    """On the workers of a cluster, through Prefect's task runner.

    Args:
        threads: that a piece may use; 0: one a core its worker may run on.
    """

    def __init__(self, runner: DaskTaskRunner, threads: int) -> None:
        self.runner, self.threads = runner, threads

    def each(self, task: Task[..., Any], run: Run, pieces: Sequence[Any]) -> list[Any]:
        """Submit all pieces and wait for them.

        Raises:
            EngineLost: the scheduler went away, no worker was left, or one piece after another killed its worker.
        """
        compute = run.config.compute.model_copy(update={"threads": self.threads})
        theirs = replace(run, config=run.config.model_copy(update={"compute": compute}))
        second = list(task.fn.__annotations__)[1]
        with _loss_told():
            futures = [self.runner.submit(task, {"run": theirs, second: piece}) for piece in pieces]
            _wait(self.runner.client, [future.wrapped_future for future in futures])
            return [future.result() for future in futures]


@contextmanager
def engine_of(config: RunConfig, store: Path) -> Iterator[Engine]:
    """The engine that a configuration names.

    Args:
        store: the folder that all workers must see.

    Raises:
        UsageError: Dask is not installed, or workers are not as this process is.
        SourceUnavailable: no scheduler answers at the address, or it has no workers.
    """
    if config.engine == "local":
        yield Local()
        return
    with _loss_told(), _runner(config) as runner:
        _require_alike(runner.client, store)
        log.info("engine: dask, %d workers", len(runner.client.scheduler_info(n_workers=-1)["workers"]))
        yield OnDask(runner, config.compute.threads if config.scheduler else _threads(config.compute))


@contextmanager
def _runner(config: RunConfig) -> Iterator[DaskTaskRunner]:
    try:
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise UsageError(
            "The engine dask is not installed.",
            expected="the extra `dask` of this package",
            found=str(error),
            todo='install it: pip install "recsys[dask]"; or leave out --engine dask',
        ) from error
    if config.scheduler is None:
        workers = _workers(config.compute)
        with DaskTaskRunner(cluster_kwargs={"n_workers": workers, **LOCAL_CLUSTER}) as runner:
            runner.client.wait_for_workers(workers, timeout=NOBODY_S)
            yield runner
        return
    try:  # Prefect's client would say it with a traceback, and wait longer
        with Client(config.scheduler, timeout=CONNECT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(1, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise SourceUnavailable(
            f"The Dask scheduler {config.scheduler} cannot be used.",
            expected=f"a scheduler with workers that answers within {CONNECT_S:g} s",
            found=str(error) or type(error).__name__,
            todo="start it with its workers (docs/scaling.md), or mend --scheduler; --engine local needs none",
        ) from error
    with DaskTaskRunner(address=config.scheduler) as runner:
        yield runner


def _workers(compute: ComputeConfig) -> int:
    """Worker processes of a local cluster."""
    return compute.workers or max(2, len(os.sched_getaffinity(0)) // CORES_A_WORKER)


def _threads(compute: ComputeConfig) -> int:
    """Threads of each of them: as many as leave no core with two."""
    return compute.threads or max(1, len(os.sched_getaffinity(0)) // _workers(compute))


def _require_alike(client: Client, store: Path) -> None:
    """Workers with other code or libraries could make other bytes, and without the store they make nothing.

    Raises:
        UsageError: names a worker and what differs.
    """
    own = {"code": code_version(), **library_versions()}
    store.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=store, prefix=".seen-by-workers-") as probe:
        path = Path(probe.name).resolve()
        theirs = client.run(lambda: (code_version(), library_versions(), path.exists()))
    for address, (code, libraries, sees) in theirs.items():
        if not sees:
            raise UsageError(
                f"The Dask worker {address} does not see the store.",
                expected=f"{store.resolve()} on every machine, on a shared disk",
                found="no such folder there",
                todo="mount it there under the same path, or choose another with --store",
            )
        other = {"code": code, **libraries}
        if other != own:
            differ = [f"{name} {other.get(name)} for {own.get(name)}" for name in own if other.get(name) != own[name]]
            raise UsageError(
                f"The Dask worker {address} is not as this process is: it might make other bytes.",
                expected="the same code and libraries everywhere",
                found=sample(differ or sorted(set(other) - set(own))),
                todo="install the same requirements there and start it anew",
            )


def _wait(client: Client, futures: list[Any]) -> None:
    """Wait for all futures, and not for ever where nobody is left to work on them."""
    seen = time.monotonic()
    for future in futures:
        while not future.done():
            time.sleep(LOOK_S)
            if client.status == "running" and client.scheduler_info(n_workers=-1)["workers"]:
                seen = time.monotonic()
            if time.monotonic() - seen > NOBODY_S:
                raise EngineLost(**_lost(f"no worker for {NOBODY_S:g} s"))


@contextmanager
def _loss_told() -> Iterator[None]:
    """Within, a cluster that goes away is no defect."""
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "distributed" and type(error).__name__ != "CancelledError":
            raise
        raise EngineLost(**_lost(f"{type(error).__name__}: {error}")) from error


def _lost(found: str) -> dict[str, str]:
    return {
        "what": "The Dask cluster was lost in the middle of the run; the published tables are as they were.",
        "expected": "a scheduler and workers until the end",
        "found": found,
        "todo": "start them again and give the same command: what was finished is kept and the run goes on from there",
    }
