"""The layout of a known archive: which of its members are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from recsys.download.catalogue import Dataset
from recsys.download.unpack import Member
from recsys.errors import InputRefused, sample


def wanted_members(dataset: Dataset) -> Callable[[str], str | None]:
    """The choice of members for `unpack`: ratings, items, README and given splits, named without their folder."""
    patterns = (dataset.ratings_member, dataset.items_member, "README*", *dataset.extra_members)

    def wanted(name: str) -> str | None:
        path = PurePosixPath(name)
        inside = str(path.parent) == dataset.folder
        return path.name if inside and any(fnmatchcase(path.name, pattern) for pattern in patterns) else None

    return wanted


def check_members(dataset: Dataset, members: Sequence[Member]) -> None:
    """Make sure that ratings and items came, and are not empty.

    Raises:
        InputRefused: they did not.
    """
    filled = {member.name for member in members if member.bytes}
    missing = [name for name in (dataset.ratings_member, dataset.items_member) if name not in filled]
    if missing:
        raise InputRefused(
            f"The archive {dataset.name}.zip has not the layout of {dataset.name}.",
            expected=f"{dataset.folder}/{missing[0]}, not empty",
            found=sample([f"{member.name} ({member.bytes:,} bytes)" for member in members]),
            todo=f"put the archive as GroupLens publishes it on the mirror: one folder {dataset.folder} with its files",
        )
