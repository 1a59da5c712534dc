"""The command for people whom the published models do not know: `recommend`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.console import LIST_HEAD, list_cells, result, show_progress, table
from deployments.cli.options import Columns, Json, RunDate, Set, Store, parse_columns, parse_date, store_of

if TYPE_CHECKING:
    from recsys.recommend import FoldIn

MOST_SHOWN = 20  # people whose lists are printed; the rest is for --out and --json
MOST_NAMED = 20  # unknown items and refused rows in the JSON


def recommend(
    ratings: Annotated[
        str, typer.Option(help="their ratings: a file, folder, glob or URI; no user column: one person")
    ],
    out: Annotated[Path | None, typer.Option(help="Parquet file to write, with the columns of recommendations")] = None,
    top_n: Annotated[int | None, typer.Option(help="length of a list; unset: as long as the run's")] = None,
    columns: Columns = None,
    run_date: RunDate = None,
    store: Store = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """Lists for people the model has not seen, from their own ratings, by the published run's models.

    Example: `recsys recommend --ratings mine.csv --out mine.parquet`
    """
    from recsys import config as configuration
    from recsys.published import PublishedRun
    from recsys.recommend import recommend as fold_in

    given = {"ratings": ratings, "columns": parse_columns(columns)}
    config = configuration.load(None, given, tuple(assignments or ()))
    show_progress()
    run = PublishedRun.open(store_of(store), parse_date(run_date))
    found = fold_in(run, ratings, top_n=top_n, input=config.input, compute=config.compute)
    if out is not None:
        found.save(out)
    if json_output:
        result(_summary(found) | ({"out": str(out)} if out is not None else {"users": _lists(found)}))
    elif out is not None:
        typer.echo(f"{found.table.num_rows:,} rows for {found.ratings.n_users:,} people: {out}")
    else:
        _print(found)


def _summary(found: FoldIn) -> dict[str, Any]:
    quarantine = found.ratings.quarantine
    return {
        "run_id": found.run.run_id,
        "people": found.ratings.n_users,
        "ratings": len(found.ratings),
        "rows": found.table.num_rows,
        "unknown_items": {
            "items": len(found.unknown_items),
            "ratings": found.unknown_ratings,
            "sample": found.unknown_items.slice(0, MOST_NAMED).to_pylist(),
        },
        "refused_rows": {"rows": quarantine.num_rows, "sample": quarantine.slice(0, MOST_NAMED).to_pylist()},
    }


def _lists(found: FoldIn) -> list[dict[str, Any]]:
    """Each person's list, with titles; an empty one for whom nothing is left."""
    titles = found.run.titles
    rows = ({**row, "title": titles.get(row["item_id"])} for row in found.table.to_pylist())
    listed = {user: [_without_user(row) for row in own] for user, own in groupby(rows, lambda row: row["user_id"])}
    users = found.ratings.user_ids.to_pylist()
    return [{"user_id": user, "recommendations": listed.get(user, [])} for user in users]


def _without_user(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "user_id"}


def _print(found: FoldIn) -> None:
    titles = found.run.titles
    people = _lists(found)
    for person in people[:MOST_SHOWN]:
        rows = (list_cells(row, titles) for row in person["recommendations"])
        table(f"User {person['user_id']}, by run {found.run.run_id}", LIST_HEAD, rows)
    if len(people) > MOST_SHOWN:
        typer.echo(f"and {len(people) - MOST_SHOWN:,} more people: use --out or --json")
