"""The nightly flow: from raw ratings to published top-n tables."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

from prefect import flow
from prefect.runtime import flow_run

from recsys.config import (
    ComputeConfig,
    DemoConfig,
    DownloadConfig,
    EvaluateConfig,
    GateConfig,
    InputConfig,
    PrepareConfig,
    RulesConfig,
    RunConfig,
    ScoreConfig,
    TrainConfig,
)
from recsys.models.registry import ROLES
from recsys.progress import reported_to
from recsys.publish.stage import Published
from recsys.store import open_store
from tasks import stages
from tasks.artifacts import record_tables, show_night
from tasks.engines import engine_of
from tasks.progress import OnPage


def _night() -> date:
    """The day the run was scheduled for, in UTC: a run picked up late still belongs to its night."""
    return (flow_run.scheduled_start_time or datetime.now(UTC)).astimezone(UTC).date()


def _run_name() -> str:
    return f"night-{flow_run.parameters.get('run_date') or _night()}"


@flow(name="nightly", flow_run_name=_run_name)
def nightly(
    store: str = "./store",
    run_date: date | None = None,
    seed: int = 42,
    engine: Literal["local", "dask"] = "local",
    scheduler: str | None = None,
    input: InputConfig = InputConfig(),
    demo: DemoConfig = DemoConfig(),
    download: DownloadConfig = DownloadConfig(),
    prepare: PrepareConfig = PrepareConfig(),
    train: TrainConfig = TrainConfig(),
    models: dict[str, dict[str, Any]] = {},  # noqa: B006  (read only; Prefect's form needs the plain type)
    evaluate: EvaluateConfig = EvaluateConfig(),
    gate: GateConfig = GateConfig(),
    score: ScoreConfig = ScoreConfig(),
    rules: RulesConfig = RulesConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> Published:
    """Make and publish the tables of one night.

    The parameters are the sections of `recsys.config.RunConfig`; Prefect draws a form from them. A night that was
    published before is found done, or rebuilt where its files were damaged since.

    Raises:
        RecsysError: what was expected, what came and what to do.
    """
    config = RunConfig.model_validate(
        {name: value for name, value in locals().items() if name in RunConfig.model_fields}
    )
    home = open_store(config.store, config.compute.workspace)
    with (
        home.hold(config.compute.lease_s) as lease,
        engine_of(config, home.root) as pieces,
        reported_to(OnPage()),
    ):
        run = stages.download(config, config.run_date or _night(), lease.token)
        stages.mend(run)
        if not run.made:
            stages.prepare(run)
            if run.rules is not None:
                stages.rules(run)
            pieces.each(stages.fit, run, ROLES)
            pieces.each(stages.evaluate_shard, run, run.shards)
            stages.evaluate(run)
            pieces.each(stages.refit, run, ROLES)
            pieces.each(stages.score_shard, run, run.shards)
            stages.score(run)
            stages.judge(run)
        stages.seal(run)
        show_night(run)
        published = stages.publish(run)
        record_tables(published)
        return published
