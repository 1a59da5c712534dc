"""`recsys tune`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from deployments.cli.console import result, show_progress, table
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
from recsys.errors import UsageError

if TYPE_CHECKING:
    from recsys.tune.tuning import Tuned

SHOWN = 10  # trials in the table; --json has all
EXAMPLE = """
Example: `recsys tune edlae --dataset ml-1m --mirror /data/movielens --trials 50 --out best.toml`
"""


def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    trials: Annotated[int, typer.Option(min=1, help="in all, those of a search that goes on included")] = 20,
    timeout: Annotated[float | None, typer.Option(min=0, help="seconds after which no trial begins")] = None,
    role: Annotated[
        str | None, typer.Option("--as", help="ranker or rater; unset, a model that can be both is a rater")
    ] = None,
    dataset: Dataset = None,
    ratings: Ratings = None,
    items: Items = None,
    columns: Columns = None,
    mirror: Mirror = None,
    store: Store = None,
    top_items: TopItems = None,
    min_user_ratings: MinUserRatings = None,
    split: Split = None,
    test_fraction: TestFraction = None,
    test_ratings: TestRatings = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="TOML file; unset: in the store's folder `tuning`")] = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """Search for a model's settings, by ndcg@10 or rmse on a validation slice of the training part.

    The test part is never looked at: what the best settings reach there is for `recsys run --config` or `recsys compare
    --config` to say. A search that was killed goes on where it was. Settings given by `--set models.MODEL.key=value`
    stay as they are.
    """
    settings = load_config(locals())
    show_progress()
    from recsys.tune.search import Limits
    from recsys.tune.tuning import tune as run_search

    if role not in (None, "ranker", "rater"):
        raise UsageError(f"--as {role!r} is no role.", expected="ranker or rater", found=role or "")
    limits, today = Limits(trials, timeout), datetime.now(UTC).date()
    with stoppable("the trials that ended are kept, the same command goes on from there"):
        tuned = run_search(settings, model, limits, today=today, role=role, out=out)  # type: ignore[arg-type]
    if json_output:
        result(tuned.to_json())
        return
    _show(tuned)
    typer.echo(tuned.file)


tune.__doc__ = f"{tune.__doc__}\n{EXAMPLE}"


def _show(tuned: Tuned) -> None:
    """The best trials and the first."""
    from recsys.summary import trial_rows

    ordered = trial_rows(tuned)
    shown = [*ordered[:SHOWN], *(row for row in ordered[SHOWN:] if row["trial"] == 1)]
    names, refused = list(tuned.best.chosen), len(tuned.trials) - len(ordered)
    title = f"{tuned.model}: the best of {len(tuned.trials)} trials on a validation slice, and trial 1, where it began"
    told = f"{title}; {refused} had no figure" if refused else title
    columns = ("trial", tuned.metric, *names)
    rows = (_cells([row[name] for name in columns], best=row["trial"] == tuned.best.number) for row in shown)
    table(told, columns, rows, spare=names[::-1])


def _cells(row: Sequence[float], *, best: bool) -> list[Text]:
    trial, figure, *chosen = row
    words = [f"{trial}", f"{figure:.4f}", *(f"{value:.5g}" for value in chosen)]
    return [Text(word, style="bold green" if best else "") for word in words]
