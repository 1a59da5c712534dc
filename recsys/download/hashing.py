"""Hashes of files, read in blocks, and the fingerprint of a snapshot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from recsys.progress import track
from recsys.ratings import ItemsFormat, RatingsFormat

BLOCK_BYTES = 1 << 20  # 1 MiB: large enough that a call costs nothing beside hashing it, small beside any budget


@dataclass(frozen=True)
class Digests:
    """What is known of a file's bytes: how many, and their MD5 and SHA-256 in lower-case hex."""

    bytes: int
    md5: str
    sha256: str


class Hasher:
    """Takes bytes block by block and knows their digests."""

    def __init__(self) -> None:
        self.bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)  # GroupLens publishes MD5; what is relied on is SHA-256
        self._sha256 = hashlib.sha256()

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self.bytes += len(block)
        self._md5.update(block)
        self._sha256.update(block)

    def digests(self) -> Digests:
        """The digests of all bytes taken so far."""
        return Digests(self.bytes, self._md5.hexdigest(), self._sha256.hexdigest())


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of an open file, block by block."""
    while block := file.read(BLOCK_BYTES):
        yield block


def digest(file: IO[bytes]) -> Digests:
    """The digests of an open file, from where it stands to its end."""
    hasher = Hasher()
    for block in blocks(file):
        hasher.update(block)
    return hasher.digests()


def digest_file(path: Path) -> Digests:
    """The digests of a file."""
    with path.open("rb") as file:
        return digest(file)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file in hex, with progress: own files may be large and lie on a slow disk."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file, track(f"hash {path.name}", path.stat().st_size, "bytes") as bar:
        for block in blocks(file):
            sha256.update(block)
            bar.advance(len(block))
    return sha256.hexdigest()


def combined(hashes: Iterable[str]) -> str:
    """One SHA-256 (hex) over several, in their order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def fingerprint(
    ratings: Iterable[str], items: Iterable[str], ratings_format: RatingsFormat, items_format: ItemsFormat
) -> str:
    """A SHA-256 (hex) over the files' own hashes, in reading order, and the way they are to be read.

    Names, places and times are no part of it: the same bytes from anywhere are the same input.
    """
    parts = {
        "ratings": list(ratings),
        "items": list(items),
        "ratings_format": asdict(ratings_format),
        "items_format": asdict(items_format),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
