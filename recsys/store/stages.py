"""Stages of a run, each of which makes a folder that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.compute import peak_memory_mib as process_peak_mib
from recsys.compute import release_memory
from recsys.store.files import sync_folder, sync_tree, write_whole

PARTIAL = ".partial"  # ending of a folder that is still being made


@contextmanager
def sealed_stage(folder: Path, record: Path, *, under_way: Path | None = None) -> Iterator[Path | None]:
    """Do a stage's work in a folder that appears whole or not at all.

    Yields None where the folder already stands, else an empty one to work in; when the block ends well that is flushed
    to disk, its seconds and the process's peak memory go to `record`, and it is renamed to `folder`. What a killed run
    left is removed first.

        with sealed_stage(run.folder / "prepared", run.record("prepare")) as work:
            if work is not None:
                ...

    Args:
        under_way: where another process may do the same work at the same time, as where a worker was taken for dead:
            each has a folder of its own in this one, on the same disk, and the first to be done stands. What a killed
            one left goes with this folder. None: nobody else works, beside `folder`.
    """
    if folder.exists():
        yield None
        return
    work = folder.with_name(f"{folder.name}{PARTIAL}")
    if under_way is not None:
        work = under_way / f"{folder.parent.name}-{folder.name}.{socket.gethostname()}-{os.getpid()}{PARTIAL}"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    started = time.monotonic()
    yield work
    release_memory()
    sync_tree(work)
    write_record(record, time.monotonic() - started)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(work, folder)
    except OSError:
        if under_way is None or not folder.exists():
            raise
        shutil.rmtree(work)
    sync_folder(folder.parent)


def write_record(path: Path, seconds: float, *, peak_memory_mib: int = 0, **more: Any) -> None:
    """Record what a stage took: wall seconds, and the peak memory of this process so far or of one that did a part."""
    peak = max(process_peak_mib(), peak_memory_mib)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"seconds": round(seconds, 3), "peak_memory_mib": peak, **more}))
