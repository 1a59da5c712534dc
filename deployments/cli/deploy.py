"""`recsys deploy`."""

from __future__ import annotations

from collections import ChainMap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from deployments.cli.console import result
from deployments.cli.options import (
    Columns,
    Config,
    Dataset,
    Items,
    Json,
    MinUserRatings,
    Mirror,
    Ratings,
    Rules,
    Seed,
    Set,
    Split,
    Store,
    TestFraction,
    TestRatings,
    TopItems,
    load_config,
)
from deployments.cli.prefect_local import quiet_defaults
from recsys.config import RunConfig, parse_assignment
from recsys.errors import UsageError

EXAMPLE = """
Example: `recsys deploy --config night.toml --store /srv/recsys --cron "30 4 * * *" --timezone Europe/Berlin`

In containers: `recsys deploy --store /srv/recsys --pool-type docker --job-variable image=recsys-nightly:latest
--job-variable 'volumes=["/srv/recsys:/srv/recsys"]'`
"""
PLACES = (
    ("input", "ratings"),
    ("input", "items"),
    ("prepare", "test_ratings"),
    ("download", "mirror"),
    ("rules", "file"),
    ("monitor", "textfile"),
    ("compute", "workspace"),
)


def deploy(
    pool: Annotated[str, typer.Option(help="work pool; made where there is none")] = "nights",
    pool_type: Annotated[
        str, typer.Option(help="process, docker or kubernetes; of the pool, which is made so")
    ] = "process",
    job_variables: Annotated[
        list[str] | None, typer.Option("--job-variable", help="KEY=VALUE for the pool's base job template")
    ] = None,
    cron: Annotated[str, typer.Option(help="when the night begins; '': only by hand")] = "30 4 * * *",
    timezone: Annotated[str, typer.Option(help="IANA name of the zone that --cron is in")] = "UTC",
    longest_hours: Annotated[
        float, typer.Option(min=0.001, help="a run that takes longer is told of and cancelled")
    ] = 6.0,
    dataset: Dataset = None,
    ratings: Ratings = None,
    items: Items = None,
    columns: Columns = None,
    mirror: Mirror = None,
    store: Store = None,
    ranker: Annotated[str | None, typer.Option(help="the model that orders; `recsys models`")] = None,
    rater: Annotated[str | None, typer.Option(help="the model that predicts ratings; `recsys models`")] = None,
    top_n: Annotated[int | None, typer.Option(help="length of a list")] = None,
    top_items: TopItems = None,
    min_user_ratings: MinUserRatings = None,
    split: Split = None,
    test_fraction: TestFraction = None,
    test_ratings: TestRatings = None,
    rules: Rules = None,
    seed: Seed = None,
    engine: Annotated[str | None, typer.Option(help="where the stages run: local or dask")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler; with --engine dask")] = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """Put the deployments and alerts on the Prefect server that is set up: new, changed, or removed where outdated.

    The options of `recsys run` become the deployments' parameters. Alerts go to the webhook in RECSYS_ALERT_WEBHOOK and
    by e-mail to RECSYS_ALERT_EMAIL (docs/operations.md).
    """
    settings = _placed(load_config(locals()))
    _require_no_date(settings)
    quiet_defaults()
    from deployments.apply import Place, PoolType, apply
    from deployments.channels import channels_from_environment
    from deployments.clock import require_every_night_once
    from deployments.definitions import Schedule
    from recsys.models.registry import check_models

    check_models(settings)
    if pool_type not in get_args(PoolType):
        raise UsageError(
            f"--pool-type {pool_type!r} is not known.", expected="process, docker or kubernetes", found=pool_type
        )
    schedule = Schedule(cron, timezone) if cron else None
    if schedule is not None:
        require_every_night_once(schedule, datetime.now(UTC))
    variables = [parse_assignment(text, "--job-variable") for text in job_variables or ()]
    place = Place(pool, pool_type, dict(ChainMap(*reversed(variables))))  # type: ignore[arg-type]
    done = []
    longest = timedelta(hours=longest_hours)
    for line in apply(settings, place, schedule, channels_from_environment(), longest):
        done.append(line)
        if not json_output:
            typer.echo(line)
    if json_output:
        result({"done": done})


deploy.__doc__ = f"{deploy.__doc__}\n{EXAMPLE}"


def _require_no_date(config: RunConfig) -> None:
    if config.run_date is not None or config.input.until is not None:
        raise UsageError(
            "A deployed night has its date from its schedule.",
            expected="no run_date and no input.until",
            found="every night would be made for the same date",
            todo="leave it out; `recsys backfill` makes past nights",
        )


def _placed(config: RunConfig) -> RunConfig:
    """With whole paths: a run's own folder is another than the one this command is given in."""
    values: dict[str, Any] = config.model_dump(exclude_unset=True)
    values["store"] = _whole(config.store)
    for section, key in PLACES:
        if values.get(section, {}).get(key) is not None:
            values[section][key] = _whole(values[section][key])
    return RunConfig.model_validate(values)


def _whole(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().resolve())
