"""The deployments as data: which flow runs when, how many at a time, and with what.

`recsys deploy` puts them on a Prefect server; prefect.yaml says the same for `prefect deploy` (a test compares them).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from prefect import Flow

from recsys.config import RunConfig

TAG = "recsys"  # on every deployment, and so on each of its runs: what alerts look for, and what `recsys deploy` owns
POOL = "nights"
IMAGE = "recsys-nightly:latest"
# The code is installed where a run takes place, so the flow is imported by its name and no machine's path is kept.
PULL_STEPS: tuple[dict[str, Any], ...] = ({"deployments.steps.change_to_code": {}},)
# What a run's process needs to hear; 30 s is the most often that Prefect sends heartbeats. A server whose database is
# away answers 500, which Prefect's client takes for final unless told; six tries more are two minutes.
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "recsys",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

Collision = Literal["CANCEL_NEW", "ENQUEUE"]


@dataclass(frozen=True)
class Schedule:
    """When a deployment runs by itself.

    Attributes:
        cron: five fields, local time of the zone. Clocks change between midnight and four everywhere, so half past
            four is there once on every day, in any zone.
        timezone: an IANA name, never left to the machine; a night's date is the scheduled day in UTC.
    """

    cron: str
    timezone: str = "UTC"


@dataclass(frozen=True)
class Deployment:
    """One way to run a flow.

    Attributes:
        flow_path: where the flow is imported from.
        description: for the page in Prefect's UI.
        schedule: None: only by hand.
        collision: what a run does that would be one more than `limit` at a time: be cancelled, or wait.
        parameters: given besides those that the configuration sets.
        asks: what whoever starts a run has to give.
        limit: runs at a time.
    """

    name: str
    flow_path: str
    description: str
    schedule: Schedule | None = None
    collision: Collision = "ENQUEUE"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    limit: int = 1

    @cached_property
    def flow(self) -> Flow[..., Any]:
        """The flow itself."""
        module, _, name = self.flow_path.rpartition(".")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]

    @property
    def full_name(self) -> str:
        """As `prefect deployment run` takes it."""
        return f"{self.flow.name}/{self.name}"

    def parameters_from(self, config: RunConfig) -> dict[str, Any]:
        """What the flow is called with: the parts of a configuration that it takes and that are not as by default."""
        given, takes = config.model_dump(mode="json", exclude_unset=True), self.flow.parameters.properties
        whole = {"config": given} if "config" in takes else {}
        return {name: value for name, value in given.items() if name in takes} | whole | dict(self.parameters)


NIGHTLY = Deployment(
    "nightly",
    "flows.nightly.nightly",
    "Makes and publishes the tables of one night. One that begins while another is still running is cancelled.",
    Schedule("30 4 * * *"),
    collision="CANCEL_NEW",
)
BACKFILL = Deployment(
    "backfill",
    "flows.backfill.backfill",
    "Makes past nights, each on the ratings until its end; the pointer only goes forward in time.",
    asks=("first", "last"),
)
TUNE = Deployment(
    "tune",
    "flows.tune.tune",
    "Searches for a model's settings on a validation slice. The best are written as a configuration; nothing changes.",
    parameters={"model": "weighted_edlae"},
)
RETENTION = Deployment(
    "retention",
    "flows.history.retention",
    "Verifies the published run, then removes all but the last runs, the published and the pinned one.",
    Schedule("30 12 * * 0"),  # on Sundays, when no night is made
    collision="CANCEL_NEW",
    parameters={"keep": 30},
)
BY_HAND = (
    Deployment("verify", "flows.history.verify", "Compares every file of a run with its manifest."),
    Deployment("rollback", "flows.history.rollback", "Publishes an earlier run again.", asks=("run_id",)),
    Deployment("promote", "flows.history.promote", "Publishes a run that the gate refused.", asks=("run_id", "by")),
    Deployment("pin", "flows.history.pin", "Keeps a run published, or lets the next night be published again."),
)
DEPLOYMENTS = (NIGHTLY, BACKFILL, TUNE, RETENTION, *BY_HAND)
