"""`recsys run`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from deployments.cli.console import console, result, show_progress
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
from deployments.cli.stopping import stoppable
from recsys.addresses import local_path
from recsys.config import RunConfig
from recsys.errors import GateRefused
from recsys.store import REFUSED, open_store

if TYPE_CHECKING:
    from recsys.publish.stage import Published

OUTCOMES = {
    "published": "published",
    "unchanged": "published already, and unchanged",
    "pointed": "published again; it was complete before",
    "kept": "kept, a newer night stays published",
}
EXAMPLE = """
Example: `recsys run --dataset ml-1m --mirror /data/movielens --store /srv/recsys`

Own ratings: `recsys run --ratings ratings.csv --columns user=customer,item=product,rating=stars,timestamp=time`
"""


def run(
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
    run_date: Annotated[str | None, typer.Option(help="YYYY-MM-DD; unset: today in UTC")] = None,
    seed: Seed = None,
    engine: Annotated[str | None, typer.Option(help="where the stages run: local or dask")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler; with --engine dask")] = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """The nightly flow, once, here: download, prepare, train, evaluate, score, publish."""
    run_config = load_config(locals())
    show_progress()
    with stoppable("the published tables are as they were; the next run goes on from here"):
        _refuse_early(run_config)
        published, manifest = _run_flow(run_config)
    if json_output:
        result({"outcome": published.outcome, **manifest})


run.__doc__ = f"{run.__doc__}\n{EXAMPLE}"


def _refuse_early(config: RunConfig) -> None:
    """A misspelt model or a store that is held or closed is told before Prefect takes its seconds to start."""
    from recsys.models.registry import check_models, unused_models
    from recsys.rules.source import read_rules

    check_models(config)
    rules = None if config.rules.file is None else local_path(config.rules.file)
    if rules is not None:
        read_rules(rules)
    for name in unused_models(config):
        used = f"the ranker is {config.train.ranker}, the rater {config.train.rater}"
        console.print(Text(f"models.{name} has settings and is not used: {used}", style="yellow"))
    open_store(config.store, config.compute.workspace).require_free()


def _run_flow(config: RunConfig) -> tuple[Published, dict[str, Any]]:
    from deployments.cli.prefect_local import prefect_server, quiet_defaults

    quiet_defaults()
    with prefect_server() as server:
        _warm_up(config)
        from deployments.cli.night import tell_night
        from flows.nightly import nightly

        store = open_store(config.store, config.compute.workspace)
        server.wait()
        try:
            published = nightly(**dict(config))
        except GateRefused as refused:
            if refused.folder is not None:
                tell_night(store, refused.folder, "made and not published", REFUSED)
            raise
    return published, tell_night(store, published.folder, OUTCOMES[published.outcome])


def _warm_up(config: RunConfig) -> None:
    """Import what the models need (TensorFlow takes seconds) while Prefect's server starts: a core is idle then."""
    from recsys.models import registry

    for model in (registry.ranker(config.train.ranker), registry.rater(config.train.rater)):
        threading.Thread(target=model.warm_up, daemon=True).start()
