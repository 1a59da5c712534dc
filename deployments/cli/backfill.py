"""`recsys backfill`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.console import result, show_progress, table
from deployments.cli.options import (
    Columns,
    Config,
    Dataset,
    Items,
    Json,
    Mirror,
    Ratings,
    Seed,
    Set,
    Store,
    load_config,
    parse_date,
)  # fmt: skip
from deployments.cli.stopping import stoppable
from recsys.config import RunConfig

if TYPE_CHECKING:
    from datetime import date

    from flows.backfill import Past


def backfill(
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="the first night, YYYY-MM-DD")],
    last: Annotated[str, typer.Option("--to", metavar="DATE", help="the last night")],
    missing_only: Annotated[bool, typer.Option("--missing-only", help="leave out nights with a complete run")] = False,
    dataset: Dataset = None,
    ratings: Ratings = None,
    items: Items = None,
    columns: Columns = None,
    mirror: Mirror = None,
    store: Store = None,
    seed: Seed = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """The nightly flow for past dates, each on the ratings there were by its end; a newer published night stays.

    Example: `recsys backfill --from 2026-11-01 --to 2026-11-14 --missing-only --config night.toml`
    """
    run_config = load_config(locals())
    nights = parse_date(first), parse_date(last)
    assert nights[0] is not None
    assert nights[1] is not None
    show_progress()
    with stoppable("finished nights are kept; the same command goes on from there"):
        past = _run(nights[0], nights[1], missing_only, run_config)
    if json_output:
        result({"nights": [asdict(night) for night in past]})
    else:
        rows = ([night.run_date, night.run_id, night.outcome] for night in past)
        table("Past nights", ("run_date", "run_id", "outcome"), rows)


def _run(first: date, last: date, missing_only: bool, config: RunConfig) -> list[Past]:
    from deployments.cli.prefect_local import prefect_server, quiet_defaults

    quiet_defaults()
    with prefect_server() as server:
        from flows.backfill import backfill as past_nights

        server.wait()
        return past_nights(first, last, missing_only, config)
