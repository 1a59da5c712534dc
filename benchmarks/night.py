"""The whole night on real ratings, from the command to the published table, beside EASE in plain NumPy.

    RECSYS_MIRROR=/data/movielens python -m benchmarks.night

Writes docs/benchmarks.md. No Prefect server is set up, so the temporary one is in the time and in the memory.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured, measure

DATASETS = ("ml-1m", "ml-100k", "ml-latest-small", "ml-latest-small-2016", "demo")
NIGHT = ("--split", "per-user", "--test-fraction", "0.2", "--json")
REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
LIBRARIES = ("prefect", "tensorflow-cpu", "keras", "numpy", "scipy", "numba", "pyarrow")


def main() -> None:
    """Measure, print and write."""
    mirror = Path(os.environ.get("RECSYS_MIRROR", "../shared/data")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        nights = {name: night(name, mirror, Path(folder)) for name in DATASETS}
        bar = plain_ease(mirror, Path(folder))
    text = report(nights, bar)
    REPORT.write_text(text)
    print(text)


def night(dataset: str, mirror: Path, folder: Path) -> tuple[Measured, dict[str, Any]]:
    """One night in a fresh store."""
    command = [str(Path(sys.executable).with_name("recsys")), "run", "--dataset", dataset, "--mirror", str(mirror)]
    taken = measure([*command, "--store", str(folder / dataset), *NIGHT], environment(folder))
    return taken, json.loads(taken.out)


def plain_ease(mirror: Path, folder: Path) -> Measured:
    """The same file to a table by the plain script."""
    with zipfile.ZipFile(mirror / "ml-1m.zip") as archive:
        source = archive.extract("ml-1m/ratings.dat", folder)
    command = [sys.executable, "-m", "benchmarks.plain_ease", source, str(folder / "plain.parquet")]
    return measure(command, environment(folder))


def environment(folder: Path) -> dict[str, str]:
    """This one, without a Prefect server and with Prefect's folder away from the user's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "RECSYS_"))}
    return kept | {"PREFECT_HOME": str(folder / "prefect")}


def report(nights: dict[str, tuple[Measured, dict[str, Any]]], bar: Measured) -> str:
    """The page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Machines differ; the ratios are what to look at.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "",
        "## The whole night",
        "",
        "From the command to the published table: Prefect's temporary server, both models, the hold-out, both refits.",
        "Per-user split, 20% held out. Memory is the peak over all processes together, and of the run's own process.",
        "",
        "| dataset | seconds | peak MiB | own process | ndcg@10 | popular | rmse | means |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, taken, manifest) for name, (taken, manifest) in nights.items()),
        "",
        "The first has also made a fresh Prefect database. Seconds by stage on ml-1m: "
        + ", ".join(f"{stage} {took['seconds']:.1f}" for stage, took in nights["ml-1m"][1]["timings"].items()),
        "",
        "## Beside plain NumPy",
        "",
        "EASE in 25 lines (`benchmarks/plain_ease.py`): ml-1m's file to a table; no checks, hold-out, rater, Prefect.",
        "",
        f"{bar.seconds:.1f} s, {bar.peak_mib:,.0f} MiB. The ranker's own stages of our night (prepare, refit, score): "
        f"{_own(nights['ml-1m'][1]):.1f} s, ratio {_own(nights['ml-1m'][1]) / bar.seconds:.2f}.",
        "",
    ]
    return "\n".join(lines)


def _own(manifest: dict[str, Any]) -> float:
    return float(sum(manifest["timings"][stage]["seconds"] for stage in ("prepare", "refit_ranker", "score")))


def _row(name: str, taken: Measured, manifest: dict[str, Any]) -> str:
    metrics, popular, means = manifest["metrics"], manifest["baselines"]["popular"], manifest["baselines"]["means"]
    return (
        f"| {name} | {taken.seconds:.1f} | {taken.peak_mib:,.0f} | {taken.own_peak_mib:,.0f} "
        f"| {metrics['ndcg@10']['value']:.4f} | {popular['ndcg@10']['value']:.4f} "
        f"| {metrics['rmse']['value']:.4f} | {means['rmse']['value']:.4f} |"
    )


if __name__ == "__main__":
    main()
