"""What a night leaves for those who watch it: figures in a file, and events that alerts are sent on."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from recsys.monitor.alert import messages
from recsys.monitor.figures import leave_figures
from recsys.publish.stage import Published
from recsys.run import Run
from recsys.store.manifest import read_manifest

EVENT = "recsys.night."  # and the message's kind: what the automations of deployments/alerts.py wait for


@task(cache_policy=NO_CACHE)
def figures(run: Run) -> None:
    """Leave the run's figures where the configuration says, if it does; also of one that the gate refused."""
    if run.config.monitor.textfile is not None:
        leave_figures(run, Path(run.config.monitor.textfile))


@task(cache_policy=NO_CACHE)
def tell(published: Published) -> None:
    """Emit an event for each thing to tell of a night that was made now; one found done was told of before.

    The server sends them on: the process that runs the night knows no address and no password.
    """
    if published.outcome in ("unchanged", "pointed"):
        return
    for message in messages(read_manifest(published.folder)):
        emit_event(
            event=f"{EVENT}{message.kind}",
            resource={
                "prefect.resource.id": f"recsys.run.{published.run_id}",
                "prefect.resource.name": message.subject,
            },
            payload=message.to_json(),
        )
