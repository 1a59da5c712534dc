"""A run in a few lines of Markdown and in rows of tables, for the Prefect page and for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.gate.verdict import Verdict
from recsys.report.text import in_code, in_markdown
from recsys.store import MANIFEST, TABLES, Store
from recsys.store.manifest import read_manifest

if TYPE_CHECKING:
    from recsys.tune.tuning import Tuned

SHOWN = (
    "ndcg@10",
    "precision@10",
    "recall@10",
    "hit_rate@10",
    "map@10",
    "mrr",
    "coverage@10",
    "gini@10",
    "rmse",
    "mae",
)


def markdown(manifest: Mapping[str, Any], address: str | None = None) -> str:
    """The summary of a run that was made to its end.

    Args:
        address: where it stands; unset: it is not named.
    """
    source, gate = manifest["input"], manifest["gate"]
    lines = [
        f"# Night of {manifest['run_date']}: {gate['verdict']}",
        "",
        *(f"- {in_markdown(reason)}" for reason in gate["reasons"]),
        "",
        f"**Input** {in_markdown(source['dataset'])} from {in_code(source['origin'])}"
        f" ({in_markdown(trusted(source['trust']))})"
        + (f", **stale**: {in_markdown(source['stale_reason'])}" if source["stale_input"] else ""),
        "",
        f"{_ratings(source)}.",
        "",
        f"**Lists** {rows_by_source(manifest)}",
        "",
        f"Run `{manifest['run_id']}`" + (f" in {in_code(address)}" if address else ""),
        *_promoted(gate),
    ]
    return "\n".join(lines)


def _promoted(gate: Mapping[str, Any]) -> list[str]:
    by = gate.get("promoted_by")
    return ["", f"**Promoted by {in_markdown(by['by'])}** at {by['at']}: {in_markdown(by['reason'])}"] if by else []


def trusted(trust: str) -> str:
    """Why an input is believed to be what it is named, for people."""
    return {"contents": "trusted by its contents", "pinned hash": "as its pinned hash says"}.get(trust, trust)


def rows_by_source(manifest: Mapping[str, Any]) -> str:
    """How many rows the lists have, and from where."""
    sources: Mapping[str, int] = manifest["sources"]
    each = ", ".join(f"{count:,} {name}" for name, count in sources.items())
    return f"{sum(sources.values()):,} rows: {each}"


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a run was made from and came to, by name, in plain words."""
    source, gate = manifest["input"], manifest["gate"]
    verdict, by = Verdict.read(gate), gate.get("promoted_by")
    stale = f"; stale: {source['stale_reason']}" if source["stale_input"] else ""
    return {
        "verdict": f"{verdict.verdict}: {'; '.join(verdict.against)}",
        **({"promoted by": f"{by['by']} at {by['at']}: {by['reason']}"} if by else {}),
        "input": f"{source['dataset']} from {source['origin']} ({trusted(source['trust'])}){stale}",
        "ratings": _ratings(source),
        "lists": rows_by_source(manifest),
    }


def _ratings(source: Mapping[str, Any]) -> str:
    return (
        f"{source['ratings']:,} ratings, {source['users']:,} users, {source['items']:,} items; "
        f"{source['refused']:,} rows refused, {source['repeated']:,} repeated"
    )


def gate_rows(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """check, finding and reason, the worst first."""
    found = manifest["gate"]["findings"]
    return [{"check": each["check"], "finding": each["verdict"], "reason": each["reason"]} for each in found]


def table_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """table, rows, files and bytes of each published table."""
    rows: dict[str, dict[str, Any]] = {}
    for entry in manifest["files"]:
        table, _, part = entry["path"].partition("/")
        if table in TABLES and part.startswith("part-"):
            row = rows.setdefault(table, {"table": table, "rows": 0, "files": 0, "bytes": 0})
            row |= {
                "rows": row["rows"] + entry["rows"],
                "files": row["files"] + 1,
                "bytes": row["bytes"] + entry["bytes"],
            }
    return list(rows.values())


def metric_rows(record: Mapping[str, Any], before: Before | None) -> list[dict[str, str]]:
    """metric, value and baseline with their intervals; of a manifest.

    Args:
        before: the run it was compared with; two columns more then.
    """
    beside: dict[str, Mapping[str, Any]] = {"baseline": baselines(record)}
    if before is not None:
        beside |= {"last night": before.metrics, "change": before.differences}
    return [
        {"metric": name, "value": _with_interval(record["metrics"][name])}
        | {column: _with_interval(values.get(name)) for column, values in beside.items()}
        for name in SHOWN
        if name in record["metrics"]
    ]


@dataclass(frozen=True)
class Before:
    """The run that was published when another was made, which was compared with it.

    Attributes:
        run_id, run_date: its own.
        users: on whom both were measured, the same hold-out for both.
        metrics: by id, of its own night; empty where it is gone.
        differences: by id, on those users: the later run's less this one's.
    """

    run_id: str
    run_date: str
    users: int
    metrics: Mapping[str, Any]
    differences: Mapping[str, Any]

    @property
    def told(self) -> str:
        """What the figures of last night and the change are."""
        return f"last night: run {self.run_id} of {self.run_date}; change: on the same hold-out of {self.users:,} users"


def before(store: Store, folder: Path) -> Before | None:
    """Whom a run that was made to its end was compared with; None where it was compared with nobody."""
    champion = json.loads(store.here(folder, "evaluation.json").read_text())["champion"]
    if "differences" not in champion:
        return None
    run_id, run_date = champion["run_id"], champion["run_date"]
    theirs = store.run_folder(date.fromisoformat(run_date), run_id)
    metrics = read_manifest(theirs)["metrics"] if (theirs / MANIFEST).exists() else {}
    return Before(run_id, run_date, champion["users"], metrics, champion["differences"])


def baselines(record: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each metric of the baseline that has it."""
    return {name: value for values in record["baselines"].values() for name, value in values.items()}


def trial_rows(tuned: Tuned) -> list[dict[str, Any]]:
    """number, figure and settings of each trial of a search that has a figure, the best first."""
    measured = [trial for trial in tuned.trials if trial.figure is not None]
    measured.sort(key=lambda trial: (trial.figure or 0.0) * (-1 if tuned.role == "ranker" else 1))
    return [{"trial": trial.number, tuned.metric: trial.figure, **trial.chosen} for trial in measured]


def _with_interval(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    bounds = f" [{value['low']:.4f}, {value['high']:.4f}]" if "low" in value else ""
    return f"{value['value']:.4f}{bounds}"
