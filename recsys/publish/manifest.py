"""The manifest: what a run was made from, what it made, and how good it is. It is written last."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recsys.gate.stage import GATE
from recsys.identity import code_version
from recsys.rules.policy import Rules
from recsys.run import Run
from recsys.score.stage import rules_effects
from recsys.store import MANIFEST, REFUSED, sha256_of
from recsys.store.manifest import seal
from recsys.tables import SCHEMA_VERSION

LIBRARIES = (
    "prefect", "tensorflow", "tensorflow-cpu", "keras", "numpy", "scipy", "numba", "pandas", "pyarrow", "scikit-learn",
)  # fmt: skip


def build_manifest(run: Run, sources: Mapping[str, int]) -> dict[str, Any]:
    """The manifest of a run whose files all stand."""
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    counts = asdict(run.prepared.counts)
    return seal(
        {
            "schema_version": SCHEMA_VERSION,
            "run_id": run.run_id,
            "run_date": run.run_date.isoformat(),
            "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": code_version(),
            "input": _input(run) | counts,
            "config": run.effective_config,
            "seed": run.config.seed,
            "id_map_sha256": run.prepared.ids.sha256,
            "versions": library_versions(),
            "metrics": evaluation["metrics"],
            "baselines": evaluation["baselines"],
            "gate": json.loads((run.folder / GATE).read_text()),
            "sources": dict(sources),
            **_rules(run),
            "timings": timings(run),
            "memory_mib": {"budget": run.config.compute.memory_mib},
            "files": list_files(run.folder),
        }
    )


def list_files(folder: Path) -> list[dict[str, Any]]:
    """Every file of a run but the manifest, by path: bytes, SHA-256, and rows where it is Parquet."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST, REFUSED))
    with ThreadPoolExecutor() as pool:  # hashlib releases the GIL
        return list(pool.map(lambda path: describe_file(path, folder), paths))


def describe_file(path: Path, folder: Path) -> dict[str, Any]:
    """One file's entry."""
    entry = {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return entry | ({"rows": pq.read_metadata(path).num_rows} if path.suffix == ".parquet" else {})


def library_versions() -> dict[str, str]:
    """Python and the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu, never both
            continue
    return found


def timings(run: Run) -> dict[str, Any]:
    """Seconds and peak memory by stage; a stage that a killed run had sealed keeps that run's."""
    records = sorted((run.work / "stages").glob("*.json"))
    return {record.stem: json.loads(record.read_text()) for record in records}


def _rules(run: Run) -> dict[str, Any]:
    """What the rules spoke of and what they changed; nothing where there are none."""
    rules, effects = Rules.of_run(run.folder), rules_effects(run)
    if rules is None or effects is None:
        return {}
    lists = {name: int(getattr(effects, name)) for name in ("lists", "changed", "short", "rows_without", "rows")}
    each = [
        touch | {f"rows_{name}": int(getattr(effects, name)[at]) for name in ("removed", "added", "moved")}
        for at, touch in enumerate(rules.record["rules"])
    ]
    return {"rules": {"sha256": rules.record["sha256"], "lists": lists, "rules": each}}


def _input(run: Run) -> dict[str, Any]:
    snapshots = {"ratings": run.snapshot} | ({"test_ratings": run.holdout} if run.holdout else {})
    described = {
        name: {
            "dataset": snapshot.dataset,
            "origin": snapshot.origin,
            "trust": snapshot.trust,
            "fingerprint": snapshot.fingerprint,
            "stale_input": snapshot.stale,
            "stale_reason": snapshot.stale_reason,
        }
        for name, snapshot in snapshots.items()
    }
    return described.pop("ratings") | ({"test_ratings": described["test_ratings"]} if run.holdout else {})
