"""How a night ended, on standard error: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from deployments.cli.console import console, drawn, hung, verdict_text, visible
from recsys.gate.verdict import Verdict
from recsys.report import PAGE
from recsys.store import MANIFEST, Store
from recsys.store.manifest import read_manifest
from recsys.summary import SHOWN, Before, baselines, before, metric_rows, rows_by_source

LESS_IS_BETTER = ("gini@10", "rmse", "mae")


def tell_night(store: Store, folder: Path, outcome: str, name: str = MANIFEST) -> dict[str, Any]:
    """Tell of a run that was made to its end: the verdict first, where the tables are last.

    Args:
        outcome: in words.
        name: of its manifest, which is returned.
    """
    manifest, last = read_manifest(folder, name), before(store, folder)
    address = visible(store.shown(folder))
    (_draw if console.is_terminal else _list)(manifest, last)
    _line("lists", rows_by_source(manifest))
    _line("report", f"{address}/{PAGE}")
    run = f"run {manifest['run_id']} of {manifest['run_date']}"
    console.print(Text(f"{run} is {outcome}: {address}/recommendations"), soft_wrap=True)
    return manifest


def _line(label: str, text: str) -> None:
    console.print(Text(f"  {label:<13} {text}"), soft_wrap=True)  # a path that a terminal breaks is still copied whole


def _list(manifest: Mapping[str, Any], last: Before | None) -> None:
    verdict = Verdict.read(manifest["gate"])
    _line("verdict", f"{verdict.verdict}; {visible('; '.join(verdict.against))}")
    for row in metric_rows(manifest, last):
        beside = f"  last night {row['last night']}" if row.get("last night") else ""
        _line(row["metric"], f"{row['value']:<28} baseline {row['baseline']:<{25 if beside else 0}}{beside}")


def _draw(manifest: Mapping[str, Any], last: Before | None) -> None:
    verdict = Verdict.read(manifest["gate"])
    console.print(Text(f"\nNight of {manifest['run_date']}: ", style="bold") + verdict_text(verdict.verdict))
    for reason in verdict.against:
        hung(Text("-"), Text(visible(reason)))
    console.print(drawn(metric_cells(manifest, last)))
    if last is not None:
        console.print(Text(last.told, style="dim"))


def metric_cells(manifest: Mapping[str, Any], last: Before | None) -> dict[str, list[Text]]:
    """The cells of the table, column by column; those of last night only where there was one."""
    metrics, names = manifest["metrics"], [name for name in SHOWN if name in manifest["metrics"]]
    columns = {
        "metric": [Text(name) for name in names],
        "tonight": [_value(metrics.get(name)) for name in names],
        "interval": [_interval(metrics[name]) for name in names],
        "baseline": [_value(baselines(manifest).get(name)) for name in names],
    }
    if last is not None:
        columns["last night"] = [_value(last.metrics.get(name)) for name in names]
        columns["change"] = [_change(name, last.differences.get(name)) for name in names]
    return columns


def _value(value: Mapping[str, float] | None) -> Text:
    return Text("" if value is None else f"{value['value']:.4f}")


def _interval(value: Mapping[str, float]) -> Text:
    return Text(f"[{value['low']:.4f}, {value['high']:.4f}]" if "low" in value else "")


def _change(name: str, value: Mapping[str, float] | None) -> Text:
    """Green or red where it is certain which side is better."""
    if value is None:
        return Text()
    certain = "low" in value and (value["low"] > 0 or value["high"] < 0)
    better = (value["value"] < 0) == (name in LESS_IS_BETTER)
    return Text(f"{value['value']:+.4f}", style=("green" if better else "red") if certain else "")
