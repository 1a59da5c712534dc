"""The verdict and its reasons, and what was measured beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.report.blocks import Facts, Section, Table, Words
from recsys.report.source import Source, metric
from recsys.report.text import figure, shown, whole, with_interval
from recsys.summary import SHOWN

PUBLISHED = ("PROMOTED", "UNGATED")
HIGHER_IS_BETTER = frozenset({"ndcg", "precision", "recall", "hit_rate", "map", "mrr", "coverage"})


def verdict_of(source: Source) -> tuple[str, list[str]]:
    """The verdict and all reasons: the gate's, then what the comparison with the nights before adds."""
    gate, drift = source.evaluation.get("gate", {}), source.drift
    reasons = [shown(reason, 300) for reason in gate.get("reasons", ())]
    reasons += [shown(str(reason), 300) for reason in drift.get("reasons", ()) if str(reason) not in reasons]
    return str(gate.get("verdict", "UNGATED")), reasons


def section(source: Source) -> Section:
    """The figures that matter, then the metrics of both models."""
    counts, rows = source.prepared.counts, sum(source.rows_by_source.values())
    facts = [
        _measured(source, "ndcg@10", "popular", source.ranker),
        _measured(source, "rmse", "means", source.rater),
        ("Rows of lists", whole(rows), f"{whole(source.run.config.score.top_n)} a user"),
        ("Users", whole(counts.users), f"{whole(counts.ratings)} ratings, {whole(counts.items)} items"),
    ]
    protocol = source.evaluation.get("protocol", {})
    about = (
        f"Measured on {whole(protocol.get('held_out_ratings'))} held-out ratings of {whole(protocol.get('users'))} "
        f"users; in brackets the interval ({protocol.get('interval', 'none')}). The tables come from the same models "
        + ("fitted again on all ratings." if source.run.config.train.refit else "as they were judged.")
    )
    return Section("verdict", "At a glance", [Facts(facts), _metrics(source), Words(about)])


def _measured(source: Source, name: str, baseline: str, model: str) -> tuple[str, str, str]:
    value = metric(source.evaluation, name)
    beside = source.evaluation.get("baselines", {}).get(baseline, {}).get(name)
    if value is None:
        return name, figure(None), "no rating is held out"
    return name, figure(value["value"]), f"{model}; {baseline} {figure(beside and beside['value'])}"


def _metrics(source: Source) -> Table:
    evaluation = source.evaluation
    baselines = {name: value for values in evaluation.get("baselines", {}).values() for name, value in values.items()}
    champion = evaluation.get("champion") or {}
    columns = ["Metric", "Tonight", "Baseline", "Difference"]
    columns += ["Published", "Difference from published"] if champion else []
    rows = [
        [
            name,
            with_interval(evaluation["metrics"][name]),
            with_interval(baselines.get(name)),
            _difference(evaluation.get("differences", {}), name),
            *(
                [with_interval(_value(champion, name)), _difference(champion.get("differences", {}), name)]
                if champion
                else []
            ),
        ]
        for name in SHOWN
        if name in evaluation.get("metrics", {})
    ]
    return Table("Metrics beside the baselines", columns, rows)


def _value(champion: Mapping[str, Any], name: str) -> dict[str, float] | None:
    found: dict[str, float] | None = champion.get("metrics", {}).get(name)
    return found


def _difference(differences: Mapping[str, Any], name: str) -> str:
    return with_interval(differences.get(name))
