"""Archives opened with distrust: every name is checked before the first byte is written, every byte is counted."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from recsys.download.hashing import Hasher, blocks
from recsys.errors import InputRefused, sample
from recsys.progress import Bar, track

GET_ANOTHER = "do not use this archive; fetch it again, or from another place"


@dataclass(frozen=True)
class Member:
    """A file of a snapshot: its name in the snapshot's folder, its size and SHA-256 (hex)."""

    name: str
    bytes: int
    sha256: str


def unpack(
    archive: IO[bytes], name: str, folder: Path, wanted: Callable[[str], str | None], most_bytes: int
) -> tuple[Member, ...]:
    """Write the wanted members of a zip archive into `folder`.

    Args:
        archive: open for reading.
        name: of the archive, for messages.
        folder: an existing, empty folder; what was written stays there on failure.
        wanted: for a member's name, the file name it is given in `folder`; None leaves it out.
        most_bytes: more than this, in all, is refused: by what the archive says, and again by what comes out of it.

    Returns:
        The files written, by name.

    Raises:
        InputRefused: the archive is broken or encrypted, any of its members (wanted or not) would leave the folder or
            is a link, or the wanted ones swell past the limit.
    """
    with _readable(name), zipfile.ZipFile(archive) as opened:
        chosen = _choose(name, opened.infolist(), wanted)
        announced = sum(info.file_size for info in chosen.values())
        if announced > most_bytes:
            raise _swollen(name, f"{announced:,} bytes by its own list", most_bytes)
        written, left = [], most_bytes
        with track(f"unpack {name}", announced, "bytes") as bar:
            for target, info in sorted(chosen.items()):
                with opened.open(info) as source:
                    member = _write(source, folder / target, left, bar)
                if member is None:
                    raise _swollen(name, f"more, reached in the member {info.filename!r}", most_bytes)
                written.append(member)
                left -= member.bytes
    return tuple(written)


def _choose(name: str, infos: list[zipfile.ZipInfo], wanted: Callable[[str], str | None]) -> dict[str, zipfile.ZipInfo]:
    """The wanted members by the name they are given."""
    chosen: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        problem = _problem(info)
        if problem:
            raise _refused(name, info, problem)
        target = None if info.is_dir() else wanted(info.filename)
        if target in chosen:
            raise _refused(name, info, "is in it twice")
        if target is not None:
            chosen[target] = info
    return chosen


def _problem(info: zipfile.ZipInfo) -> str:
    """Why a member is refused, by its name as it stands in the archive, not as zipfile mends it; empty: harmless."""
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if not name or "\\" in name or "\0" in name:
        return "has a name that not every system reads alike"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute name"
    if ".." in name.split("/"):
        return "would be written outside the folder"
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is neither a file nor a folder"
    return "is encrypted" if info.flag_bits & 0x1 else ""


def _write(source: IO[bytes], path: Path, most_bytes: int, bar: Bar) -> Member | None:
    """Write a member; None where it is larger than `most_bytes`. What its header says of its size is not relied on."""
    hasher = Hasher()
    with path.open("xb") as file:
        for block in blocks(source):
            if hasher.bytes + len(block) > most_bytes:
                return None
            hasher.update(block)
            file.write(block)
            bar.advance(len(block))
    return Member(path.name, hasher.bytes, hasher.digests().sha256)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputRefused(
            f"The archive {name} cannot be unpacked.",
            expected="a whole zip archive",
            found=f"{type(error).__name__}: {error}",
            todo=GET_ANOTHER,
        ) from error


def _refused(name: str, info: zipfile.ZipInfo, problem: str) -> InputRefused:
    return InputRefused(
        f"The archive {name} is refused: its member {info.orig_filename[:200]!r} {problem}.",
        expected="plain files below one folder",
        found=sample([info.orig_filename]),
        todo=GET_ANOTHER,
    )


def _swollen(name: str, found: str, most_bytes: int) -> InputRefused:
    return InputRefused(
        f"The archive {name} unpacks to more than the limit.",
        expected=f"at most {most_bytes:,} bytes",
        found=found,
        todo="if the archive is genuine, allow it with --set download.max_unpacked_mib=N",
    )
