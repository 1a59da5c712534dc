"""Is it good enough? Tonight's models against their baselines, fixed floors, and the published models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recsys.config import GateConfig
from recsys.gate.verdict import PROMOTED, REJECTED, SUSPICIOUS, UNGATED, Finding

NDCG, RMSE = "ndcg@10", "rmse"


def quality(evaluation: Mapping[str, Any], config: GateConfig) -> Iterator[Finding]:
    """Findings on an evaluation as `recsys.evaluate.evaluation.evaluate` returns it, with its `champion`."""
    yield _against_baseline(evaluation, "ranker", "popular", NDCG, config)
    yield _against_baseline(evaluation, "rater", "means", RMSE, config)
    yield from _floors(evaluation["metrics"], config)
    yield from _against_champion(evaluation["champion"], config)


def _against_baseline(
    evaluation: Mapping[str, Any], role: str, baseline: str, metric: str, config: GateConfig
) -> Finding:
    name, check = evaluation[role], f"{role}_beats_{baseline}"
    if name == baseline:
        return Finding(check, PROMOTED, f"{name} is the baseline itself: not compared")
    if not getattr(config, check):
        return Finding(check, PROMOTED, f"{name} was not compared with {baseline}: switched off")
    if metric not in evaluation["metrics"]:
        return Finding(check, REJECTED, f"{name} could not be compared with {baseline}: no rating is held out")
    own, other = evaluation["metrics"][metric]["value"], evaluation["baselines"][baseline][metric]["value"]
    better = own > other if metric == NDCG else own < other
    relation = "better than" if better else "not better than"
    reason = f"{metric} {own:.4f} of {name} is {relation} {other:.4f} of {baseline}"
    return Finding(check, PROMOTED if better else REJECTED, reason)


def _floors(metrics: Mapping[str, Any], config: GateConfig) -> Iterator[Finding]:
    for check, metric, bound in (("min_ndcg", NDCG, config.min_ndcg), ("max_rmse", RMSE, config.max_rmse)):
        if bound is None:
            continue
        value = metrics.get(metric, {}).get("value", float("nan"))
        reached = value >= bound if metric == NDCG else value <= bound
        side = "at least" if metric == NDCG else "at most"
        reason = f"{metric} {value:.4f} is {'' if reached else 'not '}{side} {bound:g}"
        yield Finding(check, PROMOTED if reached else REJECTED, reason)


def _against_champion(champion: Mapping[str, Any], config: GateConfig) -> Iterator[Finding]:
    if "differences" not in champion:
        yield Finding("champion", UNGATED, f"not compared with a published run: {champion['why_not']}")
        return
    if champion["users"] < config.min_users:
        yield Finding(
            "min_users", UNGATED, f"only {champion['users']:,} users can be compared with run {champion['run_id']} "
            f"(gate.min_users {config.min_users:,}); of the others it has learned ratings that are held out tonight",
        )  # fmt: skip
        return
    yield _difference(champion, NDCG, config.ndcg_margin, config.too_good_ndcg)
    yield _difference(champion, RMSE, config.rmse_margin, config.too_good_rmse)


def _difference(champion: Mapping[str, Any], metric: str, margin: float, too_good: float) -> Finding:
    """The whole interval of the paired difference must be beyond a bound: noise alone is neither worse nor too good.

    Args:
        margin: share of the champion's figure that tonight's may be worse by.
        too_good: share that it may be better by overnight.
    """
    before, now = champion["metrics"][metric]["value"], champion["own"][metric]["value"]
    found = champion["differences"][metric]
    gain = (found["low"], found["high"]) if metric == NDCG else (-found["high"], -found["low"])
    reason = (
        f"{metric} {now:.4f} against {before:.4f} of the published run {champion['run_id']}: "
        f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}] over {champion['users']:,} users"
    )
    if gain[1] < -margin * before:
        return Finding(f"{metric.partition('@')[0]}_margin", REJECTED, f"{reason}; worse by more than {margin:.0%}")
    if gain[0] > too_good * before:
        words = f"{reason}; better by more than {too_good:.0%} overnight: has it learned the hold-out?"
        return Finding(f"too_good_{metric.partition('@')[0]}", SUSPICIOUS, words)
    return Finding(f"{metric.partition('@')[0]}_margin", PROMOTED, reason)
