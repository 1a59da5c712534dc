"""The store: its layout, who may work on it, and the pointer that readers follow."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from recsys.errors import UsageError, disk_told, sample
from recsys.store.contents import Contents, LocalContents
from recsys.store.files import sync_folder, write_whole
from recsys.store.lease import SECONDS, Lease, LeaseLost, hold, last_token, require_free
from recsys.store.place import LocalPlace, Place, Stamped, Taken, not_writable

log = logging.getLogger("recsys")

MANIFEST = "manifest.json"
REFUSED = "manifest.refused.json"  # in its place where the gate refused the run
REFUSAL = Path("refused") / "reason.json"  # in a run's folder: why its input was refused
POINTER = "published/CURRENT.json"
TABLES = ("recommendations", "similar_items", "popular_items", "item_embeddings", "user_embeddings", "quarantine")


@dataclass(frozen=True)
class Pointer:
    """What CURRENT.json says."""

    run_date: date
    run_id: str
    path: str  # relative to the store

    @classmethod
    def read(cls, data: bytes) -> Pointer:
        """From JSON.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        record = json.loads(data)
        return cls(date.fromisoformat(record["run_date"]), str(record["run_id"]), str(record["path"]))

    def write(self, token: int) -> bytes:
        """As JSON, with the token of the lease under which it is written."""
        record = {"run_date": self.run_date.isoformat(), "run_id": self.run_id, "path": self.path, "token": token}
        return (json.dumps(record, indent=2) + "\n").encode()


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
    def name(self) -> str:
        """What people call it."""
        return str(self.root)

    @property
    def exists(self) -> bool:
        """Whether there is such a folder; of an object store nobody can say."""
        return self.root.exists()

    def shown(self, path: Path) -> str:
        """Where readers find what is at a path below the root."""
        return str(path)

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
        if pointer is not None and not self.has_manifest(self.root / pointer.path):
            raise BrokenPointer(
                f"The pointer {self.shown(self.pointer_file)} leads to a run that is not there.",
                expected=f"a complete run in {self.shown(self.root / pointer.path)}",
                found=f"no {MANIFEST}",
                night=pointer.run_date,
            )
        return pointer

    def named(self) -> str | None:
        """The id of the run that the pointer names, be it there or not; None where no pointer can be read."""
        try:
            pointer = self._pointer()
        except BrokenPointer:
            return None
        return None if pointer is None else pointer.run_id

    def names(self, run_id: str) -> bool:
        """Whether the pointer names a run, be it there or not."""
        return self.named() == run_id

    def _pointer(self) -> Pointer | None:
        return self._stamped()[1]

    def _stamped(self) -> tuple[Stamped | None, Pointer | None]:
        try:
            found = self.place.read(POINTER)
            return found, None if found is None else Pointer.read(found.data)
        except (OSError, ValueError, KeyError, TypeError) as error:  # it is replaced as a whole: others wrote it
            raise BrokenPointer(
                f"The pointer {self.shown(self.pointer_file)} cannot be read.",
                expected="JSON with run_date, run_id and path",
                found=str(error),
            ) from error

    def has_manifest(self, folder: Path) -> bool:
        """Whether the run of a folder is complete; its manifest is then in the folder."""
        return (folder / MANIFEST).exists()

    def here(self, folder: Path, part: str) -> Path:
        """A part of a complete run on this machine: a table, `prepared`, `model/ranker`."""
        return folder / part

    def contents(self, folder: Path) -> Contents:
        """The files of a run as readers get them."""
        return LocalContents(folder)

    def bytes_below(self, folder: Path) -> int:
        """What all files below a folder take."""
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def seal(self, folder: Path, manifest: str, name: str = MANIFEST) -> None:
        """Complete a run whose files all stand: its manifest is written last."""
        sync_folder(folder)
        write_whole(folder / name, manifest)

    def hide(self, path: Path) -> None:
        """Take a file or folder below the root away from readers elsewhere, manifests first; here it stays."""

    def restore(self, folder: Path, changed: Iterable[str], added: Iterable[str]) -> bool:
        """Mend a complete run's damaged files from another copy of the same bytes; whether there was one."""
        return False

    def push(self, paths: Iterable[Path]) -> None:
        """Show files below the root to readers elsewhere; here they see them as they are."""

    def pull(self, below: str) -> None:
        """Bring what others have made at a path below the root; here it is where it is."""

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

    def point_to(self, pointer: Pointer, token: int = 0) -> None:
        """Publish: replace the pointer as a whole, then the convenience link beside it; what is right stays as it is.

        A crash between the two leaves both on whole runs; the next run mends the link.

        Args:
            token: of the lease under which it is done.

        Raises:
            LeaseLost: a later holder of the store has been at the pointer.
        """
        try:
            found, current = self._stamped()
        except BrokenPointer:
            found, current = self.place.read(POINTER), None
        if current != pointer:
            self._swap(pointer, token, found)
        self._link(pointer)

    def _swap(self, pointer: Pointer, token: int, found: Stamped | None) -> None:
        _require_no_later(found, token)
        data = pointer.write(token)
        try:
            if found is None:
                self.place.create(POINTER, data, lambda: self._require_latest(token))
            else:
                self.place.replace(POINTER, data, found.version)
        except Taken as error:
            raise LeaseLost("a pointer that changed at the same moment") from error

    def _require_latest(self, token: int) -> None:
        """Where there is no pointer that a later holder could have stamped, its lease speaks for it."""
        if token and (last := last_token(self.place)) > token:
            raise LeaseLost(f"a lease with token {last}, this run's is {token}")

    def withdraw(self, token: int = 0) -> None:
        """Take the link and the pointer away: nothing is published.

        Raises:
            LeaseLost: a later holder of the store has been at the pointer.
        """
        found = self.place.read(POINTER)
        _require_no_later(found, token)
        link = self.pointer_file.parent / "current"
        if link.is_symlink():
            link.unlink()
        if found is not None:
            self.place.remove(POINTER, found.version)

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

    @property
    def place(self) -> Place:
        """Where the records lie that runs compete for."""
        return LocalPlace(self.root)

    @contextmanager
    def hold(self, seconds: float = SECONDS) -> Iterator[Lease]:
        """Be the one run that works on the store; freed when the block ends or this process does.

        Args:
            seconds: how long another machine waits for a holder that is silent.

        Raises:
            StoreBusy: another run holds it.
            LeaseLost: another run took it over within.
            UsageError: the store cannot be written to, or its disk fails within.
        """
        self._make_root()
        with disk_told(self.root), hold(self.place, self.name, seconds, self._stamp, self._last_token()) as lease:
            yield lease

    def _last_token(self) -> int:
        """Of the pointer; 0 where there is none that can be read."""
        try:
            found = self.place.read(POINTER)
        except OSError:
            return 0
        return 0 if found is None else _token_of(found.data)

    def require_free(self) -> None:
        """Tell at once what `hold` would tell.

        Raises:
            StoreBusy, UsageError: as `hold`.
        """
        self._make_root()
        require_free(self.place, self.name)

    def _stamp(self, token: int) -> None:
        """Close the pointer to those who held the store before, and may only have been asleep."""
        try:
            found, pointer = self._stamped()
        except BrokenPointer:
            return  # the run that begins now mends it
        if found is not None and pointer is not None:
            self._swap(pointer, token, found)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise not_writable(self.root, error) from error


