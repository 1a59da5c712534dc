"""Which of a folder's files are ratings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

DATA_ENDINGS = {".csv", ".tsv", ".dat", ".data", ".txt", ".base", ".test", ".parquet", ".pq"}
COMPRESSED_ENDINGS = {".gz", ".zst"}


def is_pattern(name: str) -> bool:
    """Whether `name` is a glob."""
    return any(character in name for character in "*?[")


def data_files(paths: Iterable[str]) -> tuple[str, ...]:
    """The files of a folder that are read as one table, in order of their names.

    Hidden files and markers such as `_SUCCESS` are left out; where some are called `ratings...`, only these are taken
    (a folder of MovieLens holds movies and tags too); else where some end like data, only these (not a README).
    """
    visible = sorted(path for path in paths if not PurePosixPath(path).name.startswith((".", "_")))
    return tuple(_narrowed(_narrowed(visible, _ends_like_data), _named_ratings))


def _narrowed(paths: Sequence[str], test: Callable[[str], bool]) -> Sequence[str]:
    return [path for path in paths if test(path)] or paths


def _named_ratings(path: str) -> bool:
    return PurePosixPath(path).name.lower().startswith("rating")


def _ends_like_data(path: str) -> bool:
    pure = PurePosixPath(path.lower())
    ending = PurePosixPath(pure.stem).suffix if pure.suffix in COMPRESSED_ENDINGS else pure.suffix
    return ending in DATA_ENDINGS
