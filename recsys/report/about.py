"""What the run is: where its input came from, its configuration, and what the metrics mean."""

from __future__ import annotations

import json

from recsys.identity import code_version
from recsys.publish.manifest import library_versions
from recsys.report.blocks import Group, Section, Table
from recsys.report.source import Source
from recsys.report.text import shown
from recsys.summary import trusted


def section(source: Source) -> Section:
    """Tables."""
    run, snapshot = source.run, source.run.snapshot
    rows = [
        ["Run", run.run_id], ["Night", run.run_date.isoformat()], ["Dataset", shown(snapshot.dataset)],
        ["From", f"{shown(snapshot.origin)} ({trusted(snapshot.trust)})"], ["Fingerprint", snapshot.fingerprint],
        ["Code", code_version()], ["Seed", str(run.config.seed)],
    ]  # fmt: skip
    stale = [["Stale input", shown(snapshot.stale_reason)]] if snapshot.stale else []
    config = [
        [f"{section}.{key}", shown(json.dumps(value, ensure_ascii=False))]
        for section, values in run.effective_config.items()
        if isinstance(values, dict) and section != "models"
        for key, value in values.items()
    ]
    versions = [[name, version] for name, version in library_versions().items()]
    formulas = [[name, text] for name, text in source.evaluation.get("formulas", {}).items()]
    return Section(
        "about", "About this run",
        [
            Table("Where it comes from", ["What", "Value"], [*rows, *stale], words=[1]),
            Group("Configuration", [Table("Configuration", ["Key", "Value"], config, words=[1])], folded=True),
            Group("Libraries", [Table("Versions", ["Library", "Version"], versions, words=[1])], folded=True),
            Group("The metrics", [Table("Formulas", ["Metric", "Is"], formulas, words=[1])], folded=True),
        ],
    )  # fmt: skip
