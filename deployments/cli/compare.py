"""`recsys compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from deployments.cli.console import error, result, show_progress, table
from deployments.cli.options import (
    Columns,
    Config,
    Dataset,
    Items,
    Json,
    MinUserRatings,
    Mirror,
    Ratings,
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
from recsys.config import RunConfig

if TYPE_CHECKING:
    from recsys.compare.comparison import Comparison

# Columns as they stand in the table, and whether less is better; `{k}` is the length of a list.
COSTS = {"fit_seconds": "fit s", "score_seconds": "score s", "peak_memory_mib": "MiB"}
LESS_IS_BETTER = {"rmse", "mae", "gini@{k}", *COSTS}
METRICS = (
    "ndcg@{k}", "precision@{k}", "recall@{k}", "hit_rate@{k}", "map@{k}", "mrr",
    "coverage@{k}", "novelty@{k}", "diversity@{k}", "gini@{k}", "rmse", "mae",
)  # fmt: skip
# What a narrow terminal goes without, the first to go first.
SPARE = (
    "gini@{k}", "diversity@{k}", "novelty@{k}", "precision@{k}", "mrr", "map@{k}", "hit_rate@{k}", "mae",
    "coverage@{k}", "recall@{k}", "peak_memory_mib", "score_seconds", "fit_seconds",
)  # fmt: skip
DIGITS = {"fit_seconds": 1, "score_seconds": 1, "peak_memory_mib": 0, "novelty@{k}": 2}
EXAMPLE = """
Example: `recsys compare --models edlae,biased_mf --dataset ml-1m --mirror /data/movielens`
"""


def compare(
    models: Annotated[str | None, typer.Option(help="names joined by commas; unset: all but the presets")] = None,
    dataset: Dataset = None,
    ratings: Ratings = None,
    items: Items = None,
    columns: Columns = None,
    mirror: Mirror = None,
    store: Store = None,
    top_n: Annotated[int | None, typer.Option(help="the k of the metrics shown")] = None,
    top_items: TopItems = None,
    min_user_ratings: MinUserRatings = None,
    split: Split = None,
    test_fraction: TestFraction = None,
    test_ratings: TestRatings = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file; unset: in the store's folder `comparisons`")] = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """Models on one split, beside `popular` and `means`: metrics, times and memory in one table.

    Each model has a process of its own. One that fails is a row with its reason; the exit code is then that of the
    first failure.
    """
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    settings = _with_cutoff(load_config(locals()))
    show_progress()
    from recsys.compare.comparison import compare as run_comparison

    with stoppable("the models measured so far are kept, the same command goes on from there"):
        found = run_comparison(settings, names, out)
    if json_output:
        result(found.to_json())
    else:
        _show(found, settings.score.top_n)
        typer.echo(found.file)
    failed = [record for record in found.records if record["failed"]]
    for record in failed:
        error(f"{record['model']} ({record['role']}): {record['failed']}")
    if failed:
        raise typer.Exit(failed[0]["exit_code"])


compare.__doc__ = f"{compare.__doc__}\n{EXAMPLE}"


def _with_cutoff(config: RunConfig) -> RunConfig:
    """The length of a list is among the cut-offs: that is what is shown."""
    cutoffs = tuple(sorted({*config.evaluate.cutoffs, config.score.top_n}))
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"cutoffs": cutoffs})})


def _show(comparison: Comparison, k: int) -> None:
    records, counts = comparison.records, comparison.counts
    heads = {column: COSTS.get(column, column.format(k=k)) for column in (*METRICS, *COSTS)}
    values = {column: [_value(record, column.format(k=k)) for record in records] for column in heads}
    cells = {"model": [Text(record["model"]) for record in records], "as": [_role(record) for record in records]}
    cells |= {heads[column]: _cells(column, found) for column, found in values.items() if set(found) != {None}}
    title = f"Models on one split: {counts.ratings:,} ratings, {counts.held_out:,} of them held out"
    spare = [heads[column] for column in SPARE if heads[column] in cells]
    table(title, list(cells), zip(*cells.values(), strict=True), spare=spare)


def _role(record: Mapping[str, Any]) -> Text:
    return Text(f"{record['role']}, failed", style="red") if record["failed"] else Text(record["role"])


def _value(record: Mapping[str, Any], column: str) -> float | None:
    return record[column] if column in COSTS else record["metrics"].get(column, {}).get("value")


def _cells(column: str, values: Sequence[float | None]) -> list[Text]:
    """The best in bold green; what could not be measured stays empty."""
    best = (min if column in LESS_IS_BETTER else max)(value for value in values if value is not None)
    digits = DIGITS.get(column, 4)
    return [
        Text("" if value is None else f"{value:,.{digits}f}", style="bold green" if value == best else "")
        for value in values
    ]
