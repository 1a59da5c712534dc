"""Files in an object store (s3://, gs://, az://), copied to this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.addresses import local_path
from recsys.download.hashing import Digests, Hasher
from recsys.download.names import data_files, is_pattern
from recsys.errors import SourceUnavailable
from recsys.objects.address import Address
from recsys.objects.failures import CHECK_NETWORK
from recsys.objects.folder import Found, ObjectFolder
from recsys.progress import track


def list_objects(uri: str) -> tuple[ObjectFolder, tuple[Found, ...]]:
    """The folder and the objects in it that `uri` names: one, the data files of a folder, or a glob.

    Raises:
        UsageError: it is no address of an object store.
        SourceUnavailable: it cannot be reached, or nothing is there.
    """
    address = Address.parse(uri)
    above, _, last = address.key.rpartition("/")
    folder = ObjectFolder(Address(address.scheme, address.bucket, above))
    if is_pattern(last):
        found = tuple(found for found in folder.find(deep=False) if fnmatchcase(found.path, last))
    elif last and (one := folder.look(last)) is not None:
        found = (one,)
    else:
        folder = ObjectFolder(address)
        there = {found.path: found for found in folder.find(deep=False)}
        found = tuple(there[path] for path in data_files(there))
    if not found:
        raise SourceUnavailable(f"Nothing is at {address}.", expected="a file, a folder or a glob", todo=CHECK_NETWORK)
    return folder, found


@contextmanager
def one_file(address: str) -> Iterator[Path]:
    """A file that is read once: where it lies, or a copy of the object that is gone afterwards.

    Raises:
        UsageError, SourceUnavailable: as `list_objects`.
    """
    path = local_path(address)
    if path is not None:
        yield path
        return
    folder, (found, *_) = list_objects(address)
    with TemporaryDirectory(prefix="recsys-") as here:
        copy_object(folder, found, Path(here) / found.name)
        yield Path(here) / found.name


def copy_object(folder: ObjectFolder, found: Found, destination: Path) -> Digests:
    """Copy one object to `destination`, flushed to disk; `<destination>` is not there on failure.

    Raises:
        SourceUnavailable: it could not be read to its end.
    """
    hasher = Hasher()
    try:
        with destination.open("wb") as file, track(f"copy {destination.name}", found.bytes, "bytes") as bar:
            for block in folder.blocks(found):
                hasher.update(block)
                file.write(block)
                bar.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    return hasher.digests()
