"""A folder of objects: listed, read block by block, written whole and checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, retry_if_exception_type, stop_after_attempt

from recsys.errors import SourceUnavailable
from recsys.objects.address import Address
from recsys.objects.failures import AccessDenied, BrokenAnswer, DamagedObject, told
from recsys.objects.service import connect

Thing = TypeVar("Thing")
Result = TypeVar("Result")
MIB = 1 << 20
BLOCK = 8 * MIB  # a request's worth, in both directions
MOST_PARTS = 9_000  # of one upload; S3 takes 10,000
AT_A_TIME, PARTS_AT_A_TIME = 4, 2  # files, and parts of each: 4 x 2 x 8 MiB = 64 MiB in memory at most
ONCE_MORE = "give the same command again"
TRIES = 3  # of a file whose upload broke off or arrived changed; each request is tried again by itself besides


@dataclass(frozen=True)
class Found:
    """An object that is there.

    Attributes:
        path: below the folder.
        etag: what the service calls these bytes.
        version: a generation where the service counts them, else empty.
    """

    path: str
    bytes: int
    etag: str
    version: str = ""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ObjectFolder:
    """All objects below an address."""

    address: Address

    @classmethod
    def at(cls, uri: str) -> ObjectFolder:
        """The folder that a URI names.

        Raises:
            UsageError: it is no address of an object store.
        """
        return cls(Address.parse(uri))

    def below(self, path: str) -> ObjectFolder:
        """A folder in this one."""
        return ObjectFolder(self.address.joined(path))

    def find(self, below: str = "", *, deep: bool = True) -> list[Found]:
        """Every object below a path, or only those directly in it, by path.

        Raises:
            SourceUnavailable: it cannot be listed.
        """
        place, bucket = self.address.joined(below), self._bucket
        prefix = place.key or None
        listed = _asked(
            place,
            "listed",
            lambda: bucket.list(prefix).collect() if deep else bucket.list_with_delimiter(prefix)["objects"],
        )
        skipped = len(self.address.key) + 1 if self.address.key else 0
        return sorted((_found(meta, meta["path"][skipped:]) for meta in listed), key=lambda found: found.path)

    def look(self, path: str) -> Found | None:
        """What is at a path; None where nothing is.

        Raises:
            SourceUnavailable: it cannot be asked.
        """
        place = self.address.joined(path)
        try:
            with told(place):
                return _found(self._bucket.head(place.key), path)
        except FileNotFoundError:
            return None

    def read(self, path: str) -> tuple[bytes, Found] | None:
        """All bytes of a small object, and which edition they are; None where there is none."""
        place = self.address.joined(path)
        try:
            return _asked(place, "read", lambda: _whole(self._bucket.get(place.key), path))
        except FileNotFoundError:
            return None

    def blocks(self, found: Found) -> Iterator[bytes]:
        """The bytes of an object, all of one edition, in blocks of at most `BLOCK`.

        Raises:
            SourceUnavailable: it cannot be read to its end, or was replaced meanwhile.
        """
        place = self.address.joined(found.path)
        for start in range(0, found.bytes, BLOCK):
            stop = min(start + BLOCK, found.bytes)
            options = {"range": (start, stop)} | ({"if_match": found.etag} if found.etag else {})
            try:
                block = _asked(place, "read", partial(_part, self._bucket, place.key, options))
            except (FileNotFoundError, FileExistsError):
                raise SourceUnavailable(f"{place} was replaced while it was read.", todo=ONCE_MORE) from None
            if len(block) != stop - start:
                found_bytes = f"{start + len(block):,} of {found.bytes:,} bytes"
                raise SourceUnavailable(f"{place} broke off.", found=found_bytes, todo=ONCE_MORE)
            yield block

    def sha256(self, found: Found) -> str:
        """SHA-256 in hex of what the service gives for an object; reads all of it."""
        digest = hashlib.sha256()
        for block in self.blocks(found):
            digest.update(block)
        return digest.hexdigest()

    def fetch(self, path: str, destination: Path, size: int, sha256: str) -> None:
        """Bring an object here; the file appears whole and as it should be, or not at all.

        Args:
            size: bytes it must have.
            sha256: of them, in hex.

        Raises:
            DamagedObject: it is not there, or has other bytes.
            SourceUnavailable: it cannot be read to its end.
        """
        destination.parent.mkdir(parents=True, exist_ok=True)
        found, digest = self.look(path), hashlib.sha256()
        fresh = destination.with_name(f".{destination.name}.{os.getpid()}.new")
        try:
            if found is not None and found.bytes == size:
                with fresh.open("wb") as file:
                    for block in self.blocks(found):
                        digest.update(block)
                        file.write(block)
                if digest.hexdigest() == sha256:
                    os.replace(fresh, destination)
                    return
        finally:
            fresh.unlink(missing_ok=True)
        raise DamagedObject(
            f"{self.address.joined(path)} is not as it was written.",
            expected=f"{size:,} bytes with SHA-256 {sha256}",
            found="nothing"
            if found is None
            else f"{found.bytes:,} bytes" + (", changed" if found.bytes == size else ""),
            todo="`recsys runs verify` compares all files of a run; the same night run again rebuilds it",
        )

    def upload(self, source: Path, path: str, sha256: str) -> bool:
        """Put a file at a path, in parts where it is large, and make sure that the service has its bytes.

        An object appears whole or not at all. One that is there with the same bytes stays as it is.

        Args:
            sha256: of the file, in hex.

        Returns:
            Whether it had to be sent.

        Raises:
            SourceUnavailable: it could not be written, or never arrived as it was sent.
        """
        if self._has(source, path, sha256):
            return False
        again = Retrying(stop=stop_after_attempt(TRIES), retry=retry_if_exception(_may_pass), reraise=True)
        again(self._send, source, path, sha256)
        return True

    def put(self, path: str, data: bytes, mode: Any = "overwrite") -> Found:
        """Put a small object; what it was put as is returned.

        Args:
            mode: as obstore has it: overwrite, create, or the edition that is to be replaced.
        """
        place = self.address.joined(path)
        with told(place, "written"):
            put = self._bucket.put(place.key, data, mode=mode, use_multipart=False)
        return Found(path, len(data), put["e_tag"] or "", put["version"] or "")

    def remove(self, paths: Iterable[str]) -> None:
        """Remove objects; one that is not there is as good."""
        for path in paths:
            place = self.address.joined(path)
            try:
                with told(place, "removed"):
                    self._bucket.delete(place.key)
            except FileNotFoundError:
                continue

    @property
    def _bucket(self) -> Any:
        return connect(self.address.scheme, self.address.bucket)

    def _send(self, source: Path, path: str, sha256: str) -> None:
        place = self.address.joined(path)
        part = part_bytes(source.stat().st_size)
        with told(place, "written"):
            self._bucket.put(place.key, source, chunk_size=part, max_concurrency=PARTS_AT_A_TIME)
        if not self._has(source, path, sha256):
            raise SourceUnavailable(
                f"{place} is not what was written.",
                expected=f"{source.stat().st_size:,} bytes with SHA-256 {sha256}",
                found="other bytes",
                todo="look at the service; the run is kept in the workspace and the next one goes on from there",
            )

    def _has(self, source: Path, path: str, sha256: str) -> bool:
        """Whether an object has a file's bytes, by the service's own MD5 where it gives one, else by reading it."""
        found, size = self.look(path), source.stat().st_size
        if found is None or found.bytes != size:
            return False
        return found.etag.strip('"') == md5_etag(source, part_bytes(size)) or self.sha256(found) == sha256


def in_parallel(work: Callable[[Thing], Result], things: Iterable[Thing]) -> list[Result]:
    """The results of a function on each of several files, some at a time; the first failure ends it."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            return list(pool.map(work, things))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def part_bytes(size: int) -> int:
    """Bytes of a part of an upload: whole MiB, so many that `MOST_PARTS` are enough.

    >>> part_bytes(1), part_bytes(100 << 30) >> 20
    (8388608, 12)
    """
    return max(BLOCK, -(-size // (MOST_PARTS * MIB)) * MIB)


def md5_etag(source: Path, part: int) -> str:
    """The ETag that S3 gives a file, unless it encrypts it: its MD5, or that of its parts' MD5s and their number."""
    with source.open("rb") as file:
        parts = [hashlib.md5(block, usedforsecurity=False) for block in iter(lambda: file.read(part), b"")]
    if len(parts) <= 1:
        return (parts[0] if parts else hashlib.md5(usedforsecurity=False)).hexdigest()
    joined = b"".join(md5.digest() for md5 in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _asked(place: Address, doing: str, ask: Callable[[], Result]) -> Result:
    """An answer that came to its end."""

    def once() -> Result:
        with told(place, doing):
            return ask()

    again = Retrying(stop=stop_after_attempt(TRIES), retry=retry_if_exception_type(BrokenAnswer), reraise=True)
    return again(once)


def _whole(got: Any, path: str) -> tuple[bytes, Found]:
    return bytes(got.bytes()), _found(got.meta, path)


def _part(bucket: Any, key: str, options: Any) -> bytes:
    return bytes(bucket.get(key, options=options).bytes())


def _found(meta: Any, path: str) -> Found:
    return Found(path, meta["size"], meta["e_tag"] or "", meta["version"] or "")


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, SourceUnavailable) and not isinstance(error, AccessDenied)
