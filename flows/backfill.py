"""Past nights: the nightly flow for each date of a range, on the ratings there were by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from prefect import flow

from flows.nightly import nightly
from recsys.config import RunConfig
from recsys.errors import GateRefused, InputRefused, RecsysError, UsageError
from recsys.published import complete_runs
from recsys.store import Store, open_store


@dataclass(frozen=True)
class Past:
    """What became of a past night.

    Attributes:
        outcome: as `recsys run` says it, or `there already`, or `refused`.
        reason: of a refusal.
    """

    run_date: date
    outcome: str
    run_id: str | None = None
    reason: str = ""


class SomeRefused(RecsysError):
    """Some nights were refused; the others are made."""

    def __init__(self, past: list[Past], exit_code: int) -> None:
        refused = [night for night in past if night.outcome == "refused"]
        self.past, self.exit_code = past, exit_code
        super().__init__(
            f"{len(refused)} of {len(past)} nights were refused; the others are made.",
            expected="nights that the input and the gate allow",
            found="; ".join(f"{night.run_date}: {night.reason}" for night in refused),
            todo="`recsys runs list` has each reason; the same command again makes what is missing",
        )


@flow(name="backfill")
def backfill(first: date, last: date, missing_only: bool = True, config: RunConfig = RunConfig()) -> list[Past]:
    """Make the nights from `first` to `last`, both included, each on the ratings until its end.

    A night that is there already is found done; the pointer only goes forward in time. Nights that are refused do not
    stop the others.

    Args:
        first: the first night's date; the ratings need timestamps
        last: the last night's date
        missing_only: leave out dates with a complete run, of whatever configuration
        config: as for the nightly flow; `run_date` and `input.until` are set here

    Raises:
        SomeRefused: after the last night. RecsysError: the store is held or closed, or the source cannot be reached.
    """
    past: list[Past] = []
    exit_code = 0
    for night in _nights(first, last):
        there = _complete(open_store(config.store, config.compute.workspace), night) if missing_only else None
        if there is not None:
            past.append(Past(night, "there already", there))
            continue
        try:
            published = nightly(**_as_of(config, night))
            past.append(Past(night, published.outcome, published.run_id))
        except (GateRefused, InputRefused) as refused:
            exit_code = exit_code or refused.exit_code
            past.append(Past(night, "refused", reason=f"{refused.what} {refused.found}".strip()))
    if exit_code:
        raise SomeRefused(past, exit_code)
    return past


def _nights(first: date, last: date) -> Iterator[date]:
    if last < first:
        raise UsageError(
            f"The last night, {last}, is before the first, {first}.",
            expected="--from on or before --to",
            todo="exchange them",
        )
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _complete(store: Store, night: date) -> str | None:
    """The run_id of a complete run of a night."""
    found = [run.run_id for run in complete_runs(store) if run.manifest["run_date"] == night.isoformat()]
    return found[-1] if found else None


def _as_of(config: RunConfig, night: date) -> dict[str, Any]:
    """The nightly flow's parameters for a past night."""
    return dict(config) | {"run_date": night, "input": config.input.model_copy(update={"until": night})}
