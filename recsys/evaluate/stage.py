"""The stage `evaluate`: score the hold-out's users with the judged models, beside baselines and champion; measure."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from recsys.errors import RecsysError
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.breakdown import BREAKDOWN, breakdown
from recsys.evaluate.champion import champion_of, forget_champion, why_no_champion
from recsys.evaluate.evaluation import compare, list_shard, sum_errors, sum_lists, sum_paired_errors, sum_paired_lists
from recsys.evaluate.evaluation import evaluate as measured
from recsys.evaluate.sums import RankingSums, RatingSums
from recsys.models.base import FitContext, Ranker, Rater
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.popular import Popular, PopularSettings
from recsys.prepare.prepared import Prepared
from recsys.run import Run
from recsys.store import sealed_stage, write_whole
from recsys.train.stage import fitted_on_split, forget_models, load_ranker, load_rater

log = logging.getLogger("recsys")

SIDES = ("challenger", "champion")
UNREADABLE = "champion-unreadable.txt"


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation found; the whole of it stands in evaluation.json."""

    file: Path
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
            _challenge(run, number, folder, raters)


def _challenge(run: Run, number: int, folder: Path, raters: Mapping[str, Rater]) -> None:
    """Measure tonight's models and the published ones side by side, where there are any that can be read."""
    champion, bootstrap, config = champion_of(run), _bootstrap(run), run.config
    if champion is None:
        return
    prepared, shard = run.prepared, run.prepared.shards[number]
    try:
        theirs = champion.lists(shard, max(config.evaluate.cutoffs), config.compute), champion.rater()
    except (RecsysError, OSError, ValueError, KeyError) as error:  # made by another version, or damaged: no comparison
        log.warning("evaluate: the published run %s cannot be compared with: %s", champion.run_id, error)
        (folder / UNREADABLE).write_text(f"{type(error).__name__}: {error}")
        return
    holdout = champion.holdout(shard)
    lists = sum_paired_lists(
        folder / "lists" / config.train.ranker, theirs[0], prepared, shard, holdout, config.evaluate, bootstrap
    )
    errors = sum_paired_errors(
        raters[config.train.rater], theirs[1], raters["means"], prepared, shard, holdout, bootstrap
    )
    for name, sums in zip(SIDES, zip(lists, errors, strict=True), strict=True):
        sums[0].save(folder / f"{name}-ranker.npz")
        sums[1].save(folder / f"{name}-rater.npz")


def evaluate(run: Run) -> Evaluation:
    """Bring the shards' measures together, once, and write evaluation.json."""
    file = run.folder / "evaluation.json"
    if not file.exists():
        started = time.monotonic()
        write_whole(file, json.dumps(_measure(run), indent=2))
        run.write_record_of_shards("evaluate", time.monotonic() - started)
        forget_models()
        _means.cache_clear()
        forget_champion()
    record = json.loads(file.read_text())
    return Evaluation(file, {name: value["value"] for name, value in record["metrics"].items()})


def _measure(run: Run) -> dict:  # type: ignore[type-arg]
    """The record of all shards; its parts by group stand in breakdown.json."""
    folders = [_shard_folder(run, number) for number in range(len(run.prepared.shards))]
    ranked = {
        name: RankingSums.whole([RankingSums.load(folder / f"ranker-{name}.npz") for folder in folders])
        for name in _rankers(run)
    }
    rated = {
        name: RatingSums.whole([RatingSums.load(folder / f"rater-{name}.npz") for folder in folders])
        for name in _raters(run)
    }
    parts = breakdown(run.prepared, ranked, rated, run.config.evaluate.cutoffs)
    write_whole(run.folder / BREAKDOWN, json.dumps(parts, allow_nan=False))
    record = measured(run.prepared, ranked, rated, run.config.evaluate, run.config.seed)
    return record | {"champion": _compared(run, folders)}


def _compared(run: Run, folders: Sequence[Path]) -> dict:  # type: ignore[type-arg]
    """Tonight's models less the published ones; or why they were not compared."""
    champion = champion_of(run)
    if champion is None:
        return {"run_id": None, "why_not": why_no_champion(run)}
    named = {"run_id": champion.run_id, "run_date": champion.run_date}
    unreadable = next((folder / UNREADABLE for folder in folders if (folder / UNREADABLE).exists()), None)
    if unreadable is not None:
        return named | {"why_not": f"its models cannot be used: {unreadable.read_text()}"}
    sums = [
        (RankingSums.whole([RankingSums.load(folder / f"{side}-ranker.npz") for folder in folders]),
         RatingSums.whole([RatingSums.load(folder / f"{side}-rater.npz") for folder in folders]))
        for side in SIDES
    ]  # fmt: skip
    return named | compare(sums[0], sums[1], run.config.evaluate, _bootstrap(run))


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