def run_id_of(folder: Path) -> str:
    """The id of the run whose folder it is."""
    return folder.name.removeprefix("run_id=")


def run_date_of(folder: Path) -> str:
    """The night, YYYY-MM-DD, of the run whose folder it is."""
    return folder.parent.name.removeprefix("run_date=")


def folder_of(store: Store, run_id: str, folders: Iterable[Path], what: str = "run") -> Path:
    """The one of these folders whose run's id begins so.

    Args:
        what: such folders are, for the message.

    Raises:
        UsageError: none or several do.
    """
    folders = list(folders)
    fitting = [folder for folder in folders if run_id and run_id_of(folder).startswith(run_id)]
    if len(fitting) != 1:
        raise UsageError(
            f"{f'More than one {what}' if fitting else f'No {what}'} in {store.name} begins with {run_id!r}."
            if run_id
            else "The run's id is empty.",
            expected="the id of one run, or enough of its beginning",
            found=sample(list(map(run_id_of, fitting or folders))) or f"no {what}",
            todo="`recsys runs list` shows them",
        )
    return fitting[0]


def _require_no_later(found: Stamped | None, token: int) -> None:
    if found is not None and (last := _token_of(found.data)) > token:
        raise LeaseLost(f"a pointer stamped with token {last}, this run's is {token}")


def _token_of(data: bytes) -> int:
    """The token a pointer was written under; 0 where it cannot be read."""
    try:
        return int(json.loads(data).get("token", 0))
    except (ValueError, TypeError, AttributeError):
        return 0
