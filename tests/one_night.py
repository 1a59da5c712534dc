"""One try at a night, for tests that kill it: the stages in their order, without Prefect, whose part is no other.

`tests/command_line.py` imports this in the process that calls and tries are forked from, with a folder in `WARM`: a night is
made there at once, so that a try is then its stages, and not the seconds of imports and of loading compiled functions
before them, in which most kills would come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from types import MappingProxyType

from recsys.config import RunConfig
from recsys.download.stage import open_run
from recsys.evaluate.stage import evaluate, evaluate_shard
from recsys.gate.stage import judge
from recsys.prepare.stage import prepare
from recsys.publish.mend import mend
from recsys.publish.stage import publish, seal
from recsys.report.stage import report
from recsys.run import Run
from recsys.score.stage import score, score_shard
from recsys.store import open_store
from recsys.train.stage import fit, refit

ROLES = ("ranker", "rater")
WARM = "RECSYS_TESTS_WARM"  # a folder for a night that is made when this is imported


def make_night(
    store: str, run_date: str, ratings: int, mark: Path, env: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Make and publish one night of `demo`.

    Args:
        mark: a file that says which stage it is at.
        env: what the process that forks this one does not have.
    """
    os.environ.update(env)
    config = _config(store, ratings)
    with open_store(store).hold(config.compute.lease_s) as lease:
        mark.write_text("download")
        run = open_run(config, date.fromisoformat(run_date), lease.token)
        for stage, pieces in _steps(run).items():
            mark.write_text(stage)
            if not run.made or stage in ("mend", "seal", "publish"):
                pieces()


def _config(store: str, ratings: int) -> RunConfig:
    sections = {
        "demo": {"users": ratings // 40, "items": ratings // 150, "ratings": ratings},
        "models": {"biased_mf": {"epochs": 3}},
        "gate": {"rater_beats_means": False},
        "evaluate": {"bootstrap_samples": 50},
    }
    return RunConfig.model_validate({"store": store, **sections})


def _steps(run: Run) -> dict[str, Callable[[], object]]:
    """By stage: shards are known when the ratings are prepared, so that each is looked at only when its turn comes."""
    return {
        "mend": partial(mend, run),
        "prepare": partial(prepare, run),
        "fit": lambda: [fit(run, role) for role in ROLES],
        "evaluate": lambda: ([evaluate_shard(run, shard) for shard in run.shards], evaluate(run)),
        "refit": lambda: [refit(run, role) for role in ROLES],
        "score": lambda: ([score_shard(run, shard) for shard in run.shards], score(run)),
        "judge": partial(judge, run),
        "report": partial(report, run),
        "seal": partial(seal, run),
        "publish": partial(publish, run),
    }


if WARM in os.environ:
    make_night(os.environ[WARM], "2026-10-31", 12_000, Path(os.environ[WARM]) / "mark")
    os.environ[WARM] = str(os.getpid())  # where it was made, which a process that is forked from this one can look at
