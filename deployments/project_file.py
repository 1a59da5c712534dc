"""prefect.yaml: the deployments of `deployments.definitions` for `prefect deploy`, process and Docker work pools alike.

`python -m deployments.project_file` writes it anew.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from prefect import __version__
from ruamel.yaml import YAML

from deployments.definitions import DEPLOYMENTS, ENVIRONMENT, IMAGE, POOL, PULL_STEPS, TAG, Deployment
from recsys.config import RunConfig

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
STORE = "{{ $RECSYS_STORE }}"  # filled in by `prefect deploy`, from the environment
HEAD = """\
# Made from deployments/definitions.py by `python -m deployments.project_file`; a test compares them.
# `RECSYS_STORE=/srv/recsys prefect --no-prompt deploy --all` puts these on the server. `recsys deploy` does more: it
# makes the work pool, takes the options of `recsys run`, removes what is outdated, and puts the alerts there too.
# The same for process and Docker pools: a process pool takes `env` of the job variables, a Docker pool all of them.
"""


def text() -> str:
    """The whole file."""
    yaml = YAML()
    yaml.width = 200  # a line that is folded ends in a space
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(project(), stream)
    return HEAD + stream.getvalue()


def project() -> dict[str, Any]:
    """What the file says."""
    return {
        "name": "recsys-nightly",
        "prefect-version": __version__,
        "pull": [dict(step) for step in PULL_STEPS],
        "deployments": [_described(deployment) for deployment in DEPLOYMENTS],
    }


def _described(deployment: Deployment) -> dict[str, Any]:
    schedule = deployment.schedule
    return {
        "name": deployment.name,
        "description": deployment.description,
        "entrypoint": deployment.flow_path,
        "tags": [TAG],
        "parameters": deployment.parameters_from(RunConfig(store=STORE)),
        "schedules": [{"cron": schedule.cron, "timezone": schedule.timezone}] if schedule else [],
        "concurrency_limit": {"limit": deployment.limit, "collision_strategy": deployment.collision},
        "enforce_parameter_schema": True,
        "work_pool": {
            "name": POOL,
            "job_variables": {"env": dict(ENVIRONMENT), "image": IMAGE, "volumes": [f"{STORE}:{STORE}"]},
        },
    }


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
