"""Progress of long work: bars on a terminal, plain lines elsewhere; the caller chooses once, by `report_to`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("recsys")

LINE_EVERY_S = 5.0  # a log that is watched moves, a log that is kept stays short


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int) -> None:
        """Tell that `amount` more units are done."""

    def close(self) -> None:
        """Tell that the work has ended, well or not."""


class Reporter(Protocol):
    """Where progress goes."""

    def start(self, label: str, total: int | None, unit: str) -> Bar:
        """Begin showing work of `total` units (None: not known)."""


class LineBar:
    """Progress as log lines, at most one in `LINE_EVERY_S` seconds."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.last = 0, time.monotonic()

    def advance(self, amount: int) -> None:
        """Count, and write a line if the last is old enough."""
        self.done += amount
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_S:
            self.last = now
            of = f" of {self.total:,}" if self.total else ""
            log.info("%s: %s%s %s", self.label, f"{self.done:,}", of, self.unit)

    def close(self) -> None:
        """Nothing is left to do."""


class Lines:
    """The reporter for logs."""

    def start(self, label: str, total: int | None, unit: str) -> Bar:
        """Begin a piece of work."""
        return LineBar(label, total, unit)


_reporter: Reporter = Lines()


def report_to(reporter: Reporter) -> None:
    """Send all progress of this process to `reporter`."""
    global _reporter
    _reporter = reporter


class _BothBars:
    def __init__(self, bars: tuple[Bar, Bar]) -> None:
        self.bars = bars

    def advance(self, amount: int) -> None:
        for bar in self.bars:
            bar.advance(amount)

    def close(self) -> None:
        for bar in self.bars:
            bar.close()


@dataclass(frozen=True)
class _Both:
    first: Reporter
    second: Reporter

    def start(self, label: str, total: int | None, unit: str) -> Bar:
        return _BothBars((self.first.start(label, total, unit), self.second.start(label, total, unit)))


@contextmanager
def reported_to(reporter: Reporter) -> Iterator[None]:
    """Within, send all progress of this process to `reporter` too."""
    before = _reporter
    report_to(_Both(before, reporter))
    try:
        yield
    finally:
        report_to(before)


@contextmanager
def track(label: str, total: int | None, unit: str = "") -> Iterator[Bar]:
    """Show the progress of a piece of work.

    >>> with track("score", 10, "users") as bar:
    ...     bar.advance(10)
    """
    bar = _reporter.start(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()
