"""Files in an object store (s3://, gs:// and what else Arrow knows), copied to this machine."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from recsys.download.addresses import redacted
from recsys.download.hashing import Digests, Hasher, blocks
from recsys.download.names import data_files, is_pattern
from recsys.errors import SourceUnavailable, UsageError
from recsys.progress import track

CHECK_ACCESS = "check the address, this machine's credentials for it, and the network"


def list_objects(uri: str) -> tuple[fs.FileSystem, tuple[str, ...]]:
    """The file system and the paths in it that `uri` names: a file, the data files of a folder, or a glob.

    Raises:
        UsageError: there is no such kind of store.
        SourceUnavailable: it cannot be reached, or nothing is there.
    """
    with _reachable(uri):
        # A glob's last part is no path: `?` would begin a query and `[` is no character of a URI.
        base, _, last = uri.rpartition("/")
        if is_pattern(last):
            system, folder = fs.FileSystem.from_uri(base)
            found = tuple(path for path in _files(system, folder) if fnmatchcase(path.rpartition("/")[2], last))
        else:
            system, path = fs.FileSystem.from_uri(uri)
            is_file = system.get_file_info(path).type == fs.FileType.File
            found = (path,) if is_file else data_files(_files(system, path))
    if not found:
        raise SourceUnavailable(
            f"Nothing is at {redacted(uri)}.", expected="a file, a folder or a glob", todo=CHECK_ACCESS
        )
    return system, found


def copy_object(system: fs.FileSystem, path: str, destination: Path) -> Digests:
    """Copy one object to `destination`, flushed to disk; `<destination>` is not there on failure.

    Raises:
        SourceUnavailable: it could not be read to its end.
    """
    hasher = Hasher()
    try:
        with (
            _reachable(path),
            destination.open("wb") as file,
            system.open_input_stream(path, compression=None) as source,
        ):
            with track(f"copy {destination.name}", source.size() if source.seekable() else None, "bytes") as bar:
                for block in blocks(source):
                    hasher.update(block)
                    file.write(block)
                    bar.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    return hasher.digests()


def _files(system: fs.FileSystem, folder: str) -> tuple[str, ...]:
    infos = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return tuple(sorted(info.path for info in infos if info.type == fs.FileType.File))


@contextmanager
def _reachable(address: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UsageError(
            f"{redacted(address)} is no address this project can read.",
            expected="a path, http(s)://, or an object store such as s3:// or gs://",
            found=str(error)[:300],
            todo="check the address",
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:  # this machine's disk, not the store
            raise
        raise SourceUnavailable(
            f"{redacted(address)} could not be read.", found=str(error)[:300], todo=CHECK_ACCESS
        ) from error
