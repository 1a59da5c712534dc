"""The stage `judge`: compare the finished night with the published one, and let the gate speak."""

from __future__ import annotations

import json
import logging
import time

from recsys.config import GateConfig
from recsys.drift.figures import figures
from recsys.errors import GateRefused
from recsys.evaluate.champion import champion_of, forget_champion
from recsys.gate.quality import quality
from recsys.gate.verdict import REJECTED, SUSPICIOUS, UNGATED, Verdict
from recsys.gate.watch import plausibility
from recsys.run import Run
from recsys.store import write_record, write_whole

log = logging.getLogger("recsys")

GATE, DRIFT = "gate.json", "drift.json"  # in a run's folder


def judge(run: Run) -> Verdict:
    """Judge a run whose tables stand, once; the verdict stops nothing yet, `require_promotion` does."""
    file = run.folder / GATE
    if not file.exists():
        started = time.monotonic()
        evaluation = json.loads((run.folder / "evaluation.json").read_text())
        drift = figures(run.folder, run.prepared, champion_of(run), run.config.score.top_n)
        forget_champion()
        write_whole(run.folder / DRIFT, json.dumps(drift, indent=2))
        gate = run.config.gate
        verdict = Verdict.of([*quality(evaluation, gate), *plausibility(drift, gate)], refused(gate))
        write_whole(file, json.dumps(verdict.record(), indent=2))
        write_record(run.record("judge"), time.monotonic() - started)
    verdict = verdict_of(run)
    log.info("judge: %s; %s", verdict.verdict, "; ".join(verdict.against))
    return verdict


def verdict_of(run: Run) -> Verdict:
    """What `judge` has found."""
    return Verdict.read(json.loads(run.home.here(run.folder, GATE).read_text()))


def refused(config: GateConfig) -> dict[str, bool]:
    """For each verdict whether such a run is refused."""
    actions = {REJECTED: config.on_rejected, SUSPICIOUS: config.on_suspicious, UNGATED: config.on_ungated}
    return {verdict: action == "refuse" for verdict, action in actions.items()}


def require_promotion(run: Run, verdict: Verdict) -> None:
    """Stop a run that the gate refused.

    Raises:
        GateRefused: with the gate's reasons.
    """
    if not verdict.publish:
        refusal = GateRefused(
            f"The gate calls run {run.run_id} {verdict.verdict}: nothing was published, the tables are as before.",
            expected="a night as good as its baselines and the published one, and as plausible",
            found="; ".join(verdict.blocking),
            todo=f"look at {run.folder / GATE}; its tables are made, and `recsys runs promote {run.run_id}` publishes "
            "them under your name; the bounds are settings of `gate`",
        )
        refusal.folder = run.folder
        raise refusal
