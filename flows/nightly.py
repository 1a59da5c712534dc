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
    MonitorConfig,
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
from tasks import stages, watch
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
    monitor: MonitorConfig = MonitorConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> Published:
    """Make and publish the tables of one night.

    The parameters are the sections of `recsys.config.RunConfig`; Prefect draws a form from them. A night that was
    published before is found done, or rebuilt where its files were damaged since.

    Args:
        store: folder or URI (s3://, gs://, az://) of all runs and the pointer
        run_date: the night's date; unset: the day the run was scheduled for, in UTC
        seed: seed of splits, initial weights, shuffles and bootstrap
        engine: where the pieces of the stages run
        scheduler: address of a Dask scheduler; unset: engine dask starts workers on this machine
        input: which ratings, and what makes a row valid
        demo: the size of the generated dataset `demo`
        download: how public archives are fetched
        prepare: which ratings the models see, and which are held out
        train: which models, and on what the published ones are fitted
        models: settings of a model, by its name
        evaluate: what is measured
        gate: what a run must reach to be published
        score: the lists
        rules: policy over the lists
        monitor: what is left for other systems to watch
        compute: how much of the machine a run may take

    Raises:
        RecsysError: what was expected, what came and what to do.
    """
    config = RunConfig.model_validate(
        {name: value for name, value in locals().items() if name in RunConfig.model_fields}
    )
    home = open_store(config.store, config.compute.workspace)
    with home.hold(config.compute.lease_s) as lease, engine_of(config, home.root) as pieces, reported_to(OnPage()):
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
            stages.report(run)
        stages.seal(run)
        show_night(run)
        try:
            published = stages.publish(run)
        finally:
            watch.figures(run)
        record_tables(published)
        watch.tell(published)
        return published
