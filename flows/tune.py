"""The search for a model's settings, as a flow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from recsys.config import (
    ComputeConfig,
    DemoConfig,
    DownloadConfig,
    EvaluateConfig,
    InputConfig,
    PrepareConfig,
    RunConfig,
)
from recsys.tune.search import Limits
from tasks import tuning


def _run_name() -> str:
    return f"tune-{flow_run.parameters.get('model')}"


@flow(name="tune", flow_run_name=_run_name)
def tune(
    model: str,
    trials: Annotated[int, Field(ge=1)] = 20,
    timeout_s: Annotated[float, Field(ge=0)] | None = None,
    role: Literal["ranker", "rater"] | None = None,
    store: str = "./store",
    seed: int = 42,
    input: InputConfig = InputConfig(),
    demo: DemoConfig = DemoConfig(),
    download: DownloadConfig = DownloadConfig(),
    prepare: PrepareConfig = PrepareConfig(),
    models: dict[str, dict[str, Any]] = {},  # noqa: B006  (read only; Prefect's form needs the plain type)
    evaluate: EvaluateConfig = EvaluateConfig(),
    compute: ComputeConfig = ComputeConfig(),
) -> str:
    """Search for the settings of one model that are best on a validation slice of the training part.

    A search that was killed goes on where it was. The test part is never looked at, and nothing is published.

    Args:
        model: whose settings are searched; `recsys models` lists them
        trials: in all, those of a search that goes on included
        timeout_s: seconds after which no trial begins; unset: no such limit
        role: what it is to be good at; unset: a model that can be both is a rater
        store: folder of the published tables and of all runs; the best settings stand in its folder `tuning`
        seed: seed of splits, draws and the search
        input: which ratings, and what makes a row valid
        demo: the size of the generated dataset `demo`
        download: how public archives are fetched
        prepare: which ratings the models see, and which are held out
        models: settings that stay as they are, by the model's name
        evaluate: what is measured
        compute: how much of the machine may be taken

    Returns:
        The file with the best settings, for `recsys run --config` and `recsys deploy --config`.

    Raises:
        RecsysError: what was expected, what came and what to do.
    """
    config = RunConfig.model_validate(
        {name: value for name, value in locals().items() if name in RunConfig.model_fields}
    )
    tuned = tuning.search(config, model, Limits(trials, timeout_s), role, datetime.now(UTC).date())
    tuning.show_trials(tuned)
    return str(tuned.file)
