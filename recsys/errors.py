"""Errors an operator can act on. Each says what was expected, what came, and what to do.

The exit codes are the command line's contract; anything that is not a `RecsysError` is a defect (exit 1).
"""

from __future__ import annotations

MAX_MESSAGE = 2_000  # characters: an error message is read on one screen


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
    """Wrong usage or configuration."""

    exit_code = 2


class InputRefused(RecsysError):
    """The input was read and is not fit to be used."""

    exit_code = 3


class GateRefused(RecsysError):
    """The quality gate refused the run; nothing was published."""

    exit_code = 4


class SourceUnavailable(RecsysError):
    """A host, bucket or file could not be reached and there is no last good copy."""

    exit_code = 5


class StoreBusy(RecsysError):
    """Another run holds the store."""

    exit_code = 6


def _bounded(text: str) -> str:
    """Each part is cut by itself: a long find must not hide what to do."""
    most = MAX_MESSAGE // 4 - 20
    return text if len(text) <= most else text[:most] + " ..."


def sample(values: object, most: int = 5) -> str:
    """The first few of `values` for a message, e.g. `'a', 'b', ... (1,204 in all)`."""
    listed = list(values)  # type: ignore[call-overload]
    shown = ", ".join(repr(value)[:60] for value in listed[:most])
    return shown if len(listed) <= most else f"{shown}, ... ({len(listed):,} in all)"
