"""The command line: one function a command, grouped by what a person wants."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from deployments.cli import backfill, compare, data, deploy, history, items, people, published, report, run, tune
from deployments.cli.console import error, result
from recsys.errors import RecsysError, UsageError, disk_told

SIGNALLED = 128  # shells add the signal's number to this
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From raw ratings to published top-n tables, every night.",
)
app.command("run")(run.run)
app.command("backfill")(backfill.backfill)
app.command("datasets")(data.datasets)
app.command("download")(data.download)
app.command("models")(data.models)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("deploy")(deploy.deploy)
app.command("predict")(published.predict)
app.command("recommend")(people.recommend)
app.command("similar")(items.similar)
published.show.command("item")(items.show_item)
app.command("path")(published.path)
app.command("report")(report.report)
for command in (history.rollback, history.promote, history.pin, history.unpin, history.prune):
    published.runs.command(command.__name__)(command)
app.add_typer(published.runs, name="runs")
app.add_typer(published.show, name="show")


def main() -> None:
    """Run a command; a known failure is one message and its exit code, the rest is a defect (1)."""
    sys.exit(_code_of(app))


def _code_of(command: Callable[[], object]) -> int:
    try:
        with disk_told("A file"):
            command()
    except RecsysError as known:
        error(str(known))
        _answer(known)
        return known.exit_code
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        if code == UsageError.exit_code:  # typer has told it; what it told of is the context
            _answer(UsageError(_of_typer(done.__context__), todo="see the command's --help"))
        return code
    return 0


def _of_typer(error: BaseException | None) -> str:
    words = getattr(error, "format_message", None)
    return words() if words else "The command line cannot be read."


def _answer(known: RecsysError) -> None:
    """Who asked for JSON gets one object in any case."""
    if "--json" not in sys.argv:
        return
    code = known.exit_code
    status = "stopped" if code >= SIGNALLED else "refused" if code > 1 else "failed"
    parts = {"what": known.what, "expected": known.expected, "found": known.found, "todo": known.todo}
    result({"status": status, "exit_code": code, **parts})
