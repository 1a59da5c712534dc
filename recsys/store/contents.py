"""The files of one run as they are kept, on a disk or as objects: what it takes to compare them with the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recsys.store.files import sha256_of


class Contents(Protocol):
    """What is kept of a run. Paths are below its folder."""

    def paths(self) -> set[str]:
        """Of all files."""

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of those among some files that are there."""

    def sha256(self, path: str) -> str | None:
        """SHA-256 in hex of all that can be read of a file; None where it cannot be read on this disk."""

    def read(self, path: str) -> bytes | None:
        """A small file; None where it is not there, empty where this disk cannot read it."""


@dataclass(frozen=True)
class LocalContents:
    """A folder on a disk."""

    folder: Path

    def paths(self) -> set[str]:
        """Of all files."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Of the files that are there, by one look at each."""
        sizes = {path: _size_of(self.folder / path) for path in paths}
        return {path: size for path, size in sizes.items() if size is not None}

    def sha256(self, path: str) -> str | None:
        """Of a file."""
        try:
            return sha256_of(self.folder / path)
        except OSError:  # a file that cannot be read is of no more use than a changed one
            return None

    def read(self, path: str) -> bytes | None:
        """A small file."""
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:  # it is there, and of no use
            return b""


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
