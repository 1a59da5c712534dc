"""What makes two runs the same: input, configuration, code and date, but not where and how they run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import recsys
from recsys.config import RunConfig
from recsys.models.registry import settings_of
from recsys.ratings import Snapshot

# Where and how a run is made; none of it may change a table.
ELSEWHERE = {"store", "engine", "scheduler", "compute", "download", "monitor", "run_date"}


def effective_config(config: RunConfig, top_items: int, rules: str | None = None) -> dict[str, Any]:
    """The configuration that decides the tables, with model settings filled in and the number of items resolved.

    Args:
        rules: the fingerprint of the rules; None where there are none.
    """
    values = config.model_dump(mode="json", exclude=ELSEWHERE)
    if config.input.dataset != "demo":
        values.pop("demo")
    for place in ("ratings", "items"):
        values["input"].pop(place)  # a path is where, the fingerprint is what
    values["prepare"].pop("test_ratings")
    values["train"].pop("incremental")  # another way to the same tables
    values.pop("rules")
    if rules is not None:
        values["rules"] = {"sha256": rules}
    values["prepare"]["top_items"] = top_items
    names = (config.train.ranker, config.train.rater)
    values["models"] = {name: settings_of(name, config.models.get(name, {})).model_dump(mode="json") for name in names}
    return values


def run_id(snapshots: list[Snapshot], effective: dict[str, Any], run_date: date) -> str:
    """16 hex digits of a SHA-256 over the inputs' fingerprints, the configuration, the code version and the date."""
    return _digest(snapshots, effective, {"run_date": run_date.isoformat()})


def experiment_key(snapshots: list[Snapshot], effective: dict[str, Any], models: Mapping[str, Any]) -> str:
    """16 hex digits likewise, of models tried on one split: of no night, and of nothing that only lists depend on."""
    decides = {name: effective[name] for name in ("input", "prepare", "evaluate", "seed")}
    return _digest(snapshots, decides, {"models": models})


def _digest(snapshots: list[Snapshot], config: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    inputs = [snapshot.fingerprint for snapshot in snapshots]
    parts = {"inputs": inputs, "config": config, "code": code_version(), **more}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def code_version() -> str:
    """The version, and a hash of the library's source, so that changed code is another run."""
    digest = hashlib.sha256()
    root = Path(recsys.__file__).parent
    sources = [path for path in root.rglob("*") if path.suffix in (".py", ".html", ".css", ".js")]  # the report's too
    for path in sorted(sources):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{recsys.__version__}+{digest.hexdigest()[:12]}"
