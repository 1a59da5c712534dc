"""What a night shows on its Prefect page: artifacts under the same keys every night, so that the page has a history."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import quote

import httpx
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.assets import Asset, add_asset_metadata
from prefect.assets.core import AssetProperties
from prefect.cache_policies import NO_CACHE
from prefect.tasks import MaterializingTask

from recsys.publish.stage import Published
from recsys.report import PAGE
from recsys.report.text import in_markdown
from recsys.run import Run
from recsys.store import MANIFEST, REFUSED
from recsys.store.manifest import read_manifest
from recsys.summary import before, gate_rows, markdown, metric_rows, table_rows

log = logging.getLogger("recsys")

NO_KEY = re.compile(r"[^A-Za-z0-9:/._=-]")  # Prefect takes less than these in the key of an asset, a blank for one


@task(cache_policy=NO_CACHE)
def show_night(run: Run) -> None:
    """The run's summary, metrics and verdict, and where tables and report are; of a refused run too.

    It comes before publishing, and a server that does not answer is no reason to keep tables back.
    """
    try:
        _draw(run)
    except httpx.HTTPError as error:
        log.warning("the night's page could not be drawn, the night goes on: %s", error)


def _draw(run: Run) -> None:
    manifest = read_manifest(run.folder, MANIFEST if run.complete else REFUSED)
    verdict = manifest["gate"]["verdict"]
    address = run.home.shown(run.folder)
    create_markdown_artifact(markdown(manifest, address), key="night-summary", description=f"Run {run.run_id}")
    last = before(run.home, run.folder)
    metrics = metric_rows(manifest, last)
    create_table_artifact(
        metrics, key="night-metrics", description="On the hold-out" + (f"; {last.told}" if last else "")
    )
    checks = [row | {"reason": in_markdown(row["reason"])} for row in gate_rows(manifest)]  # cells are Markdown too
    create_table_artifact(checks, key="night-gate", description=f"{verdict}: what each check has found")
    _show_link(f"{address}/recommendations", "recommendations", "night-tables", "The folder of the lists")
    _show_link(f"{address}/{PAGE}", "the night's report", "night-report", "One page")


def _show_link(address: str, name: str, key: str, about: str) -> None:
    """A link, and the address in words: a browser follows no link from a server's page to a file."""
    link = quote(address, safe="/:%") if "://" in address else Path(address).as_uri()
    create_link_artifact(link, name, key=key, description=f"{about}: {in_markdown(address)}")


def record_tables(published: Published) -> None:
    """Tell Prefect which tables are published now, as assets with rows, schema version and run."""
    manifest = read_manifest(published.folder)
    run = published.address if "://" in published.address else f"file://{published.address}"
    store = NO_KEY.sub("-", run.partition("/runs/run_date=")[0])
    rows = {f"{store}/{row['table']}": row for row in table_rows(manifest)}
    described = {"run_id": manifest["run_id"], "run_date": manifest["run_date"], "outcome": published.outcome,
                 "schema_version": manifest["schema_version"]}  # fmt: skip

    def publish_tables() -> None:
        for key, row in rows.items():
            add_asset_metadata(key, described | row)

    assets = [
        Asset(key=key, properties=AssetProperties(name=row["table"], description=f"Published table {row['table']}"))
        for key, row in rows.items()
    ]
    MaterializingTask(fn=publish_tables, assets=assets, materialized_by="recsys", cache_policy=NO_CACHE)()
