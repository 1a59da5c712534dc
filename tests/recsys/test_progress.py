"""Progress in logs."""

from __future__ import annotations

import logging

import pytest

from recsys import progress
from recsys.progress import Lines, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_reporter", Lines())
    return now


def test_at_most_a_line_in_five_seconds(clock, caplog):
    with caplog.at_level(logging.INFO, "recsys"), track("score", 2_000, "users") as bar:
        for seconds in (1, 4.9, 5, 6, 9.9, 10):
            clock[0] = 100.0 + seconds
            bar.advance(300)
    assert caplog.messages == ["score: 900 of 2,000 users", "score: 1,800 of 2,000 users"]


def test_a_total_that_is_not_known(clock, caplog):
    with caplog.at_level(logging.INFO, "recsys"), track("read", None, "bytes") as bar:
        clock[0] += 5
        bar.advance(1_000)
    assert caplog.messages == ["read: 1,000 bytes"]


def test_a_bar_is_closed_when_the_work_fails(monkeypatch):
    closed = []

    class Watched(Lines):
        def start(self, label, total, unit):
            bar = super().start(label, total, unit)
            bar.close = lambda: closed.append(label)
            return bar

    monkeypatch.setattr(progress, "_reporter", progress._reporter)  # put back afterwards
    progress.report_to(Watched())
    with pytest.raises(ValueError, match="broken"), track("score", 1):
        raise ValueError("broken")
    assert closed == ["score"]
