"""The command that leads to the page of a night: `report`."""

from __future__ import annotations

import typer

from deployments.cli.console import result
from deployments.cli.options import Json, RunDate, Store, parse_date, store_of


def report(run_date: RunDate = None, store: Store = None, json_output: Json = False) -> None:
    """Print the path of the published run's page; of a date's run also where the gate refused it.

    Example: `recsys report --run-date 2026-11-20`
    """
    from recsys.report.find import find_page

    page = find_page(store_of(store), parse_date(run_date))
    if json_output:
        size = page.file.stat().st_size
        result(
            {
                "report": str(page.file),
                "run_date": page.run_date,
                "run_id": page.run_id,
                "refused": page.refused,
                "bytes": size,
            }
        )
    else:
        typer.echo(page.file)
