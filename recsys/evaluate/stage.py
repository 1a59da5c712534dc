"""The stage `evaluate`: score the hold-out's users with the judged models, measure, and let the gate speak."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from recsys.errors import GateRefused
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.evaluation import evaluate as measured
from recsys.evaluate.evaluation import list_shard, sum_errors, sum_lists
from recsys.evaluate.gate import Verdict, judge
from recsys.evaluate.sums import RankingSums, RatingSums
from recsys.models.base import FitContext, Ranker, Rater
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.popular import Popular, PopularSettings
from recsys.prepare.prepared import Prepared
from recsys.run import Run
from recsys.store import sealed_stage, write_whole
from recsys.train.stage import fitted_on_split, forget_models, load_ranker, load_rater

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation found; the whole of it stands in evaluation.json."""

    file: Path
    verdict: Verdict
    metrics: dict[str, float]


def evaluate_shard(run: Run, number: int) -> None:
    """Make the judged models' lists and predictions for the users of one shard, and measure them, once."""
    with sealed_stage(
        _shard_folder(run, number), run.shard_record("evaluate", number), under_way=run.under_way
    ) as folder:
        if folder is not None:
            prepared, shard = run.prepared, run.prepared.shards[number]
            for name, ranker in _rankers(run).items():
                list_shard(
                    folder / "lists" / name, prepared, shard, ranker(), run.config.evaluate.cutoffs, run.config.compute
                )
                sums = sum_lists(folder / "lists" / name, prepared, shard, run.config.evaluate, _bootstrap(run))
                sums.save(folder / f"ranker-{name}.npz")
            raters = {name: rater() for name, rater in _raters(run).items()}
            for name, rater in raters.items():
                errors = sum_errors(prepared, shard, rater, raters["means"], _bootstrap(run))
                errors.save(folder / f"rater-{name}.npz")


def evaluate(run: Run) -> Evaluation:
    """Judge the run by its shards' measures, once, and write evaluation.json.

    `require_promotion` raises the gate's refusal.
    """
    file = run.folder / "evaluation.json"
    if not file.exists():
        started = time.monotonic()
        record = _measure(run)
        verdict = judge(record, run.config.gate)
        write_whole(file, json.dumps({**record, "gate": asdict(verdict)}, indent=2))
        run.write_record_of_shards("evaluate", time.monotonic() - started)
        forget_models()
        _means.cache_clear()
    record = json.loads(file.read_text())
    verdict = Verdict(record["gate"]["verdict"], tuple(record["gate"]["reasons"]))
    if not verdict.promoted:  # it goes no further: the judged models and lists are of no more use
        shutil.rmtree(run.work, ignore_errors=True)
    log.info("evaluate: %s; %s", verdict.verdict, "; ".join(verdict.reasons))
    return Evaluation(file, verdict, {name: value["value"] for name, value in record["metrics"].items()})


def require_promotion(evaluation: Evaluation) -> None:
    """Stop a run that the gate refused.

    Raises:
        GateRefused: with the gate's reasons.
    """
    if not evaluation.verdict.promoted:
        raise GateRefused(
            "The quality gate refused this run; nothing was published, the tables are as they were.",
            expected="a ranker above popularity on ndcg@10 and a rater below the means on rmse",
            found="; ".join(evaluation.verdict.reasons),
            todo=f"look at {evaluation.file}; the checks are switched by --set gate.ranker_beats_popular=false and "
            "--set gate.rater_beats_means=false",
        )


def _measure(run: Run) -> dict:  # type: ignore[type-arg]
    """The record of all shards."""
    folders = [_shard_folder(run, number) for number in range(len(run.prepared.shards))]
    ranked = {
        name: RankingSums.whole([RankingSums.load(folder / f"ranker-{name}.npz") for folder in folders])
        for name in _rankers(run)
    }
    rated = {
        name: RatingSums.whole([RatingSums.load(folder / f"rater-{name}.npz") for folder in folders])
        for name in _raters(run)
    }
    return measured(run.prepared, ranked, rated, run.config.evaluate, run.config.seed)


def _shard_folder(run: Run, number: int) -> Path:
    return run.work / "evaluated" / f"{number:05d}"


def _bootstrap(run: Run) -> Bootstrap:
    config = run.config.evaluate
    return Bootstrap(config.bootstrap_samples, config.confidence, run.config.seed)


def _rankers(run: Run) -> dict[str, Callable[[], Ranker]]:
    """The one on trial and its baseline."""
    context = FitContext(run.config.seed, run.config.compute)
    return {
        run.config.train.ranker: lambda: load_ranker(fitted_on_split(run, "ranker"), run),
        "popular": lambda: Popular.fit(run.prepared.training_set("split"), PopularSettings(), context),
    }


def _raters(run: Run) -> dict[str, Callable[[], Rater]]:
    """The one on trial and its baseline."""
    context = FitContext(run.config.seed, run.config.compute)
    return {
        run.config.train.rater: lambda: load_rater(fitted_on_split(run, "rater"), run),
        "means": lambda: _means(run.prepared, context),
    }


@lru_cache(maxsize=1)  # a pass over all ratings, not one a shard
def _means(prepared: Prepared, context: FitContext) -> MeansOnly:
    return MeansOnly.fit(prepared.training_set("split"), MeansSettings(), context)
