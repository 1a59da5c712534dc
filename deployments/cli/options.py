"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORE = "./store"

Store = Annotated[
    str | None, typer.Option(envvar="RECSYS_STORE", help=f"folder of runs and tables; default {DEFAULT_STORE}")
]
Mirror = Annotated[
    str | None, typer.Option(envvar="RECSYS_MIRROR", help="folder or base URL that holds `<dataset>.zip`, asked first")
]
Config = Annotated[Path | None, typer.Option("--config", help="a TOML file with the same names")]
Set = Annotated[list[str] | None, typer.Option("--set", help="stage.key=value, any key of the configuration")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
RunDate = Annotated[str | None, typer.Option("--run-date", help="YYYY-MM-DD; unset: the published run")]


def store_folder(store: str | None) -> Path:
    """The store's folder."""
    return Path(store or DEFAULT_STORE).resolve()
