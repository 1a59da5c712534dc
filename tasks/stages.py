"""The stages of a night as Prefect tasks.

Handles travel between them, never data. A stage seals its own folder, so a task that runs again finds its work done;
Prefect's own caching would only hash the handles once more (`NO_CACHE`). Nothing is retried but what other machines
answer, the download and the publication: a retry elsewhere would hide a defect.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import deployment

from recsys.config import RunConfig
from recsys.download.stage import open_run
from recsys.errors import SourceUnavailable
from recsys.evaluate import stage as evaluate_stage
from recsys.evaluate.stage import Evaluation
from recsys.gate import stage as judge_stage
from recsys.gate.verdict import Verdict
from recsys.models.registry import Role
from recsys.prepare import stage as prepare_stage
from recsys.prepare.prepared import Counts
from recsys.publish import mend as mend_stage
from recsys.publish import stage as publish_stage
from recsys.publish.stage import Published
from recsys.report import stage as report_stage
from recsys.rules import stage as rules_stage
from recsys.run import Run
from recsys.score import stage as score_stage
from recsys.train import stage as train_stage
from recsys.train.stage import Fitted

Stage = TypeVar("Stage", bound=Callable[..., Any])


def _held(stage: Stage) -> Stage:
    """A stage that does not begin where another run has taken the store over meanwhile."""

    @wraps(stage)
    def begun(run: Run, *args: Any, **kwargs: Any) -> Any:
        run.require_lease()
        return stage(run, *args, **kwargs)

    return cast(Stage, begun)


async def _unattended_and_unreachable(task: Any, task_run: Any, state: Any) -> bool:
    """A scheduled night waits for a host to come back; a person at a terminal is told at once."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, SourceUnavailable) and deployment.id is not None


PATIENT: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [60, 300, 900],
    "retry_jitter_factor": 0.2,
    "retry_condition_fn": _unattended_and_unreachable,
}


@task(cache_policy=NO_CACHE, **PATIENT)
def download(config: RunConfig, run_date: date, token: int) -> Run:
    """Take a snapshot of the ratings, and name the run by it."""
    return open_run(config, run_date, token)


@task(cache_policy=NO_CACHE)
@_held
def mend(run: Run) -> None:
    """Set the run aside where it was damaged, and have the pointer lead to a whole one."""
    mend_stage.mend(run)


@task(cache_policy=NO_CACHE)
@_held
def prepare(run: Run) -> Counts:
    """Read, check, split, filter and centre the ratings."""
    return prepare_stage.prepare(run)


@task(cache_policy=NO_CACHE)
@_held
def rules(run: Run) -> None:
    """Work out what the rules mean for this input."""
    rules_stage.settle(run)


@task(cache_policy=NO_CACHE, task_run_name="fit-{role}")
@_held
def fit(run: Run, role: Role) -> Fitted:
    """Fit the model that is judged."""
    return train_stage.fit(run, role)


@task(cache_policy=NO_CACHE, task_run_name="evaluate-{number}")
@_held
def evaluate_shard(run: Run, number: int) -> None:
    """Measure the judged models on the hold-out of a shard's users."""
    evaluate_stage.evaluate_shard(run, number)


@task(cache_policy=NO_CACHE)
@_held
def evaluate(run: Run) -> Evaluation:
    """Bring the shards' measures together, and judge."""
    return evaluate_stage.evaluate(run)


@task(cache_policy=NO_CACHE)
@_held
def judge(run: Run) -> Verdict:
    """Compare the finished night with the published one, and let the gate speak."""
    return judge_stage.judge(run)


@task(cache_policy=NO_CACHE, task_run_name="refit-{role}")
@_held
def refit(run: Run, role: Role) -> Fitted:
    """Fit the model that is published."""
    return train_stage.refit(run, role)


@task(cache_policy=NO_CACHE, task_run_name="score-{number}")
@_held
def score_shard(run: Run, number: int) -> None:
    """Make the lists of a shard's users."""
    score_stage.score_shard(run, number)


@task(cache_policy=NO_CACHE)
@_held
def score(run: Run) -> int:
    """Write the tables, the lists from their shards."""
    return score_stage.score(run)


@task(cache_policy=NO_CACHE, **PATIENT)
@_held
def seal(run: Run) -> None:
    """Check the tables and write the manifest."""
    publish_stage.seal(run)


@task(cache_policy=NO_CACHE, **PATIENT)
@_held
def report(run: Run) -> Path:
    """Draw the page that people look at."""
    return report_stage.report(run)


@task(cache_policy=NO_CACHE)
@_held
def publish(run: Run) -> Published:
    """Swap the pointer, or stop a run that the gate refused."""
    return publish_stage.publish(run)
