"""The copies of an input that a store keeps, each in a folder named by its hash: whole or not there, never changed."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock

from recsys.download.partial import NO_VALIDATORS, Validators
from recsys.download.unpack import Member
from recsys.store import PARTIAL, sync_folder, sync_tree, write_whole

log = logging.getLogger("recsys")

SOURCE = "source.json"
PREFIX = 16  # hex digits of a folder's name: 64 bits, beyond any accident among a store's copies
Trust = Literal["pinned hash", "contents", "own file", "generated"]


@dataclass(frozen=True)
class Source:
    """What `source.json` says of a copy.

    Attributes:
        origin: the address or path it was taken from, without keys.
        bytes, md5, sha256: of the archive; of several files the sum, and the SHA-256 over theirs (no MD5).
        members: the files of the copy.
        validators: what the server calls this edition.
        order: 1 for the first copy of this dataset, and one more for each later one: the clock is no witness.
        fetched_at: ISO 8601, for people; part of no fingerprint.
    """

    dataset: str
    origin: str
    trust: Trust
    bytes: int
    md5: str
    sha256: str
    members: tuple[Member, ...]
    validators: Validators = NO_VALIDATORS
    order: int = 0
    fetched_at: str = ""


@dataclass(frozen=True)
class Copy:
    """A copy that stands."""

    folder: Path
    source: Source

    def path(self, name: str) -> str:
        """Where the member of that name is."""
        return str(self.folder / name)

    def sha256(self, name: str) -> str:
        """The SHA-256 of the member of that name."""
        return next(member.sha256 for member in self.source.members if member.name == name)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the folder of a dataset's copies; of two downloads at once, the second waits and finds the work done."""
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".lock"):
        yield


def known_snapshots(raw: Path, dataset: str) -> tuple[Copy, ...]:
    """The copies that stand, newest first: the first is the last good one. Damaged ones are left out.

    Args:
        raw: the store's folder of downloads.
        dataset: its name; `ratings` and `items` are own files that came from elsewhere.
    """
    return _copies(raw / dataset)


def keep(home: Path, fill: Callable[[Path], Source]) -> Copy:
    """Make a copy in a temporary folder and give it its name when all of it is on disk.

    Args:
        home: the folder of the dataset's copies, held by `locked`.
        fill: writes the members into the empty folder it is given and returns what is to be recorded.

    Returns:
        The copy; the one that stood already where it is the same.
    """
    work = home / f"unpacking{PARTIAL}"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    work.mkdir(parents=True)
    try:
        source = fill(work)
        target = home / source.sha256[:PREFIX]
        standing = _read(target)
        if standing is not None:
            return confirm(standing, source)
        source = replace(source, order=_last_order(home) + 1, fetched_at=_now())
        write_whole(work / SOURCE, written(source))
        sync_tree(work)
        _replace_damaged(target)
        os.replace(work, target)
        sync_folder(home)
        return Copy(target, source)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def confirm(copy: Copy, latest: Source) -> Copy:
    """Record that the source gave this copy again: it becomes the newest, with that origin and those validators."""
    newest = _copies(copy.folder.parent)[0].folder == copy.folder
    same = (latest.origin, latest.validators) == (copy.source.origin, copy.source.validators)
    if newest and same:
        return copy
    order = copy.source.order if newest else _last_order(copy.folder.parent) + 1
    source = replace(copy.source, origin=latest.origin, validators=latest.validators, order=order, fetched_at=_now())
    write_whole(copy.folder / SOURCE, written(source))
    return Copy(copy.folder, source)


def _copies(home: Path) -> tuple[Copy, ...]:
    folders = sorted(home.iterdir()) if home.is_dir() else []
    copies = [copy for folder in folders if folder.suffix != PARTIAL and (copy := _read(folder)) is not None]
    return tuple(sorted(copies, key=lambda copy: (-copy.source.order, copy.folder.name)))


def _read(folder: Path) -> Copy | None:
    """The copy in `folder`; None where there is none, or where its files are not as recorded."""
    try:
        source = parse_source((folder / SOURCE).read_bytes())
        whole = source and all((folder / member.name).stat().st_size == member.bytes for member in source.members)
        return Copy(folder, source) if source and whole else None
    except OSError:
        return None


def parse_source(data: bytes) -> Source | None:
    """What a `source.json` says; None where it is none, or names files elsewhere than beside it."""
    try:
        record = json.loads(data)
        members = tuple(Member(**member) for member in record.pop("members"))
        source = Source(**record | {"members": members, "validators": Validators(**record["validators"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    beside = all(Path(member.name).name == member.name for member in members)
    return source if beside and source.trust in get_args(Trust) else None


def _replace_damaged(target: Path) -> None:
    if target.exists():
        log.warning("%s is damaged and is made anew", target)
        shutil.rmtree(target)


def _last_order(home: Path) -> int:
    return max((copy.source.order for copy in _copies(home)), default=0)


def written(source: Source) -> str:
    """As the text of a `source.json`."""
    return json.dumps(asdict(source), indent=2) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
