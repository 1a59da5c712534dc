"""The verdict and its reasons, and what was measured beside the baselines and the published run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys.gate.verdict import PROMOTED, REJECTED, SUSPICIOUS, UNGATED, Verdict
from recsys.report.blocks import Facts, Section, Table, Words
from recsys.report.source import Source, metric
from recsys.report.text import figure, shown, whole, with_interval
from recsys.summary import SHOWN

TONES = {PROMOTED: "good", UNGATED: "warn", SUSPICIOUS: "warn", REJECTED: "bad"}
MEANINGS = {
    PROMOTED: "as good as its baselines and the published night, and as plausible",
    UNGATED: "there was no published night that it could be compared with",
    SUSPICIOUS: "something is not as it usually is: a person should look",
    REJECTED: "not good enough",
}
ENDINGS = {True: "its tables may be published", False: "not published: readers keep the tables they have"}


def meaning(verdict: Verdict) -> str:
    """What a verdict comes to."""
    return f"{MEANINGS[verdict.verdict]}; {ENDINGS[verdict.publish]}"


def section(source: Source) -> Section:
    """The figures that matter, then the metrics of both models."""
    counts, rows = source.prepared.counts, sum(source.rows_by_source.values())
    facts = [
        _measured(source, "ndcg@10", "popular", source.ranker),
        _measured(source, "rmse", "means", source.rater),
        ("Rows of lists", whole(rows), f"up to {whole(source.run.config.score.top_n)} a user"),
        ("Users", whole(counts.users), f"{whole(counts.ratings)} ratings, {whole(counts.items)} items"),
    ]
    protocol = source.evaluation["protocol"]
    about = (
        f"Measured on {whole(protocol['held_out_ratings'])} held-out ratings of {whole(protocol['users'])} users; in "
        f"brackets the interval ({protocol['interval']}). The tables come from the same models "
        + ("fitted again on all ratings." if source.run.config.train.refit else "as they were judged.")
    )
    return Section("verdict", "At a glance", [Facts(facts), _metrics(source), Words(about), _champion(source)])


def _measured(source: Source, name: str, baseline: str, model: str) -> tuple[str, str, str]:
    value, named = metric(source.evaluation, name), f"{name} of {model}"
    beside = source.evaluation["baselines"][baseline].get(name)
    if value is None:
        return named, figure(None), "no rating is held out"
    return named, figure(value["value"]), f"{baseline} has {figure(beside and beside['value'])}"


def _metrics(source: Source) -> Table:
    evaluation = source.evaluation
    baselines = {name: value for values in evaluation["baselines"].values() for name, value in values.items()}
    rows = _rows(evaluation["metrics"], baselines, evaluation["differences"])
    return Table("Metrics beside the baselines", ["Metric", "Tonight", "Baseline", "Difference"], rows)


def _champion(source: Source) -> Words | Table:
    """Tonight's models and the published ones, on the users that neither has an advantage on."""
    champion = source.evaluation.get("champion") or {}
    if "differences" not in champion:
        return Words(f"Not compared with a published run: {shown(champion.get('why_not', 'unknown'), 300)}.")
    named = f"run {champion['run_id']} of {champion['run_date']}"
    return Table(
        f"Beside the published {named}, on {whole(champion['users'])} users whose hold-out it has not learned",
        ["Metric", "Tonight", "Published", "Difference"],
        _rows(champion["own"], champion["metrics"], champion["differences"]),
    )


def _rows(own: Mapping[str, Any], other: Mapping[str, Any], differences: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    return [
        [name, *(with_interval(values.get(name)) for values in (own, other, differences))]
        for name in SHOWN
        if name in own
    ]
