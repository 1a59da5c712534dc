"""The whole night on real ratings, from the command to the published table.

python -m benchmarks.night --mirror DIR
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.kept import Figures
from benchmarks.measured import Measured, measure

DATASETS = ("ml-1m", "ml-100k", "ml-latest-small", "ml-latest-small-2016", "demo")
NIGHT = ("--split", "per-user", "--test-fraction", "0.2", "--json")


def for_page(given: page.Given) -> Figures:
    """A row a dataset."""
    with tempfile.TemporaryDirectory() as folder:
        nights = {
            name: night(("--dataset", name, "--mirror", str(given.mirror)), Path(folder) / name, environment(folder))
            for name in (DATASETS[-1:] if given.small else DATASETS)
        }
    first = next(iter(nights))
    return {
        "rows": [_row(name, *taken) for name, taken in nights.items()],
        "notes": [_by_stage(first, nights[first][1])],
    }


def night(source: tuple[str, ...], store: Path, env: dict[str, str]) -> tuple[Measured, dict[str, Any]]:
    """One night; and its manifest."""
    taken = measure([str(Path(sys.executable).with_name("recsys")), "run", *source, "--store", str(store), *NIGHT], env)
    return taken, json.loads(taken.out)


def environment(folder: str) -> dict[str, str]:
    """This one, without a Prefect server and with Prefect's folder away from the user's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "RECSYS_"))}
    return kept | {"PREFECT_HOME": str(Path(folder) / "prefect")}


def _row(name: str, taken: Measured, manifest: dict[str, Any]) -> dict[str, Any]:
    metrics, popular, means = manifest["metrics"], manifest["baselines"]["popular"], manifest["baselines"]["means"]
    return {
        "dataset": name, "seconds": taken.seconds, "CPU s": taken.cpu_seconds,
        "peak MiB": taken.peak_mib, "own process": taken.own_peak_mib,
        "ndcg@10": metrics["ndcg@10"]["value"], "popular": popular["ndcg@10"]["value"],
        "rmse": metrics["rmse"]["value"], "means": means["rmse"]["value"],
    }  # fmt: skip


def _by_stage(name: str, manifest: dict[str, Any]) -> str:
    stages = (f"{stage} {took['seconds']:.1f}" for stage, took in manifest["timings"].items())
    return f"Seconds by stage on {name}: {', '.join(stages)}."


if __name__ == "__main__":
    page.main(["--only", "night", *sys.argv[1:]])
