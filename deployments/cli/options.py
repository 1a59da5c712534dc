"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.config import OPTION_SECTION, RunConfig, load
from recsys.errors import UsageError
from recsys.store import Store as RunStore
from recsys.store import open_store

DEFAULT_STORE = "./store"
# Those of no section stand at the top.
OPTIONS = {*OPTION_SECTION, "store", "seed", "run_date", "engine", "scheduler"}

Store = Annotated[
    str | None, typer.Option(envvar="RECSYS_STORE", help=f"folder or URI of runs and tables; default {DEFAULT_STORE}")
]
Mirror = Annotated[
    str | None, typer.Option(envvar="RECSYS_MIRROR", help="folder or base URL that holds `<dataset>.zip`, asked first")
]
Config = Annotated[Path | None, typer.Option("--config", help="a TOML file with the same names")]
Set = Annotated[list[str] | None, typer.Option("--set", help="stage.key=value, any key of the configuration")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
RunDate = Annotated[str | None, typer.Option("--run-date", help="YYYY-MM-DD; unset: the published run")]

Dataset = Annotated[str | None, typer.Option(help="a known dataset; `recsys datasets` lists them")]
Ratings = Annotated[str | None, typer.Option(help="own ratings: a file, folder, glob or URI")]
Items = Annotated[str | None, typer.Option(help="own items: id, title, genres")]
Columns = Annotated[
    str | None,
    typer.Option(help="of the own files, joined by commas: user=NAME item=NAME rating=NAME timestamp=NAME"),
]
TopItems = Annotated[
    int | None, typer.Option(help="keep the N most rated items; 0: all; unset: what fits in memory, at most 10,000")
]
MinUserRatings = Annotated[int | None, typer.Option(help="users with fewer ratings are served, not learned from")]
Split = Annotated[str | None, typer.Option(help="random, per-user, leave-last or time")]
TestFraction = Annotated[float | None, typer.Option(help="share of the ratings held out")]
TestRatings = Annotated[str | None, typer.Option(help="a given hold-out, never trained on")]
Rules = Annotated[str | None, typer.Option(help="what may stand in a list: TOML or Parquet; docs/rules.md")]
Seed = Annotated[int | None, typer.Option(help="seed of splits, weights, shuffles and intervals")]


def store_of(store: str | None) -> RunStore:
    """The store that is meant.

    Raises:
        UsageError: it is none.
    """
    return open_store(store or DEFAULT_STORE)


def load_config(given: Mapping[str, Any]) -> RunConfig:
    """The configuration from a command's arguments by their names; those that are no options play no part.

    Raises:
        UsageError: it is wrong.
    """
    options = {name: value for name, value in given.items() if name in OPTIONS}
    options["columns"] = parse_columns(given.get("columns"))
    return load(given["config"], options, tuple(given["assignments"] or ()))


def parse_columns(text: str | None) -> dict[str, str] | None:
    """The names of the columns as typed.

    Raises:
        UsageError: it is no list of pairs.
    """
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(equals and name and value for name, equals, value in pairs):
        raise UsageError(
            f"--columns {text!r} cannot be read.",
            expected="user=NAME,item=NAME,rating=NAME,timestamp=NAME",
            found=text,
            todo="join the pairs by commas; in a TOML file a table [input.columns] also takes names with commas",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse_date(text: str | None) -> date | None:
    """A date as typed.

    Raises:
        UsageError: it is none.
    """
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date.", expected="YYYY-MM-DD", found=text or "") from error
