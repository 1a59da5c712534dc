"""Schedules and clock changes: a night at an hour that is skipped would be missed, at one that comes twice doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.server.schemas.schedules import CronSchedule
from pydantic import ValidationError

from deployments.definitions import Schedule
from recsys.errors import UsageError

AHEAD = timedelta(days=2 * 366)  # every zone changes its clocks in it as often as it ever does
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def require_every_night_once(schedule: Schedule, now: datetime) -> None:
    """Refuse a schedule that a clock change of the next two years would skip or double.

    Raises:
        UsageError: that, or no cron expression or time zone.
    """
    try:
        zone = ZoneInfo(schedule.timezone)
        wall = CronSchedule(cron=schedule.cron, timezone="UTC")  # reads the wall clock, as if no clock ever changed
    except (ZoneInfoNotFoundError, ValueError, ValidationError) as error:
        raise UsageError(
            f"The schedule {schedule.cron!r} in {schedule.timezone!r} cannot be read.",
            expected='five fields as in "30 4 * * *", and the IANA name of a zone as in Europe/Berlin',
            found=str(error).splitlines()[0],
        ) from error
    for begins, ends in _changed_hours(zone, now):
        (run,) = asyncio.run(wall.get_dates(n=1, start=begins.replace(tzinfo=UTC)))
        if run.replace(tzinfo=None) < ends:
            raise UsageError(
                f"The schedule {schedule.cron!r} meets a clock change of {schedule.timezone}.",
                expected="an hour that every day has once; half past four is one in any zone, and UTC never changes",
                found=f"on {begins.date()} the clock skips or repeats {begins:%H:%M} to {ends:%H:%M}",
                todo="choose another hour with --cron, or --timezone UTC",
            )


def _changed_hours(zone: ZoneInfo, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Wall-clock times that a day skips or has twice, from and until."""
    at = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while at < now + AHEAD:
        before, after = _offset(at, zone), _offset(at + HOUR, zone)
        if before != after:
            change = at
            while _offset(change, zone) == before:
                change += MINUTE
            sides = sorted((before, after))
            yield (change + sides[0]).replace(tzinfo=None), (change + sides[1]).replace(tzinfo=None)
        at += HOUR


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
