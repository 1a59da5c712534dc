"""Two hundred SIGKILLs at random moments of a few nights, then one clean run of each; readers saw whole runs only.

Each try is a process of its own, forked from one that has everything imported, so that a try is a second and not ten.
It runs the stages without Prefect, whose part is no other: a stage seals its folder, whoever calls it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

KILLS, SEED = 200, 20261121
FIRST = date(2026, 11, 1)


def make_night(store: str, run_date: str, ratings: int = 60_000, env: Mapping[str, str] = MappingProxyType({})) -> None:
    """One try at one night; `env` is what the process that forks this one does not have."""
    os.environ.update(env)
    from recsys.config import RunConfig
    from recsys.download.stage import open_run
    from recsys.evaluate.stage import evaluate, evaluate_shard
    from recsys.gate.stage import judge
    from recsys.prepare.stage import prepare
    from recsys.publish.mend import mend
    from recsys.publish.stage import publish
    from recsys.score.stage import score, score_shard
    from recsys.store import open_store
    from recsys.train.stage import fit, refit

    sections = {
        "demo": {"users": ratings // 40, "items": ratings // 150, "ratings": ratings},
        "models": {"biased_mf": {"epochs": 3}},
        "gate": {"rater_beats_means": False},
        "evaluate": {"bootstrap_samples": 50},
    }
    config = RunConfig.model_validate({"store": store, **sections})
    with open_store(store).hold(config.compute.lease_s) as lease:
        run = open_run(config, date.fromisoformat(run_date), lease.token)
        mend(run)
        if not run.made:
            prepare(run)
            for role in ("ranker", "rater"):
                fit(run, role)
            for shard in run.shards:
                evaluate_shard(run, shard)
            evaluate(run)
            for role in ("ranker", "rater"):
                refit(run, role)
            for shard in run.shards:
                score_shard(run, shard)
            score(run)
            judge(run)
        publish(run)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_kills_at_random_moments(tmp_path, tables, readers, monkeypatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([Path(__file__).stem])
    import test_killed_often as this

    def attempt(store: Path, night: int, seconds: float | None = None) -> bool:
        """Whether the night was made to its end before it was killed."""
        child = server.Process(target=this.make_night, args=(str(store), str(FIRST + timedelta(days=night))))
        child.start()
        child.join(seconds)
        if child.is_alive():
            child.kill()
            child.join()
            return False
        assert child.exitcode == 0
        return True

    rng, broken, unbroken = random.Random(SEED), tmp_path / "broken", tmp_path / "unbroken"
    assert attempt(broken, 0)  # imports and compiles
    started = time.monotonic()
    assert attempt(broken, 1)
    longest = (time.monotonic() - started) / 2  # a night of some seconds is killed four times on its way
    follower = readers.Follower(broken)
    follower.start()
    kills, before, night, reached = 0, 0, 2, []
    while kills < KILLS:
        if attempt(broken, night, rng.uniform(0.0, longest)):
            longest *= 0.8 if kills < before + 3 else 1.0  # the machine was busier when it was measured
            night, before = night + 1, kills
        else:
            kills += 1
            reached.append(_reached(broken, str(FIRST + timedelta(days=night))))
    assert attempt(broken, night)
    follower.stopped.set()
    follower.join()
    for each in range(night + 1):
        assert attempt(unbroken, each)
        day = str(FIRST + timedelta(days=each))
        assert tables(broken, day) == tables(unbroken, day)
        assert len(tables(broken, day)) >= 3
    assert follower.wrong == []
    assert not list(broken.glob("work/*"))
    print(f"{kills} kills on the way to {night} nights; what stood then: {Counter(reached)}")
    assert len(set(reached)) >= 6, "the kills came at too few stages to show anything"


def _reached(store: Path, night: str) -> str:
    """The last thing that stood when the run was killed."""
    run = next((store / "runs").glob(f"run_date={night}/*"), None)
    if run is None:
        return "nothing"
    made = [name for name in ("prepared", "model/judged/ranker", "model/judged/rater", "evaluation.json", "model/ranker",
                              "model/rater", "recommendations", "gate.json", "manifest.json") if (run / name).exists()]  # fmt: skip
    return made[-1] if made else "nothing"
