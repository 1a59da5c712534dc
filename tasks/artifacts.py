"""What a night shows on its Prefect page."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from recsys.publish.stage import Published
from recsys.run import read_manifest
from recsys.summary import markdown, metric_rows


@task(cache_policy=NO_CACHE)
def show_summary(published: Published) -> None:
    """The run's summary and metrics as artifacts, under the same keys every night, so that the page has a history."""
    manifest = read_manifest(published.folder)
    create_markdown_artifact(markdown(manifest), key="night-summary", description=f"Run {published.run_id}")
    create_table_artifact(
        metric_rows(manifest), key="night-metrics", description="On the hold-out, beside the baselines"
    )
