"""Small records that several processes compete for: each change names the version that it replaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from recsys.errors import StoreBusy, UsageError
from recsys.store.files import sync_folder, write_whole

PATIENCE_S = 20.0  # for the lock of one change, which takes milliseconds


class Taken(Exception):
    """The record is not, or no longer, what the change was made from: somebody else changed it."""


@dataclass(frozen=True)
class Stamped:
    """A record's content and its version, which no other content has."""

    data: bytes
    version: str


class Place(Protocol):
    """Where records lie. Of two changes made from one version exactly one succeeds, from whichever machine."""

    def read(self, name: str) -> Stamped | None:
        """The record; None where there is none."""

    def create(self, name: str, data: bytes, guard: Callable[[], None] = lambda: None) -> str:
        """Write a record that is not there yet; returns its version.

        Args:
            guard: called last before it is written; what it raises keeps it from being written. On a disk no record
                changes in between; in an object store one may, as long as the request takes.

        Raises:
            Taken: it is there.
        """

    def replace(self, name: str, data: bytes, version: str) -> str:
        """Write in place of a version; returns the new one.

        Raises:
            Taken: it is no longer that version.
        """

    def remove(self, name: str, version: str) -> None:
        """Take a version away.

        Raises:
            Taken: it is no longer that version.
        """


@dataclass(frozen=True)
class LocalPlace:
    """A folder of a local or shared disk. A version is the hash of the content; a file lock guards each change."""

    root: Path

    def read(self, name: str) -> Stamped | None:
        """The record, which is replaced as a whole."""
        try:
            data = (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        return Stamped(data, _version(data))

    def create(self, name: str, data: bytes, guard: Callable[[], None] = lambda: None) -> str:
        """Write it where there is none."""
        return self._change(name, data, None, guard)

    def replace(self, name: str, data: bytes, version: str) -> str:
        """Write it over a version."""
        return self._change(name, data, version)

    def remove(self, name: str, version: str) -> None:
        """Delete a version."""
        with self._alone(name, version):
            (self.root / name).unlink()
            sync_folder((self.root / name).parent)

    def _change(self, name: str, data: bytes, version: str | None, guard: Callable[[], None] = lambda: None) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(name, version):
            guard()
            write_whole(path, data.decode())
        return _version(data)

    @contextmanager
    def _alone(self, name: str, version: str | None) -> Iterator[None]:
        lock = FileLock(self.root / ".lock", timeout=PATIENCE_S)
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreBusy(
                f"{self.root / name} is being changed by another process.",
                expected=f"a change within {PATIENCE_S:g} s",
                found="a lock that stays",
                todo=f"look which process holds {self.root / '.lock'}; if it hangs, end it",
            ) from error
        except OSError as error:
            raise not_writable(self.root, error) from error
        try:
            found = self.read(name)
            if (found and found.version) != version:
                raise Taken(name)
            yield
        finally:
            lock.release()


def not_writable(root: Path, error: OSError) -> UsageError:
    """A store that is closed to this user."""
    return UsageError(
        f"The store {root} cannot be written to.",
        expected="a folder this user may write to",
        found=str(error),
        todo="choose another with --store, or mend its permissions or the disk",
    )


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
