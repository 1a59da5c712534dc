"""The first gate: a ranker better than popularity, a rater better than the means, else nothing is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recsys.config import GateConfig

PROMOTED, REJECTED = "PROMOTED", "REJECTED"


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why."""

    verdict: str
    reasons: tuple[str, ...]

    @property
    def promoted(self) -> bool:
        """Whether the run may be published."""
        return self.verdict == PROMOTED


def judge(evaluation: Mapping[str, Any], config: GateConfig) -> Verdict:
    """Judge an evaluation as `recsys.evaluate.evaluation.evaluate` returns it."""
    ranker = _compare(
        evaluation["ranker"], "popular", "ndcg@10", evaluation, config.ranker_beats_popular, higher_is_better=True
    )
    rater = _compare(evaluation["rater"], "means", "rmse", evaluation, config.rater_beats_means, higher_is_better=False)
    passed = ranker[0] and rater[0]
    return Verdict(PROMOTED if passed else REJECTED, (ranker[1], rater[1]))


def _compare(
    name: str, baseline: str, metric: str, evaluation: Mapping[str, Any], wanted: bool, *, higher_is_better: bool
) -> tuple[bool, str]:
    if name == baseline:
        return True, f"{name} is the baseline itself: not compared"
    if not wanted:
        return True, f"{name} was not compared with {baseline}: switched off"
    if metric not in evaluation["metrics"]:
        return False, f"{name} could not be compared with {baseline}: no rating is held out"
    own, other = evaluation["metrics"][metric]["value"], evaluation["baselines"][baseline][metric]["value"]
    better = own > other if higher_is_better else own < other
    relation = "better than" if better else "not better than"
    return better, f"{metric} of {name} {own:.4f} is {relation} {baseline}'s {other:.4f}"
