"""Growth from 10,000 to 1,000,000 users of the same activity: time a user of each stage, memory of scoring.

    python -m benchmarks.growth

Each stage runs without Prefect in a process of its own (`--stage`), so that its memory is its own; models are judged
and published without a refit, which would be the same work again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.kept import Figures
from benchmarks.measured import Clock, Measured, measure
from benchmarks.night import environment
from recsys.config import RunConfig
from recsys.run import Run

USERS = (10_000, 100_000, 1_000_000)
ITEMS, RATINGS_A_USER = 5_000, 20  # 20 million ratings at a million users: the generator's and the rater's time
SMALL_USERS, SMALL_ITEMS = (1_000, 2_000), 300
FIRST = (300, 100)  # users and items
STAGES = ("download", "prepare", "train_ranker", "train_rater", "evaluate", "refit_ranker", "refit_rater", "score")
NIGHT = date(2026, 1, 31)
SCORING = "score"

Clocks = dict[str, float]  # as `measured.Clock` has them


def for_page(given: page.Given) -> Figures:
    """A row a number of users."""
    users, items = (SMALL_USERS, SMALL_ITEMS) if given.small else (USERS, ITEMS)
    rows = []
    with tempfile.TemporaryDirectory() as folder:  # compiled code is kept on disk: the first size would pay for it
        stage_by_stage(Path(folder), *FIRST)
    for n_users in users:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_row(n_users, stage_by_stage(Path(folder), n_users, items)))
            print(f"{n_users:,} users: {rows[-1]}", file=sys.stderr, flush=True)
    return {"rows": rows, "notes": notes(rows)}


def stage_by_stage(folder: Path, n_users: int, n_items: int) -> dict[str, tuple[Clocks, Measured]]:
    """The clocks of each stage, and what its process took, imports included."""
    command = [sys.executable, "-m", "benchmarks.growth", "--store", str(folder / "store")]
    taken = {}
    for stage in STAGES:
        size = ["--users", str(n_users), "--items", str(n_items), "--stage", stage]
        process = measure([*command, *size], environment(str(folder)))
        taken[stage] = json.loads(process.out.splitlines()[-1]), process
    return taken


def run_stage(store: Path, n_users: int, n_items: int, stage: str) -> Clocks:
    """Run one stage of the night here; its clocks leave imports out."""
    from recsys.download.stage import open_run
    from recsys.evaluate.stage import evaluate, evaluate_shard
    from recsys.models import registry
    from recsys.prepare.stage import prepare
    from recsys.score.stage import score, score_shard
    from recsys.train.stage import fit, refit

    config = _config(store, n_users, n_items)
    stages: Mapping[str, Callable[[Run], Any]] = {
        "download": lambda run: run,
        "prepare": prepare,
        "train_ranker": lambda run: fit(run, "ranker"),
        "train_rater": lambda run: fit(run, "rater"),
        "evaluate": lambda run: _by_shards(run, evaluate_shard, evaluate),
        "refit_ranker": lambda run: refit(run, "ranker"),
        "refit_rater": lambda run: refit(run, "rater"),
        SCORING: lambda run: _by_shards(run, score_shard, score),
    }
    for model in (registry.ranker(config.train.ranker), registry.rater(config.train.rater)):
        model.warm_up()  # TensorFlow's seconds of import are no user's
    clock = Clock()
    run = open_run(config, NIGHT)
    if stage != "download":
        clock = Clock()
    stages[stage](run)
    return clock.read()


def _by_shards(run: Run, piece: Callable[[Run, int], None], whole: Callable[[Run], Any]) -> None:
    for number in run.shards:
        piece(run, number)
    whole(run)


def _config(store: Path, n_users: int, n_items: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "store": str(store),
            "demo": {"users": n_users, "items": n_items, "ratings": n_users * RATINGS_A_USER},
            "train": {"refit": False},
            "prepare": {"top_items": 0},
        }
    )


def _row(n_users: int, taken: Mapping[str, tuple[Clocks, Measured]]) -> dict[str, Any]:
    clocks, scoring = taken[SCORING]
    stages = {stage: clock["seconds"] / n_users * 1e6 for stage, (clock, _) in taken.items()}
    memory = {"score MiB": scoring.peak_mib, "private": scoring.private_peak_mib}
    return {"users": n_users, **stages, "score CPU": clocks["cpu_seconds"] / n_users * 1e6, **memory}


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest number of users beside the one before it, which has paid what is paid once."""
    if len(rows) < 2:
        return []
    before, last = rows[-2], rows[-1]
    names = [name for name in last if name != "users"]
    ratios = {name: last[name] / before[name] for name in names if before[name]}
    told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    return [
        f"{last['users']:,} users beside {before['users']:,}, a user: {told}. "
        "Promised: time of scoring at most 1.15, its memory at most 1.10."
    ]


def main() -> None:
    """One stage, or all with the page."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    asked, rest = parser.parse_known_args()
    if asked.stage is None:
        page.main(["--only", "growth", *rest])
    else:
        print(json.dumps(run_stage(asked.store, asked.users, asked.items, asked.stage)))


if __name__ == "__main__":
    main()
