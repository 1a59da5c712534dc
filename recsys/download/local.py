"""Own files on this machine."""

from __future__ import annotations

import glob
from pathlib import Path

from recsys.download.names import data_files, is_pattern
from recsys.errors import SourceUnavailable


def find_local(address: str, path: Path) -> tuple[Path, ...]:
    """The files that a local path names: a file, the data files of a folder, or a glob, in order of their names.

    Raises:
        SourceUnavailable: there is none.
    """
    try:
        found = _found(path)
    except OSError as error:  # a folder that may not be looked into, a name too long
        raise SourceUnavailable(
            f"{address[:200]} cannot be looked up.", found=str(error)[:300], todo="check the path and its permissions"
        ) from error
    if not found:
        raise SourceUnavailable(
            f"Nothing is at {address}.",
            expected="a file, a folder with files in it, or a glob that matches some",
            found=_what_is_there(path),
            todo="check the path, and whether the disk is mounted; for files in deeper folders use 'folder/**/*.csv'",
        )
    return tuple(Path(file).absolute() for file in found)


def _found(path: Path) -> tuple[str, ...]:
    if path.is_dir():
        return data_files(str(file) for file in path.iterdir() if file.is_file())
    if path.exists() or not is_pattern(str(path)):
        return (str(path),) if path.is_file() else ()
    return tuple(sorted(file for file in glob.glob(str(path), recursive=True) if Path(file).is_file()))


def _what_is_there(path: Path) -> str:
    if path.is_dir():
        return "a folder without data files"
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    return f"no such file; the nearest folder that exists is {nearest}"
