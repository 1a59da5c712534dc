"""Putting deployments and alerts on a Prefect server.

What is missing is made, what differs is changed, what is no longer in the data goes: the same command twice leaves the
same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import httpx
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from deployments.alerts import LONGEST, PREFIX, automations
from deployments.channels import Channels, save_channels
from deployments.definitions import DEPLOYMENTS, ENVIRONMENT, NIGHTLY, POOL, PULL_STEPS, TAG, Deployment, Schedule
from recsys import __version__
from recsys.config import RunConfig
from recsys.errors import SourceUnavailable, UsageError

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

PoolType = Literal["process", "docker", "kubernetes"]


@dataclass(frozen=True)
class Place:
    """Where runs take place.

    Attributes:
        pool: the work pool's name; made where there is none.
        type: of a pool that is made.
        job_variables: for the pool's base job template, e.g. image and volumes.
    """

    pool: str = POOL
    type: PoolType = "process"
    job_variables: Mapping[str, Any] | None = None


def apply(
    config: RunConfig, place: Place, schedule: Schedule | None, channels: Channels, longest: timedelta = LONGEST
) -> Iterator[str]:
    """Put all deployments and alerts on the server that is set up; yields a line for each, when it is done.

    Args:
        config: the deployments' parameters.
        schedule: of the nightly deployment; None: it has none.
        channels: where alerts go.
        longest: that a run may take.

    Raises:
        UsageError: no server is set up, or it refuses what it is given.
        SourceUnavailable: it does not answer.
    """
    with _server() as client:
        yield _ensure_pool(client, place)
        nightly = replace(NIGHTLY, schedule=schedule)
        wanted = [nightly if deployment is NIGHTLY else deployment for deployment in DEPLOYMENTS]
        for deployment in wanted:
            yield _put_deployment(client, deployment, config, place)
        yield from _remove_deployments(client, {deployment.full_name for deployment in wanted})
        blocks = save_channels(client, channels)
        yield from _put_automations(client, automations(blocks, longest))


@contextmanager
def _server() -> Iterator[SyncPrefectClient]:
    url = get_current_settings().api.url
    if not url:
        raise UsageError(
            "No Prefect server is set up.",
            expected="the address of its API in PREFECT_API_URL",
            found="none; a temporary server would forget everything",
            todo="`prefect server start`, then `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`",
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise SourceUnavailable(
            f"The Prefect server {url} does not answer.",
            expected="a running server",
            found=str(error) or type(error).__name__,
            todo="start it, or mend PREFECT_API_URL",
        ) from error
    except PrefectHTTPStatusError as error:
        raise UsageError(
            f"The Prefect server {url} refuses the request.",
            expected="a server of the same version, and PREFECT_API_AUTH_STRING where it asks for one",
            found=f"{error.response.status_code}: {error.response.text[:300]}",
            todo="mend what it names, and give the command again",
        ) from error


def _ensure_pool(client: SyncPrefectClient, place: Place) -> str:
    try:
        pool = client.read_work_pool(place.pool)
    except ObjectNotFound:
        template = _base_job_template(client, place.type)
        client.create_work_pool(WorkPoolCreate(name=place.pool, type=place.type, base_job_template=template))
        return f"work pool {place.pool} ({place.type}): made"
    if pool.type != place.type:
        raise UsageError(
            f"The work pool {place.pool} is of another type.",
            expected=place.type,
            found=pool.type,
            todo="name another with --pool, or its type with --pool-type",
        )
    return f"work pool {place.pool} ({pool.type}): is there"


def _base_job_template(client: SyncPrefectClient, type: PoolType) -> dict[str, Any]:
    if type == "kubernetes":
        text = files("deployments").joinpath("kubernetes", "base-job-template.json").read_text(encoding="utf-8")
        return json.loads(text)  # type: ignore[no-any-return]
    known = client.request("GET", "/collections/views/{view}", path_params={"view": "aggregate-worker-metadata"}).json()
    workers = {worker["type"]: worker for collection in known.values() for worker in collection.values()}
    return workers[type]["default_base_job_configuration"]  # type: ignore[no-any-return]


def _put_deployment(client: SyncPrefectClient, deployment: Deployment, config: RunConfig, place: Place) -> str:
    flow, before = deployment.flow, _read(client, deployment.full_name)
    parameters = deployment.parameters_from(config)
    if not deployment.asks:
        flow.validate_parameters(parameters)
    client.create_deployment(
        flow_id=client.create_flow(flow),
        name=deployment.name,
        version=__version__,
        description=deployment.description,
        schedules=_schedules(deployment.schedule, before),
        concurrency_limit=deployment.limit,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(deployment.collision)),
        parameters=parameters,
        tags=[TAG],
        work_pool_name=place.pool,
        entrypoint=deployment.flow_path,
        pull_steps=list(PULL_STEPS),
        parameter_openapi_schema=flow.parameters.model_dump_for_openapi(),
        enforce_parameter_schema=True,
        job_variables={"env": ENVIRONMENT, **(place.job_variables or {})},
    )
    when = f"{deployment.schedule.cron} {deployment.schedule.timezone}" if deployment.schedule else "by hand"
    return f"deployment {deployment.full_name} ({when}): {'changed' if before else 'made'}"


def _read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _schedules(schedule: Schedule | None, before: DeploymentResponse | None) -> list[DeploymentScheduleCreate]:
    """The server takes these for all there are: one that is no longer named goes. What a person paused stays so."""
    if schedule is None:
        return []
    paused = before is not None and bool(before.schedules) and not any(known.active for known in before.schedules)
    cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    return [DeploymentScheduleCreate(schedule=cron, active=not paused)]


def _remove_deployments(client: SyncPrefectClient, wanted: set[str]) -> Iterator[str]:
    """Those with our tag that are no longer in the data."""
    ours = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    for deployment in ours:
        name = f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"
        if name not in wanted:
            client.delete_deployment(deployment.id)
            yield f"deployment {name}: removed"


def _put_automations(client: SyncPrefectClient, all_of_them: Sequence[AutomationCore]) -> Iterator[str]:
    before = {known.name: known for known in client.read_automations() if known.name.startswith(PREFIX)}
    wanted = {automation.name: automation for automation in all_of_them}
    for name, automation in wanted.items():
        yield f"automation {name}: {_put_automation(client, automation, before.get(name))}"
    for name in before.keys() - wanted.keys():
        client.delete_automation(before[name].id)
        yield f"automation {name}: removed"


def _put_automation(client: SyncPrefectClient, wanted: AutomationCore, known: Automation | None) -> str:
    """One that is as it should be is left alone: the server forgets what a changed one was waiting for.

    What a person switched off stays so.
    """
    if known is None:
        client.create_automation(wanted)
        return "made"
    wanted = wanted.model_copy(update={"enabled": known.enabled})
    if AutomationCore.model_validate(known.model_dump()) == wanted:
        return "unchanged"
    client.update_automation(known.id, wanted)
    return "changed"
