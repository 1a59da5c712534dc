"""Commands about what goes in: `datasets`, `download`, `models`."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.console import result, show_progress, table
from deployments.cli.options import Config, Json, Mirror, Set, Store, load_config


def datasets(json_output: Json = False) -> None:
    """The known datasets.

    Example: `recsys datasets`
    """
    from recsys.download.catalogue import describe_all

    rows = describe_all()
    if json_output:
        result({"datasets": rows})
    else:
        table("", ("name", "ratings", "users", "items", "about"), ([row[key] for key in row] for row in rows))


def download(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    mirror: Mirror = None,
    store: Store = None,
    config: Config = None,
    assignments: Set = None,
    json_output: Json = False,
) -> None:
    """Fetch a dataset into the store, checked; what is already there is used.

    Example: `recsys download ml-1m --mirror /data/movielens`
    """
    from dataclasses import asdict

    from recsys.download.stage import take_inputs
    from recsys.store import open_store

    settings = load_config(locals() | {"dataset": name})
    show_progress()
    folder = open_store(settings.store, settings.compute.workspace)
    with folder.hold():
        snapshot, _ = take_inputs(settings, folder)
    if json_output:
        result(asdict(snapshot))
    else:
        for file in (*snapshot.ratings, *snapshot.items):
            typer.echo(file)


def models(json_output: Json = False) -> None:
    """The models, a line each.

    Example: `recsys models`
    """
    from recsys.models.registry import describe_all

    rows = describe_all()
    if json_output:
        result({"models": rows})
    else:
        table("", ("name", "kind", "about"), (list(row.values()) for row in rows))
