"""The figures of the last run in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.errors import SourceUnavailable, UsageError
from recsys.gate.stage import DRIFT
from recsys.gate.verdict import SEVERITY
from recsys.run import Run
from recsys.store import MANIFEST, REFUSED, write_whole
from recsys.store.manifest import read_manifest

log = logging.getLogger("recsys")

METRICS = {
    "ndcg@10": "Ranking quality of the lists on the hold-out",
    "rmse": "Root mean square error of the predicted ratings on the hold-out",
    "coverage@10": "Share of the items that stand in some list",
}
DRIFT_FIGURES = {
    "list_overlap": "Share of a user's list that stayed since the published run.",
    "list_rbo": "Rank-biased overlap of the lists with those of the published run.",
    "rating_psi": "Population stability index of the ratings since the published run.",
    "new_users": "Users that the published run has not.",
    "vanished_users": "Users of the published run that are gone.",
}
MIB = 1 << 20
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Gauge:
    """One metric with its samples; Prometheus wants all lines of a metric together, after its HELP and TYPE."""

    name: str
    help: str
    samples: Sequence[tuple[Labels, float]]

    def lines(self, common: Labels) -> Iterator[str]:
        """As they stand in the file; samples that are not finite are left out."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} gauge"
        for labels, value in self.samples:
            if math.isfinite(value):
                named = ",".join(f'{name}="{_escaped(text)}"' for name, text in {**common, **labels}.items())
                yield f"{self.name}{{{named}}} {value!r}"


def leave_figures(run: Run, file: Path) -> None:
    """Replace the file as a whole; a folder that cannot be written to is told in the log and stops no night.

    A run that was not made to its end leaves the figures of the last one.
    """
    if not run.made:
        return
    manifest = read_manifest(run.folder, MANIFEST if run.complete else REFUSED)
    drift = json.loads(run.home.here(run.folder, DRIFT).read_text())
    shown = _shown(run)
    # Several stores may be watched on one machine, a file each.
    lines = [line for gauge in gauges(manifest, drift, shown) for line in gauge.lines({"store": run.home.name})]
    try:
        write_whole(file, "\n".join(lines) + "\n")
    except OSError as error:
        log.warning("the figures for Prometheus cannot be written to %s: %s", file, error.strerror or error)


def _shown(run: Run) -> Mapping[str, Any] | None:
    """The manifest of the run that readers see; None where there is none."""
    try:
        pointer = run.home.current()
        return None if pointer is None else read_manifest(run.store / pointer.path)
    except (UsageError, SourceUnavailable):
        return None


def gauges(manifest: Mapping[str, Any], drift: Mapping[str, Any], shown: Mapping[str, Any] | None) -> list[Gauge]:
    """All metrics of a run.

    Args:
        manifest: of the run, complete or refused.
        drift: as `recsys.drift.figures.figures` returns it.
        shown: the manifest of the run that is published.
    """
    source, verdict = manifest["input"], manifest["gate"]["verdict"]
    stages = {name: timing for name, timing in manifest["timings"].items() if "seconds" in timing}
    return [
        Gauge("recsys_run_info", "The last run; always 1.", [(_info(manifest), 1)]),
        _one("recsys_run_date_seconds", "Midnight, UTC, of the night the run is for.", _seconds(manifest["run_date"])),
        _one("recsys_run_finished_timestamp_seconds", "When its tables were made.", _seconds(manifest["published_at"])),
        *_of_shown(manifest, shown),
        Gauge(
            "recsys_run_verdict",
            "The gate's verdict: 1 for the one it gave.",
            [({"verdict": name}, int(name == verdict)) for name in SEVERITY],
        ),
        *_metrics(manifest["metrics"]),
        *_drift(drift),
        _one("recsys_run_input_ratings", "Valid ratings read.", source["ratings"]),
        _one(
            "recsys_run_input_refused_share",
            "Refused rows of all rows read.",
            _share(source["refused"], source["rows_read"]),
        ),
        _one(
            "recsys_run_input_stale", "1 where the last good copy stood in for the source.", int(source["stale_input"])
        ),
        _one("recsys_run_users", "Users with a list.", source["users"]),
        _one("recsys_run_items", "Items with a rating.", source["items"]),
        Gauge(
            "recsys_run_rows",
            "Rows of the recommendations, by where they come from.",
            [({"source": name}, count) for name, count in manifest["sources"].items()],
        ),
        Gauge(
            "recsys_run_stage_seconds",
            "Wall seconds of each stage.",
            [({"stage": name}, timing["seconds"]) for name, timing in stages.items()],
        ),
        _one(
            "recsys_run_peak_memory_bytes",
            "The most that a process of the run had resident.",
            max((timing["peak_memory_mib"] for timing in stages.values()), default=0) * MIB,
        ),
    ]


def _one(name: str, help: str, value: float) -> Gauge:
    return Gauge(name, help, [({}, value)])


def _info(manifest: Mapping[str, Any]) -> Labels:
    train = manifest["config"]["train"]
    return {
        "run_id": manifest["run_id"],
        "run_date": manifest["run_date"],
        "dataset": manifest["input"]["dataset"],
        "ranker": train["ranker"],
        "rater": train["rater"],
    }


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> list[Gauge]:
    """The metrics one looks at every day, with the ends of their intervals where they have one."""
    return [
        _one(f"recsys_run_{name.replace('@', '_at_')}{ending}", f"{help}{place}", metrics[name][key])
        for name, help in METRICS.items()
        for key, ending, place in (
            ("value", "", "."),
            ("low", "_low", ", lower bound."),
            ("high", "_high", ", upper bound."),
        )
        if key in metrics.get(name, {})
    ]


def _of_shown(manifest: Mapping[str, Any], shown: Mapping[str, Any] | None) -> list[Gauge]:
    now = shown is not None and shown["run_id"] == manifest["run_id"]
    found = [_one("recsys_run_is_published", "1 where readers see this run, 0 where an earlier one.", int(now))]
    if shown is not None:
        at, help = _seconds(shown["published_at"]), "When the tables that readers see were made."
        found.append(_one("recsys_published_timestamp_seconds", help, at))
    return found


def _drift(drift: Mapping[str, Any]) -> list[Gauge]:
    change = drift["change"] or {}
    return [
        _one(f"recsys_run_{name}", help, change[name])
        for name, help in DRIFT_FIGURES.items()
        if change.get(name) is not None
    ]


def _seconds(moment: str) -> float:
    """Unix time of an ISO date (midnight, UTC) or moment."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
