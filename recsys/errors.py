"""Errors an operator can act on. Each says what was expected, what came, and what to do.

The exit codes are the command line's contract; anything that is not a `RecsysError` is a defect (exit 1).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_MESSAGE = 2_000  # characters: an error message is read on one screen


INDENT = "\n" + " " * 12  # of a part's further lines: none can pass for a part of its own
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_ERRNO_IN_TEXT = re.compile(r"errno (?:= )?(\d+)", re.IGNORECASE)  # pyarrow "[errno 28]", h5py "errno = 28"
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy, which does not look why


class RecsysError(Exception):
    """A failure whose cause is known.

    Args:
        what: the failure in one sentence, with the name of the thing it is about.
        expected: what would have been right.
        found: what came instead; a bounded sample, never the whole input.
        todo: the next step for the person who reads it.
    """

    exit_code = 1

    def __init__(self, what: str, *, expected: str = "", found: str = "", todo: str = "") -> None:
        self.what, self.expected, self.found, self.todo = what, expected, found, todo
        parts = [_bounded(what)]
        parts += [f"  expected: {_bounded(expected)}"] if expected else []
        parts += [f"  found:    {_bounded(found)}"] if found else []
        parts += [f"  to do:    {_bounded(todo)}"] if todo else []
        super().__init__("\n".join(parts))


class UsageError(RecsysError):
    """Wrong usage or configuration, a disk that cannot be written to among them."""

    exit_code = 2


class InputRefused(RecsysError):
    """The input was read and is not fit to be used."""

    exit_code = 3


class GateRefused(RecsysError):
    """The quality gate refused the run; nothing was published.

    Attributes:
        folder: of the run, which was made to its end; None where that is not known.
    """

    exit_code = 4
    folder: Path | None = None


class SourceUnavailable(RecsysError):
    """A host, bucket or file could not be reached and there is no last good copy."""

    exit_code = 5


class StoreBusy(RecsysError):
    """Another run holds the store."""

    exit_code = 6


@contextmanager
def disk_told(place: str | Path) -> Iterator[None]:
    """Within, a disk that is full, closed or broken is no defect but told with what to do.

    Args:
        place: what was being written, named where the failure does not name a file.

    Raises:
        UsageError: the disk failed, whichever library noticed.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        failed = next(filter(_disk_errno, _causes(error)), None)
        if failed is None:
            raise
        raise UsageError(
            f"{getattr(failed, 'filename', None) or place} cannot be used: {os.strerror(_disk_errno(failed))}.",
            expected="a disk with room, that works and that this user may write to",
            found=f"{type(failed).__name__}: {failed}",
            todo="free or mend the disk, the quota or the permissions, or choose another store with --store, and run "
            "again: nothing was lost, complete stages are kept, and readers see the last run that was published whole",
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those it came from: a writer that is closed after a failure often fails once more."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _disk_errno(error: BaseException) -> int:
    """The system's number of a disk failure; 0 for any other error."""
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    if number is None and isinstance(error, OSError | RuntimeError):
        found = _ERRNO_IN_TEXT.search(str(error))
        number = int(found[1]) if found else errno.ENOSPC if _SHORT_WRITE.search(str(error)) else None
    return number if number in DISK else 0


def _bounded(text: str) -> str:
    """Each part is cut by itself: a long find must not hide what to do."""
    text = INDENT.join(line.strip(" ") for line in text.split("\n"))
    most = MAX_MESSAGE // 4 - 20
    return text if len(text) <= most else text[:most] + " ..."


def sample(values: object, most: int = 5) -> str:
    """The first few of `values` for a message, e.g. `'a', 'b', ... (1,204 in all)`."""
    listed = list(values)  # type: ignore[call-overload]
    shown = ", ".join(repr(value)[:60] for value in listed[:most])
    return shown if len(listed) <= most else f"{shown}, ... ({len(listed):,} in all)"
