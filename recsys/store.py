"""The store on a local disk: its layout, the lock, stages that seal their folder, the pointer that readers follow."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recsys.compute import peak_memory_mib as process_peak_mib
from recsys.compute import release_memory
from recsys.errors import StoreBusy, UsageError, disk_told

log = logging.getLogger("recsys")

MANIFEST = "manifest.json"
PARTIAL = ".partial"  # ending of a folder that is still being made
TABLES = ("recommendations", "similar_items", "popular_items", "item_embeddings", "user_embeddings", "quarantine")


@dataclass(frozen=True)
class Pointer:
    """What CURRENT.json says."""

    run_date: date
    run_id: str
    path: str  # relative to the store


class BrokenPointer(UsageError):
    """The pointer cannot be read, or leads to no complete run.

    Args:
        night: that of the run it names; None where it cannot be read.
    """

    def __init__(self, what: str, *, expected: str, found: str, night: date | None = None) -> None:
        todo = "`recsys run` mends it; until then `recsys runs list` shows the runs, and --run-date names one of them"
        super().__init__(what, expected=expected, found=found, todo=todo)
        self.night = night


@dataclass(frozen=True)
class Store:
    """A folder that holds all runs and the pointer to the published one."""

    root: Path

    @property
    def raw(self) -> Path:
        """Downloads."""
        return self.root / "raw"

    @property
    def pointer_file(self) -> Path:
        """The pointer."""
        return self.root / "published" / "CURRENT.json"

    def run_folder(self, run_date: date, run_id: str) -> Path:
        """Where a run stands."""
        return self.root / "runs" / f"run_date={run_date.isoformat()}" / f"run_id={run_id}"

    def current(self) -> Pointer | None:
        """The published run; None where nothing is published yet.

        Raises:
            BrokenPointer: it cannot be read, or leads to no complete run.
        """
        pointer = self._pointer()
        if pointer is not None and not (self.root / pointer.path / MANIFEST).exists():
            raise BrokenPointer(
                f"The pointer {self.pointer_file} leads to a run that is not there.",
                expected=f"a complete run in {self.root / pointer.path}",
                found=f"no {MANIFEST}",
                night=pointer.run_date,
            )
        return pointer

    def names(self, run_id: str) -> bool:
        """Whether the pointer names a run, be it there or not."""
        try:
            pointer = self._pointer()
        except BrokenPointer:
            return False
        return pointer is not None and pointer.run_id == run_id

    def _pointer(self) -> Pointer | None:
        try:
            record = json.loads(self.pointer_file.read_text())
            return Pointer(date.fromisoformat(record["run_date"]), str(record["run_id"]), str(record["path"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:  # it is replaced as a whole: others wrote it
            raise BrokenPointer(
                f"The pointer {self.pointer_file} cannot be read.",
                expected="JSON with run_date, run_id and path",
                found=str(error),
            ) from error

    def work_folder(self, run_id: str) -> Path:
        """Where a run keeps what it needs only until it is published."""
        return self.root / "work" / f"run_id={run_id}"

    @property
    def incremental(self) -> Path:
        """What a night leaves to the next, so that it takes less time."""
        return self.root / "incremental"

    def runs(self) -> list[Path]:
        """Folders of all runs, complete or not, by (run_date, run_id)."""
        return sorted(self.root.glob("runs/run_date=*/run_id=*"))

    def point_to(self, pointer: Pointer) -> None:
        """Publish: replace the pointer as a whole, then the convenience link beside it; what is right stays as it is.

        A crash between the two leaves both on whole runs; the next run mends the link.
        """
        record = {"run_date": pointer.run_date.isoformat(), "run_id": pointer.run_id, "path": pointer.path}
        text = json.dumps(record, indent=2) + "\n"
        self.pointer_file.parent.mkdir(parents=True, exist_ok=True)
        if not self.pointer_file.exists() or self.pointer_file.read_bytes() != text.encode():
            write_whole(self.pointer_file, text)
        self._link(pointer)

    def withdraw(self) -> None:
        """Take the link and the pointer away: nothing is published."""
        link = self.pointer_file.parent / "current"
        if link.is_symlink():
            link.unlink()
        self.pointer_file.unlink(missing_ok=True)
        sync_folder(self.pointer_file.parent)

    def _link(self, pointer: Pointer) -> None:
        link = self.pointer_file.parent / "current"
        target = os.path.join("..", pointer.path)
        if link.is_symlink() and os.readlink(link) == target:
            return
        fresh = link.with_name("current.new")
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target)
            os.replace(fresh, link)
        except OSError as error:  # a file system without links: the pointer is what counts
            log.warning("publish: no link %s can be made (%s); readers follow %s", link, error, self.pointer_file)
        sync_folder(link.parent)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store; the system frees it when the process dies, however it dies.

        Raises:
            StoreBusy: another run holds it.
            UsageError: the store cannot be written to, or its disk fails within.
        """
        self._make_root()
        holder = self.root / "holder.json"
        lock = FileLock(self.root / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreBusy(
                f"Another run holds the store {self.root}.",
                expected="one run at a time",
                found=_describe(holder),
                todo="wait until it has ended; if it hangs, end that process, the lock goes with it",
            ) from error
        except OSError as error:
            raise self._not_writable(error) from error
        try:
            with disk_told(self.root):
                write_whole(holder, json.dumps(_holder()))
                yield
        finally:
            lock.release()

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> UsageError:
        return UsageError(
            f"The store {self.root} cannot be written to.",
            expected="a folder this user may write to",
            found=str(error),
            todo="choose another with --store, or mend its permissions or the disk",
        )


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


def write_whole(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old text or the new, also after a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (names) to disk."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _holder() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _describe(holder: Path) -> str:
    try:
        record = json.loads(holder.read_text())
        return f"process {record['pid']} on {record['host']}, since {record['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"
