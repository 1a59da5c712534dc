"""A run in a few lines of Markdown and a table of its metrics, for the Prefect page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys.tune.tuning import Tuned

from recsys.store import TABLES

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
        *(f"- {reason}" for reason in gate["reasons"]),
        "",
        f"**Input** {source['dataset']} from `{source['origin']}` ({source['trust']})"
        + (f", **stale**: {source['stale_reason']}" if source["stale_input"] else ""),
        "",
        f"{source['ratings']:,} ratings, {source['users']:,} users, {source['items']:,} items; "
        f"{source['refused']:,} rows refused, {source['repeated']:,} repeated.",
        "",
        f"**Lists** {sum(manifest['sources'].values()):,} rows: "
        + ", ".join(f"{count:,} {name}" for name, count in manifest["sources"].items()),
        "",
        f"Run `{manifest['run_id']}`" + (f" in `{address}`" if address else ""),
        *_promoted(gate),
    ]
    return "\n".join(lines)


def _promoted(gate: Mapping[str, Any]) -> list[str]:
    by = gate.get("promoted_by")
    return ["", f"**Promoted by {by['by']}** at {by['at']}: {by['reason']}"] if by else []


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


def metric_rows(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """metric, value with its interval, and the baseline's value; of a manifest or an evaluation."""
    baselines: dict[str, Any] = {}
    for values in record["baselines"].values():
        baselines |= values
    return [
        {
            "metric": name,
            "value": _with_interval(record["metrics"][name]),
            "baseline": _with_interval(baselines[name]) if name in baselines else "",
        }
        for name in SHOWN
        if name in record["metrics"]
    ]


def trial_rows(tuned: Tuned) -> list[dict[str, Any]]:
    """number, figure and settings of each trial of a search that has a figure, the best first."""
    measured = [trial for trial in tuned.trials if trial.figure is not None]
    measured.sort(key=lambda trial: (trial.figure or 0.0) * (-1 if tuned.role == "ranker" else 1))
    return [{"trial": trial.number, tuned.metric: trial.figure, **trial.chosen} for trial in measured]


def _with_interval(value: Mapping[str, float]) -> str:
    bounds = f" [{value['low']:.4f}, {value['high']:.4f}]" if "low" in value else ""
    return f"{value['value']:.4f}{bounds}"
