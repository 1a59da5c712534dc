"""Own files as a snapshot: local ones where they lie, remote ones copied into the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recsys.addresses import file_name, is_http, local_path, redacted
from recsys.config import DownloadConfig, InputConfig
from recsys.download.columns import items_format, ratings_format
from recsys.download.copies import Copy, Source, confirm, keep, known_snapshots, locked
from recsys.download.fetch import fetch
from recsys.download.hashing import combined, fingerprint, sha256_file
from recsys.download.local import find_local
from recsys.download.objects import copy_object, list_objects
from recsys.download.unpack import Member
from recsys.errors import SourceUnavailable
from recsys.ratings import ItemsFormat, RatingsFormat, Scale, Snapshot

log = logging.getLogger("recsys")

Format = TypeVar("Format", RatingsFormat, ItemsFormat)
Look = Callable[[Sequence[Path]], object]  # reads the first lines of files, or refuses them
DATASET = "own"  # the name of a snapshot of own files


@dataclass(frozen=True)
class Settled:
    """Files on this machine, in reading order, with the SHA-256 (hex) of each."""

    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    origin: str
    stale_reason: str = ""
    written_ns: tuple[int, ...] = ()  # of files read where they lie


NOTHING = Settled((), (), "")


def take_own(input: InputConfig, download: DownloadConfig, raw: Path, *, may_be_one_users: bool = False) -> Snapshot:
    """The snapshot of `input.ratings` and, where given, `input.items`.

    Local files are read where they lie; the fingerprint tells if they change. Remote ones are copied to
    `<raw>/ratings/` and `<raw>/items/`; where that fails, the newest copy of the same address is used, as stale.

    Args:
        may_be_one_users: ratings without a user column are one person's.

    Raises:
        SourceUnavailable: nothing is there, or it cannot be reached and there is no copy.
        InputRefused: a file is empty, is no table, or a column is missing.
        UsageError: an address that cannot be read.
    """
    store = _Store(download, raw)

    def look(files: Sequence[Path]) -> RatingsFormat:
        return ratings_format(files, input.columns, may_be_one_users=may_be_one_users)

    ratings, ratings_are = _settle(input.ratings or "", "ratings", store, look)
    items, items_are = NOTHING, ItemsFormat()
    if input.items:
        items, items_are = _settle(input.items, "items", store, lambda files: items_format(files, input.columns))
    reason = " ".join(filter(None, (ratings.stale_reason, items.stale_reason)))
    return Snapshot(
        dataset=DATASET,
        ratings=tuple(map(str, ratings.files)),
        items=tuple(map(str, items.files)),
        ratings_format=ratings_are,
        items_format=items_are,
        scale=Scale(),
        fingerprint=fingerprint(ratings.hashes, items.hashes, ratings_are, items_are),
        origin=ratings.origin,
        trust="own file",
        stale=bool(reason),
        stale_reason=reason,
        written_ns=ratings.written_ns,
    )


def _settle(address: str, kind: str, store: _Store, look: Callable[[Sequence[Path]], Format]) -> tuple[Settled, Format]:
    """The files at `address`, and what `look` makes of their first lines.

    A copy that `look` refuses is not kept, so that the last good copy is a good one.
    """
    path = local_path(address)
    if path is not None:
        settled = _in_place(find_local(address, path))
    else:
        with locked(store.raw / kind):
            settled = store.settle(address, kind, look)
    return settled, look(settled.files)


def _in_place(files: tuple[Path, ...]) -> Settled:
    try:
        written_ns = tuple(file.stat().st_mtime_ns for file in files)
        hashes = tuple(map(sha256_file, files))
    except OSError as error:
        raise SourceUnavailable(
            f"{error.filename} cannot be read.", found=error.strerror or str(error), todo="check its permissions"
        ) from error
    return Settled(files, hashes, str(files[0] if len(files) == 1 else files[0].parent), written_ns=written_ns)


def _of_copy(copy: Copy, stale_reason: str = "") -> Settled:
    members = copy.source.members
    files = tuple(copy.folder / member.name for member in members)
    return Settled(files, tuple(member.sha256 for member in members), copy.source.origin, stale_reason)


@dataclass(frozen=True)
class _Store:
    """Brings remote files into the store's folder of downloads."""

    download: DownloadConfig
    raw: Path

    def settle(self, address: str, kind: str, look: Look) -> Settled:
        """Copy the files tonight, or use the newest copy of the same address."""
        copies = [copy for copy in known_snapshots(self.raw, kind) if copy.source.origin == redacted(address)]
        last = copies[0] if copies else None
        try:
            return _of_copy(
                self._fetch(address, kind, look, last) if is_http(address) else self._copy(address, kind, look)
            )
        except SourceUnavailable as error:
            if last is None:
                raise
            log.warning("%s", error)
            return _of_copy(last, error.what)

    def _fetch(self, address: str, kind: str, look: Look, last: Copy | None) -> Copy:
        """A file over HTTP, asked for only if it has changed."""
        name = file_name(address)
        known = last.source.validators if last else None
        fetched = fetch(address, self.raw / kind / name, self.download, known=known)
        if fetched is None:
            assert last is not None, "only a known copy is asked for with a condition"
            return confirm(last, last.source)
        size, sha256 = fetched.digests.bytes, fetched.digests.sha256

        def move(folder: Path) -> Source:
            look([fetched.path.replace(folder / name)])
            members = (Member(name, size, sha256),)
            origin = redacted(address)
            return Source(kind, origin, "own file", size, fetched.digests.md5, sha256, members, fetched.validators)

        return keep(self.raw / kind, move)

    def _copy(self, address: str, kind: str, look: Look) -> Copy:
        """All that an object store has at the address."""

        def copy(folder: Path) -> Source:
            place, objects = list_objects(address)
            members = []
            for found in objects:
                digests = copy_object(place, found, folder / found.name)
                members.append(Member(found.name, digests.bytes, digests.sha256))
            look([folder / member.name for member in members])
            sha256 = members[0].sha256 if len(members) == 1 else combined(member.sha256 for member in members)
            size = sum(member.bytes for member in members)
            return Source(kind, redacted(address), "own file", size, "", sha256, tuple(members))

        return keep(self.raw / kind, copy)
