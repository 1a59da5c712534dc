"""The stage `evaluate`: score the hold-out's users with the judged models, measure, and let the gate speak."""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from recsys.errors import GateRefused
from recsys.evaluate.evaluation import evaluate as measure
from recsys.evaluate.evaluation import write_lists
from recsys.evaluate.gate import Verdict, judge
from recsys.models.base import FitContext, Ranker
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.popular import Popular, PopularSettings
from recsys.prepare.prepared import Prepared
from recsys.run import Run
from recsys.store import sealed_stage, write_record, write_whole
from recsys.train.stage import fitted_on_split, load_ranker, load_rater

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation found; the whole of it stands in evaluation.json."""

    file: Path
    verdict: Verdict
    metrics: dict[str, float]


def evaluate(run: Run) -> Evaluation:
    """Measure the judged models, once, and write evaluation.json; `require_promotion` raises the gate's refusal."""
    file = run.folder / "evaluation.json"
    if not file.exists():
        started = time.monotonic()
        record = _measure(run)
        verdict = judge(record, run.config.gate)
        write_record(run.record("evaluate"), time.monotonic() - started)
        write_whole(file, json.dumps({**record, "gate": asdict(verdict)}, indent=2))
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
    prepared = run.prepared
    training_set = prepared.training_set("split")
    context = FitContext(run.config.seed, run.config.compute)
    # One after the other, so that the ranker's weights are gone before the rater is loaded.
    lists = {run.config.train.ranker: _write_lists(run, prepared, load_ranker(fitted_on_split(run, "ranker"), run))}
    lists["popular"] = _write_lists(run, prepared, Popular.fit(training_set, PopularSettings(), context))
    raters = {run.config.train.rater: load_rater(fitted_on_split(run, "rater"), run)}
    raters["means"] = MeansOnly.fit(training_set, MeansSettings(), context)
    return measure(prepared, lists, raters, run.config.evaluate, run.config.seed)


def _write_lists(run: Run, prepared: Prepared, ranker: Ranker) -> Path:
    """The judged ranker's lists for all users, in the published format."""
    target = run.work / "lists" / ranker.name
    with sealed_stage(target, run.record(f"lists_{ranker.name}")) as folder:
        if folder is not None:
            write_lists(folder / "table", prepared, ranker, max(run.config.evaluate.cutoffs), run.config.compute)
    return target / "table"
