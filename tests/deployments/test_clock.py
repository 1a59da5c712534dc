"""Schedules and clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.clock import AHEAD, require_every_night_once
from deployments.definitions import NIGHTLY, Schedule
from recsys.errors import UsageError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ZONES = sorted(
    zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "posix", "right"))
)


@pytest.mark.parametrize(
    ("cron", "zone", "day"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-28"),
        ("59 2 * * 0", "Europe/Berlin", "2027-03-28"),
        ("15 1 * * *", "America/New_York", "2027-11-07"),  # there twice; skipped is 2 to 3
        ("45 1 * * *", "Australia/Lord_Howe", "2027-04-04"),  # half an hour
        ("* * * * *", "Europe/Berlin", "2027-03-28"),
    ],
)
def test_a_night_that_would_be_skipped_or_doubled_is_refused(cron: str, zone: str, day: str) -> None:
    with pytest.raises(UsageError, match=f"on {day} the clock skips or repeats"):
        require_every_night_once(Schedule(cron, zone), NOW)


@pytest.mark.parametrize(
    ("cron", "zone"),
    [("30 4 * * *", "Europe/Berlin"), ("0 3 * * *", "Europe/Berlin"), ("59 1 * * *", "Europe/Berlin"),
     ("30 2 * * *", "UTC"), ("30 2 * * *", "Asia/Tokyo"), ("30 2 * * 3", "Europe/Berlin")],
)  # fmt: skip
def test_others_are_not(cron: str, zone: str) -> None:
    require_every_night_once(Schedule(cron, zone), NOW)


@pytest.mark.parametrize(
    ("cron", "zone"), [("30 4 * *", "UTC"), ("61 4 * * *", "UTC"), ("30 4 * * *", "Europe/Atlantis")]
)
def test_what_is_no_schedule_is_told(cron: str, zone: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        require_every_night_once(Schedule(cron, zone), NOW)


def met_by_naive_twin(at: time, zone: ZoneInfo) -> bool:
    """Whether on some day that time of the day is there not once: then its two readings differ."""
    days = (date(2026, 11, 22) + timedelta(days=day) for day in range(AHEAD.days - 2))
    moments = (datetime.combine(day, at, zone) for day in days)
    return any(moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset() for moment in moments)


@settings(max_examples=12)
@given(st.sampled_from(ZONES), st.integers(0, 5), st.sampled_from([0, 1, 29, 30, 59]))
def test_as_a_walk_through_all_days(zone: str, hour: int, minute: int) -> None:
    schedule = Schedule(f"{minute} {hour} * * *", zone)
    if met_by_naive_twin(time(hour, minute), ZoneInfo(zone)):
        with pytest.raises(UsageError):
            require_every_night_once(schedule, NOW)
    else:
        require_every_night_once(schedule, NOW)


def test_half_past_four_is_there_once_in_every_zone() -> None:
    assert NIGHTLY.schedule is not None
    minute, hour = map(int, NIGHTLY.schedule.cron.split()[:2])
    assert [zone for zone in ZONES if met_by_naive_twin(time(hour, minute), ZoneInfo(zone))] == []
