"""The search for a model's settings as tasks."""

from __future__ import annotations

from datetime import date

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from recsys.config import RunConfig
from recsys.models.registry import Role
from recsys.report.text import in_code
from recsys.summary import trial_rows
from recsys.tune import tuning
from recsys.tune.search import Limits
from recsys.tune.tuning import Tuned


@task(cache_policy=NO_CACHE)
def search(config: RunConfig, model: str, limits: Limits, role: Role | None, today: date) -> Tuned:
    """Search, or go on searching; the trials that ended are kept."""
    return tuning.tune(config, model, limits, today=today, role=role)


@task(cache_policy=NO_CACHE)
def show_trials(tuned: Tuned) -> None:
    """The trials as an artifact, under one key for each model."""
    create_table_artifact(
        trial_rows(tuned),
        key=f"tune-{tuned.model.replace('_', '-')}",
        description=f"{tuned.metric} on the validation slice, the best first; its settings: {in_code(str(tuned.file))}",
    )
