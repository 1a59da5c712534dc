"""A known dataset as a snapshot: from the mirror, else from its public address, else the last good copy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from recsys.addresses import is_http, joined, local_path, redacted
from recsys.config import DownloadConfig
from recsys.download.catalogue import Dataset
from recsys.download.copies import Copy, Source, Trust, confirm, keep, known_snapshots, locked
from recsys.download.fetch import MIB, fetch
from recsys.download.hashing import Digests, digest, fingerprint
from recsys.download.layout import check_members, wanted_members
from recsys.download.objects import copy_object, list_objects
from recsys.download.partial import NO_VALIDATORS, Validators
from recsys.download.unpack import Member, unpack
from recsys.errors import InputRefused, SourceUnavailable
from recsys.ratings import Snapshot

log = logging.getLogger("recsys")
Failure = SourceUnavailable | InputRefused


@dataclass(frozen=True)
class Place:
    """An address of the archive. `pin`: what it must be there; None on a mirror, which is trusted by its contents."""

    address: str
    pin: Digests | None


def take_archive(dataset: Dataset, download: DownloadConfig, raw: Path) -> Snapshot:
    """The dataset's snapshot.

    A pinned edition that stands is used as it is, without network. Else the mirror is asked, then each public address;
    where all fail, the newest copy that stands is used and marked as stale. (Where there is nothing to ask, for a
    dataset that only mirrors have, a copy that stands is as good as it gets.)

    Raises:
        SourceUnavailable: no source can be reached and there is no copy.
        InputRefused: what a source gave was refused, no other one could help, and there is no copy.
    """
    with locked(raw / dataset.name):
        copies = known_snapshots(raw, dataset.name)
        pinned = _pinned(dataset, copies)
        if pinned is not None:
            return _snapshot(dataset, pinned)
        failures: list[Failure] = []
        for place in _places(dataset, download.mirror):
            try:
                return _snapshot(dataset, _Taker(dataset, download, raw / dataset.name, copies).take(place))
            except (SourceUnavailable, InputRefused) as error:
                log.warning("%s: %s", dataset.name, error)
                failures.append(error)
        if copies:
            return _snapshot(dataset, copies[0], stale_reason=" ".join(failure.what for failure in failures))
        raise _exhausted(dataset, failures)


def _pinned(dataset: Dataset, copies: Sequence[Copy]) -> Copy | None:
    return next((copy for copy in copies if dataset.pin and copy.source.sha256 == dataset.pin.sha256), None)


def _places(dataset: Dataset, mirror: str | None) -> list[Place]:
    mirrored = [Place(joined(mirror, f"{dataset.name}.zip"), None)] if mirror else []
    return mirrored + [Place(url, dataset.pin) for url in dataset.urls]


@dataclass(frozen=True)
class _Taker:
    """Takes one dataset's archive from a place and keeps its members in `home`."""

    dataset: Dataset
    download: DownloadConfig
    home: Path
    copies: tuple[Copy, ...]

    def take(self, place: Place) -> Copy:
        path = local_path(place.address)
        if path is not None:
            return self._from_folder(path)
        return self._from_http(place) if is_http(place.address) else self._from_store(place.address)

    def _from_folder(self, path: Path) -> Copy:
        archive, digests = _open(path)
        with archive:
            return self._keep(archive, self._source(str(path.absolute()), digests))

    def _from_http(self, place: Place) -> Copy:
        origin = redacted(place.address)
        same_origin = (copy for copy in self.copies if copy.source.origin == origin)
        known = next(same_origin, None) if place.pin is None else None  # a copy that is not the pinned one is no answer
        fetched = fetch(
            place.address,
            self.home / f"{self.dataset.name}.zip",
            self.download,
            pin=place.pin,
            known=known.source.validators if known else None,
        )
        if fetched is None and known is not None:
            return confirm(known, known.source)
        assert fetched is not None, "only a known copy is asked for with a condition"
        return self._keep_file(fetched.path, self._source(origin, fetched.digests, fetched.validators))

    def _from_store(self, address: str) -> Copy:
        place, (found, *_) = list_objects(address)
        archive = self.home / f"{self.dataset.name}.zip"
        return self._keep_file(archive, self._source(redacted(address), copy_object(place, found, archive)))

    def _source(self, origin: str, digests: Digests, validators: Validators = NO_VALIDATORS) -> Source:
        trust: Trust = "pinned hash" if digests == self.dataset.pin else "contents"
        return Source(self.dataset.name, origin, trust, digests.bytes, digests.md5, digests.sha256, (), validators)

    def _keep_file(self, path: Path, source: Source) -> Copy:
        """As `_keep`, and remove the archive: its members stand, and a refused one is of no use."""
        try:
            with path.open("rb") as archive:
                return self._keep(archive, source)
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, archive: BinaryIO, source: Source) -> Copy:
        standing = next((copy for copy in self.copies if copy.source.sha256 == source.sha256), None)
        if standing is not None:
            return confirm(standing, source)
        return keep(self.home, lambda folder: _with_members(source, self._unpack(archive, folder)))

    def _unpack(self, archive: BinaryIO, folder: Path) -> tuple[Member, ...]:
        archive.seek(0)
        name = f"{self.dataset.name}.zip"
        members = unpack(archive, name, folder, wanted_members(self.dataset), self.download.max_unpacked_mib * MIB)
        check_members(self.dataset, members)
        return members


def _open(path: Path) -> tuple[BinaryIO, Digests]:
    """The archive and its digests; it stays open, so that what is unpacked is what was hashed."""
    try:
        archive = path.open("rb")
        return archive, digest(archive)
    except OSError as error:
        raise SourceUnavailable(
            f"{path} cannot be read: {error.strerror or error}.",
            todo=f"put {path.name} there, or give another folder or base URL with --mirror",
        ) from error


def _with_members(source: Source, members: tuple[Member, ...]) -> Source:
    return replace(source, members=members)


def _snapshot(dataset: Dataset, copy: Copy, stale_reason: str = "") -> Snapshot:
    ratings, items = dataset.ratings_member, dataset.items_member
    return Snapshot(
        dataset=dataset.name,
        ratings=(copy.path(ratings),),
        items=(copy.path(items),),
        ratings_format=dataset.ratings_format,
        items_format=dataset.items_format,
        scale=dataset.scale,
        fingerprint=fingerprint(
            [copy.sha256(ratings)], [copy.sha256(items)], dataset.ratings_format, dataset.items_format
        ),
        origin=copy.source.origin,
        trust=copy.source.trust,
        stale=bool(stale_reason),
        stale_reason=stale_reason,
    )


def _exhausted(dataset: Dataset, failures: Sequence[Failure]) -> Failure:
    """The error for the operator: refused where something came and was refused, else unreachable."""
    refused = [failure for failure in failures if isinstance(failure, InputRefused)]
    kind: type[Failure] = InputRefused if refused else SourceUnavailable
    if len(failures) == 1:
        return failures[0]
    if not failures:
        return SourceUnavailable(
            f"{dataset.name} has no public address.",
            expected=f"a mirror with {dataset.name}.zip",
            todo="give a folder or base URL that holds it with --mirror",
        )
    return kind(
        f"{dataset.name} could not be had from any of {len(failures)} sources, and there is no earlier copy.",
        found="\n            ".join(failure.what for failure in failures),
        todo="\n            ".join(dict.fromkeys(failure.todo for failure in (refused or failures))),
    )
