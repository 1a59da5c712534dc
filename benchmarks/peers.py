"""The whole night on ml-1m beside other systems: file to table, same split, same machine, one command.

    python -m benchmarks.peers --mirror DIR [--rounds 3]

Each system is a script of benchmarks/rivals in an environment of its own, made here where it is missing. Rounds are
interleaved, so that what else the machine does falls on all; Spark, which takes minutes, runs once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks import page
from benchmarks.environments import NoEnvironment, pins, python_of
from benchmarks.kept import Figures
from benchmarks.measured import Measured, measure
from benchmarks.night import environment, night
from recsys.evaluate.ranking import per_user, relevance

RIVALS = Path(__file__).resolve().parent / "rivals"
OURS, SPARK, CICERONE = "this project, the whole night", "Spark, ALS", "cicerone, EASE"
TEST_FRACTION, SEED, K = 0.2, 42, 10
COLUMNS = ["userId", "movieId", "rating", "timestamp"]
# By our stages: prepare has both parts' matrices and the id maps; score has the rater's predictions and the writing.
OWN_STAGES = {"read": ("download", "prepare"), "fit": ("refit_ranker",), "score": ("score",), "write": ()}


@dataclass(frozen=True)
class Peer:
    """A system to be measured beside this one.

    Attributes:
        environment: the group of its versions, less "peer-"; "" is this project's own environment.
        script: of benchmarks/rivals.
        variant: further arguments.
        once: too slow to be run in each round.
    """

    environment: str
    script: str
    variant: tuple[str, ...] = ()
    once: bool = False


PEERS: Mapping[str, Peer] = {
    "RecTools, most popular": Peer("rectools", "rectools_models", ("popular",)),
    "implicit, ALS": Peer("implicit", "implicit_als"),
    "RecTools, ALS": Peer("rectools", "rectools_models", ("als",)),
    "RecTools, EASE": Peer("rectools", "rectools_models", ("ease",)),
    "EASE in 25 lines of NumPy": Peer("", "plain_ease"),
    CICERONE: Peer("cicerone", "cicerone_ease"),
    SPARK: Peer("spark", "spark_als", once=True),
}


@dataclass(frozen=True)
class Split:
    """What all learn from, as file and frame, and what is hidden from them; columns as `COLUMNS`."""

    file: Path
    train: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Taken:
    """One run: what it took, by stage where it says so, and where its table is."""

    measured: Measured
    stages: Mapping[str, float]
    table: Path


Runner = Callable[[Split, Path], Taken]


def for_page(given: page.Given) -> Figures:
    """A row a system, ours first; what could not be run says why."""
    with tempfile.TemporaryDirectory() as folder:
        split = write_split(given.mirror, "ml-100k" if given.small else "ml-1m", Path(folder))
        env = environment(folder)
        runners: dict[str, Runner] = {OURS: partial(_our_night, env)}
        rows: dict[str, dict[str, Any]] = {OURS: {}}
        for name, peer in PEERS.items():
            rows[name] = {}
            try:
                python = python_of(peer.environment) if peer.environment else Path(sys.executable)
                runners[name] = partial(_their_run, env, peer, python)
            except NoEnvironment as why:
                rows[name] = {"not run": str(why)}
        for name, taken in _rounds(runners, split, Path(folder), given.rounds).items():
            rows[name] = (
                {"not run": taken} if isinstance(taken, str) else {**_figures(taken), **judge(taken[-1].table, split)}
            )
    return {"rows": table_rows(rows), "notes": notes(rows)}


def write_split(mirror: Path, dataset: str, folder: Path) -> Split:
    """Hide 20% of each user's ratings, drawn at random, rounded up, but never a user's only one."""
    member = {"ml-1m": "ml-1m/ratings.dat", "ml-100k": "ml-100k/u.data"}[dataset]
    with zipfile.ZipFile(mirror / f"{dataset}.zip") as archive:
        lines = archive.read(member).decode("latin-1").replace("::", "\t").splitlines()
    ratings = pd.DataFrame(np.loadtxt(lines, dtype=np.int64, delimiter="\t"), columns=COLUMNS)
    draws = pd.Series(np.random.default_rng(SEED).random(len(ratings))).groupby(ratings["userId"])
    count = draws.transform("size")
    hidden = draws.rank(method="first") <= np.minimum(np.ceil(TEST_FRACTION * count - 1e-9), count - 1)
    file = folder / "train.csv"
    ratings[~hidden].to_csv(file, index=False)
    return Split(file, ratings[~hidden], ratings[hidden])


def _rounds(runners: Mapping[str, Runner], split: Split, folder: Path, rounds: int) -> dict[str, list[Taken] | str]:
    """The runs of each, one round after another; of one that fails, what it said."""
    runs: dict[str, list[Taken] | str] = {}
    for number in range(rounds):
        for name, run in runners.items():
            before = runs.setdefault(name, [])
            if isinstance(before, str) or (number and name in PEERS and PEERS[name].once):
                continue
            try:
                before.append(run(split, folder / f"{number}-{len(runs)}-{name.partition(',')[0]}"))
            except RuntimeError as failed:
                runs[name] = str(failed).strip().splitlines()[-1][:300]
            print(f"round {number + 1}: {name}: {_told(runs[name])}", file=sys.stderr, flush=True)
    return runs


def _told(runs: list[Taken] | str) -> str:
    return runs if isinstance(runs, str) else f"{runs[-1].measured.seconds:.1f} s"


def _our_night(env: dict[str, str], split: Split, out: Path) -> Taken:
    taken, manifest = night(("--ratings", str(split.file)), out, env)
    timings = {stage: took["seconds"] for stage, took in manifest["timings"].items()}
    stages = {name: sum(timings[stage] for stage in ours) for name, ours in OWN_STAGES.items()}
    return Taken(taken, stages, out / "published" / "current" / "recommendations")


def _their_run(env: dict[str, str], peer: Peer, python: Path, split: Split, out: Path) -> Taken:
    script = RIVALS / f"{peer.script}.py"
    alone = {key: value for key, value in env.items() if key != "PYTHONPATH"}
    taken = measure([str(python), str(script), str(split.file), str(out), *peer.variant], alone)
    lines = taken.out.strip().splitlines()
    stages = json.loads(lines[-1]) if lines else {}
    table = out / "out" / "recommendations.parquet"  # of a system that wants a folder for its own files
    return Taken(taken, stages, table if table.exists() else out)


def judge(table: Path, split: Split) -> dict[str, Any]:
    """ndcg@10 on the hidden ratings, and rows that the user has seen, of any table with user_id and item_id.

    Lists stand in the order of `rank`, or of the rows where there is none.
    """
    rows = pq.read_table(table).to_pandas()
    users, items = np.unique(split.train["userId"]), np.unique([*split.train["movieId"], *split.test["movieId"]])
    if "rank" in rows:
        rows = rows.sort_values(["user_id", "rank"], kind="stable")
    rows = rows.assign(
        user=np.searchsorted(users, rows["user_id"].astype(np.int64)),
        item=np.searchsorted(items, rows["item_id"].astype(np.int64)),
    )
    place = rows.groupby("user").cumcount().to_numpy()
    lists = np.full((len(users), K), -1, dtype=np.int32)
    lists[rows["user"].to_numpy()[place < K], place[place < K]] = rows["item"].to_numpy()[place < K]
    hidden = [
        np.searchsorted(ids, split.test[name]).astype(np.int32) for ids, name in ((users, "userId"), (items, "movieId"))
    ]
    ndcg = per_user(relevance(lists, *hidden, len(items)), [K])[f"ndcg@{K}"]
    seen = np.searchsorted(users, split.train["userId"]) * len(items) + np.searchsorted(items, split.train["movieId"])
    leaked = int(np.isin(rows["user"] * len(items) + rows["item"], seen).sum())
    return {f"ndcg@{K}": float(ndcg.mean()), "rows": len(rows), "seen": leaked}


def _figures(runs: list[Taken]) -> dict[str, Any]:
    stages = page.medians([run.stages for run in runs])
    own = sum(stages[name] for name in OWN_STAGES) if stages else None
    whole = {
        "seconds": median(run.measured.seconds for run in runs),
        "CPU s": median(run.measured.cpu_seconds for run in runs),
        "peak MiB": max(run.measured.peak_mib for run in runs),
    }
    return {**whole, "stages": own, **{name: seconds for name, seconds in stages.items() if name in OWN_STAGES}}


def table_rows(rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the system's name, version and time relative to ours."""
    ours = rows[OURS].get("seconds")
    return [
        {
            "system": name,
            "version": _version(PEERS[name].environment) if name in PEERS else "",
            "times ours": found["seconds"] / ours if ours and "seconds" in found else None,
            **found,
        }
        for name, found in rows.items()
    ]


def _version(environment: str) -> str:
    return pins(environment)[0].rpartition("==")[2] if environment else ""


def notes(rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """The two ratios that this project promises."""
    found = []
    ours, spark, cicerone = rows[OURS], rows[SPARK], rows[CICERONE]
    if "seconds" in ours and "seconds" in spark:
        ratio = spark["seconds"] / ours["seconds"]
        found.append(f"Spark takes {ratio:.1f} times as long as our whole night; promised: at least 3.")
    if ours.get("stages") and cicerone.get("stages"):
        ratio = cicerone["stages"] / ours["stages"]
        found.append(
            f"Read, fit, score and write take cicerone {cicerone['stages']:.1f} s and us {ours['stages']:.1f} s: "
            f"{ratio:.1f} times as long; promised: more than 1. It reads Parquet (its `convert` is left out), we CSV."
        )
    return found


if __name__ == "__main__":
    page.main(["--only", "peers", *sys.argv[1:]])
