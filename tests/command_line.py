"""Calls of `recsys` in processes of their own that need not import everything anew.

A call imports Prefect, Numba and the library for three seconds, loads compiled functions for another, and tests make
hundreds. So a server of the standard library's multiprocessing imports all that, makes a small night, and forks: a call
still has its own process, environment, folder, standard streams and exit code. What tells of the start itself (signals, a
terminal, other settings of Prefect) runs the program.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("recsys")
IMPORTED = ["deployments.cli.app", "deployments.cli.prefect_local", "flows.nightly", "flows.backfill", "flows.history"]
IMPORTED += ["fastapi", "prefect.engine", "one_night"]  # the last makes a night
TESTS = Path(__file__).parent
PATH = f"{TESTS.parent}{os.pathsep}{TESTS}"  # in this order: the tests have a folder `deployments` too
WARM = "RECSYS_TESTS_WARM"  # see `one_night`
AT_IMPORT = ("PREFECT_", "DO_NOT_TRACK", "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "PYTHON", "NUMBA_")

# What a fresh interpreter would do, around the program's main(): a forked one runs no atexit functions by itself.
CALL = """
import atexit, os, sys, threading
os.environ.clear()
os.environ.update(env)
os.chdir(cwd)
os.setsid()
for number, path in enumerate(streams):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
sys.argv[:] = [program, *arguments]
from prefect.context import refresh_global_settings_context
refresh_global_settings_context()
from deployments.cli.app import main
try:
    main()
finally:
    threading._shutdown()
    atexit._run_exitfuncs()
"""

NIGHT = """
import os
assert os.environ["RECSYS_TESTS_WARM"] == str(os.getppid()), "the server did not make a night: tries are mostly imports"
from one_night import make_night
make_night(*given)
"""


@dataclass(frozen=True)
class Called:
    """What a call gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Started:
    """A call under way, with the words of `subprocess.Popen`."""

    def __init__(self, process: Any) -> None:
        self._process, self.pid = process, process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, once it has ended."""
        self._process.join(timeout)
        return self.poll()


class CommandLine:
    """The program, in an environment.

    Args:
        env: of all calls.
        folder: for what the server makes.
    """

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self.env, self._folder = dict(env), folder
        self._context = multiprocessing.get_context("forkserver")
        self._started = threading.Lock()

    def call(
        self, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 240
    ) -> Called:
        """Call it, with `env` added."""
        given, words = self.env | dict(env or {}), [str(argument) for argument in arguments]
        if any(name.startswith(AT_IMPORT) for name, value in (env or {}).items() if self.env.get(name) != value):
            done = subprocess.run(
                [str(PROGRAM), *words], env=given, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
            )
            return Called(done.returncode, done.stdout, done.stderr)
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            process = self._forked(words, given, cwd, out, err)
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired(words, timeout, out.read_text(), err.read_text())
            return Called(process.exitcode, out.read_text(), err.read_text())

    def start(self, *arguments: object) -> Started:
        """Call it and do not wait: the leader of a session of its own, whose words are not kept."""
        process = self._forked([str(each) for each in arguments], self.env, None, os.devnull, os.devnull)
        while process.exitcode is None and os.getpgid(process.pid) != process.pid:
            time.sleep(0.001)
        return Started(process)

    def night(self, *given: object) -> Any:
        """A process that makes a night without Prefect, started: see `one_night.make_night`."""
        self._start()
        process = self._context.Process(target=exec, args=(NIGHT, {"given": given}))
        process.start()
        return process

    def _forked(self, words: list[str], env: Mapping[str, str], cwd: Path | None, out: Any, err: Any) -> Any:
        self._start()
        names = {"env": dict(env), "cwd": str(cwd or Path.cwd()), "streams": [os.devnull, str(out), str(err)]}
        process = self._context.Process(target=exec, args=(CALL, names | {"program": str(PROGRAM), "arguments": words}))
        process.start()
        return process

    def _start(self) -> None:
        """The server imports in the environment of the calls: Prefect reads its settings then."""
        from deployments.cli.prefect_local import QUIET

        with self._started:
            self._context.set_forkserver_preload(["deployments.cli.prefect_local", "prefect.main", *IMPORTED])
            before = dict(os.environ)
            os.environ.clear()
            os.environ.update({**QUIET, **self.env, "PYTHONPATH": PATH, WARM: str(self._folder)})
            try:
                forkserver.ensure_running()
            finally:
                os.environ.clear()
                os.environ.update(before)
