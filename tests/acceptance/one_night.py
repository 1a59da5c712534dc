"""One try at a night, for tests that kill it: the stages in their order, without Prefect, whose part is no other.

Tries are forked from a process that has imported all this and made a night: a try is then its stages, and not the seconds
of imports and of loading compiled functions before them, in which most kills would come.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

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
STAGES = ("download", "mend", "prepare", "fit", "evaluate", "refit", "score", "judge", "report", "seal", "publish")


def forking(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """The context whose processes are forked from one that has made a night in a folder.

    Its server looks at no `sys.path` of ours before Python 3.13, and says nothing of a module that it does not find.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv(WARM, str(folder))
    forkserver._forkserver._stop()  # the one of tests/command_line.py, which starts anew when it is asked next
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    first = context.Process(target=_require_warm, args=(os.getpid(),))
    first.start()
    first.join()
    assert first.exitcode == 0
    return context


def _require_warm(of_tests: int) -> None:
    assert WARMED_IN not in (os.getpid(), of_tests), "the server did not import this module: each try is mostly imports"


def make_night(
    store: str, run_date: str, ratings: int, mark: Path, env: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Make and publish one night of `demo`.

    Args:
        mark: a file that says which of `STAGES` it is at.
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


WARMED_IN = 0
if WARM in os.environ:
    make_night(os.environ[WARM], "2026-10-31", 12_000, Path(os.environ[WARM]) / "mark")
    WARMED_IN = os.getpid()
