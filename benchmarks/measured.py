"""A command's wall time, and the peak of its memory with all its children's; and this process' own clocks."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

SAMPLE_S = 0.02


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: wall time.
        cpu_seconds: of all its processes; hardly depends on what else the machine does.
        peak_mib: highest sum over the process tree of resident memory, pages shared between processes counted once a
            process, so rather too much than too little.
        own_peak_mib: the same without the children.
        private_peak_mib: as peak_mib, without pages of mapped files, which the system may drop at any time.
        out: standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    own_peak_mib: float
    private_peak_mib: float
    out: str


class Clock:
    """Wall and CPU seconds of this process since the clock was made, less what is left out."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Wall (seconds) and CPU time (cpu_seconds); the latter hardly depends on what else the machine does."""
        return {"seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}

    def leave_out(self, since: Mapping[str, float]) -> None:
        """Go on from a reading, as if the time after it had not passed."""
        self.wall = time.perf_counter() - since["seconds"]
        self.cpu = time.process_time() - since["cpu_seconds"]


def measure(command: Sequence[str], env: Mapping[str, str]) -> Measured:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:  # a full pipe would stop it
        started, before = time.monotonic(), _children_cpu()
        process = psutil.Popen(list(command), env=dict(env), stdout=out, stderr=err)
        peak = own = private = 0
        used: dict[
            int, float
        ] = {}  # CPU seconds of each process when last seen: not all are waited for by their parent
        while process.poll() is None:
            now = _memory(process, used)
            peak, own = max(peak, sum(each.rss for each in now)), max(own, now[0].rss if now else 0)
            private = max(private, sum(each.rss - each.shared for each in now))
            time.sleep(SAMPLE_S)
        seconds, cpu = time.monotonic() - started, max(_children_cpu() - before, sum(used.values()))
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {err.read()[-2000:]}")
        return Measured(seconds, cpu, peak / 2**20, own / 2**20, private / 2**20, out.read())


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(process: psutil.Popen, used: dict[int, float]) -> list[Any]:
    """Memory of the process and its children, whose CPU seconds so far are noted."""
    found = []
    try:
        for each in [process, *process.children(recursive=True)]:
            found.append(each.memory_info())
            used[each.pid] = sum(each.cpu_times()[:2])  # user and system
    except psutil.NoSuchProcess:  # one that ended while it was asked; the next sample sees the others
        return []
    return found
