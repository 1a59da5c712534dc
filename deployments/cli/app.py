"""The command line: one function a command, grouped by what a person wants."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from deployments.cli import compare, data, published, run, tune
from deployments.cli.console import error
from recsys.errors import RecsysError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From raw ratings to published top-n tables, every night.",
)
app.command("run")(run.run)
app.command("datasets")(data.datasets)
app.command("download")(data.download)
app.command("models")(data.models)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("predict")(published.predict)
app.command("path")(published.path)
app.add_typer(published.runs, name="runs")
app.add_typer(published.show, name="show")


def main() -> None:
    """Run a command; a known failure is one message and its exit code, the rest is a defect (1)."""
    sys.exit(_code_of(app))


def _code_of(command: Callable[[], object]) -> int:
    try:
        command()
    except RecsysError as known:
        error(str(known))
        return known.exit_code
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0
