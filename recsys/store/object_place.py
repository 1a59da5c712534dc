"""Small records that publishers compete for, in an object store: create-only and compare-and-swap by its ETags."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from recsys.errors import SourceUnavailable
from recsys.objects.failures import AccessDenied, NotSupported
from recsys.objects.folder import Found, ObjectFolder
from recsys.store.place import Stamped, Taken

log = logging.getLogger("recsys")

REMOVED = b"null\n"  # a record that was taken away: services remove without looking at what they remove, so we do not
PROBE = ".conditional-writes"
TRIES = 3  # of a conditional write of which it is not known whether it was done


@dataclass(frozen=True)
class ObjectPlace:
    """The records of a folder of objects. Thread-safe, and of any number of machines one wins.

    A write whose answer is lost is looked up: where the record is what was to be written, it was. So writers that must
    tell each other apart put something of their own into a record. An ETag names the bytes, not the moment: a record
    that went from A to B and back to A is again the version it was.

    Where the service does not know conditional writes a record is compared and then written: of two writers within the
    same moment the later wins, and the earlier is told if it looks after that. A warning says so once.
    """

    folder: ObjectFolder

    def read(self, name: str) -> Stamped | None:
        """A record and its version; None where there is none."""
        read = self.folder.read(name)
        return None if read is None or read[0] == REMOVED else Stamped(read[0], _version(read[1]))

    def create(self, name: str, data: bytes, guard: Callable[[], None] = lambda: None) -> str:
        """Write a record that is not there yet; returns its version.

        Args:
            guard: called last before it is written; what it raises keeps it from being written.

        Raises:
            Taken: it is there.
        """
        read = self.folder.read(name)
        guard()
        if read is not None and read[0] == REMOVED:
            return self.replace(name, data, _version(read[1]))
        return self._write(name, data, None)

    def replace(self, name: str, data: bytes, version: str) -> str:
        """Write another record in place of the version that is there; returns the new version.

        Raises:
            Taken: it is another by now, or gone.
        """
        return self._write(name, data, version)

    def remove(self, name: str, version: str) -> None:
        """Take a version away; `null` stays in its place.

        Raises:
            Taken: it is another by now, or gone.
        """
        self.replace(name, REMOVED, version)

    def _write(self, name: str, data: bytes, version: str | None) -> str:
        for attempt in range(1, TRIES + 1):
            try:
                return _version(self._put(name, data, version))
            except AccessDenied:
                raise
            except (Taken, SourceUnavailable):  # the first may be the answer to a try that was done after all
                read = self.folder.read(name)
                if read is not None and read[0] == data:
                    return _version(read[1])
                found = None if read is None else _version(read[1])
                torn = read is not None and not read[0]  # SeaweedFS takes a request that breaks off before its body
                if attempt == TRIES or (found != version and not torn):
                    raise
                version = found
        raise AssertionError("the last try returns or raises")

    def _put(self, name: str, data: bytes, version: str | None) -> Found:
        if not is_conditional(self.folder):
            return self._compared(name, data, version)
        try:
            return self.folder.put(name, data, "create" if version is None else json.loads(version))
        except FileExistsError:
            raise Taken(name) from None

    def _compared(self, name: str, data: bytes, version: str | None) -> Found:
        found = self.folder.look(name)
        if (None if found is None else _version(found)) != version:
            raise Taken(name)
        put = self.folder.put(name, data)
        read = self.folder.read(name)
        if read is None or read[0] != data:
            raise Taken(name)
        return put


@cache
def is_conditional(folder: ObjectFolder) -> bool:
    """Whether the service refuses a write whose condition does not hold; tried on an object of no meaning.

    Raises:
        SourceUnavailable: it cannot be asked.
    """
    folder.put(PROBE, b"")
    refused = _refuses(folder, "create") and _refuses(folder, {"e_tag": '"0"', "version": "0"})
    if not refused:
        log.warning(
            "%s knows no conditional writes: two publishers within the same moment may not notice each other; "
            "see that only one runs at a time", folder.address,
        )  # fmt: skip
    return refused


def _refuses(folder: ObjectFolder, condition: Any) -> bool:
    try:
        folder.put(PROBE, b"", condition)
    except FileExistsError:
        return True
    except NotSupported:
        pass
    return False


def _version(found: Found) -> str:
    """What obstore wants to be given back; Google counts generations, the others have ETags only."""
    return json.dumps({"e_tag": found.etag} | ({"version": found.version} if found.version else {}), sort_keys=True)
