"""Ctrl-C and SIGTERM: what is under way ends in order, and one line tells of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from recsys.errors import RecsysError

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # as shells have it


class Stopped(RecsysError):
    """Someone ended the command."""

    def __init__(self, by: str, kept: str, exit_code: int) -> None:
        super().__init__(f"stopped by {by}; {kept}")
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken for Ctrl-C by all that is under way."""


@contextmanager
def stoppable(kept: str) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM (a scheduler) free the store, end the children and are told in one line.

    Args:
        kept: what is left as it was, and what goes on from there; ends the line.

    Raises:
        Stopped: one of them came.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Terminated:
        raise Stopped("SIGTERM", kept, TERMINATED) from None
    except KeyboardInterrupt:
        raise Stopped("the keyboard", kept, INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the clearing up
    raise Terminated
