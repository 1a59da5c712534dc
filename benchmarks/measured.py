"""A command's wall time, and the peak of its memory with all its children's; and this process' own clocks."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

SAMPLE_S = 0.02


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: wall time.
        peak_mib: highest sum over the process tree of resident memory, pages shared between processes counted once a
            process, so rather too much than too little.
        own_peak_mib: the same without the children.
        out: standard output.
    """

    seconds: float
    peak_mib: float
    own_peak_mib: float
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
    started = time.monotonic()
    process = psutil.Popen(list(command), env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = own = 0
    while process.poll() is None:
        now = _resident(process)
        peak, own = max(peak, sum(now)), max(own, now[0] if now else 0)
        time.sleep(SAMPLE_S)
    seconds = time.monotonic() - started
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {err[-2000:]}")
    return Measured(seconds, peak / 2**20, own / 2**20, out)


def _resident(process: psutil.Popen) -> list[int]:
    try:
        return [each.memory_info().rss for each in [process, *process.children(recursive=True)]]
    except psutil.NoSuchProcess:  # one that ended while it was asked; the next sample sees the others
        return [0]
