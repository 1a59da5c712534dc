"""A row a night, kept when the night's run is pruned: `<store>/nights` is read as one table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.store import sync_folder
from recsys.tables import NIGHTS, SOURCE_FOLD_IN, SOURCE_MODEL, SOURCE_POPULAR

FOLDER = "nights"
WITH_INTERVAL = ("ndcg@10", "rmse")
PLAIN = ("coverage@10", "novelty@10")


def write_night(store: Path, manifest: Mapping[str, Any], drift: Mapping[str, Any]) -> Path:
    """Write the row of a run, published or refused; again, in place of the one before.

    Args:
        manifest: of the run.
        drift: as `recsys.drift.figures.figures` returns it.
    """
    file = store / FOLDER / f"part-{manifest['run_date']}-{manifest['run_id']}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    pq.write_table(pa.Table.from_pylist([_row(manifest, drift)], schema=NIGHTS), fresh, compression="zstd")
    os.replace(fresh, file)
    sync_folder(file.parent)
    return file


def read_nights(store: Path) -> pa.Table:
    """All nights by (run_date, run_id); no rows where there is none."""
    parts = sorted((store / FOLDER).glob("part-*.parquet"))
    tables = [pq.read_table(part, schema=NIGHTS, partitioning=None) for part in parts]
    return pa.concat_tables(tables) if tables else NIGHTS.empty_table()


def _row(manifest: Mapping[str, Any], drift: Mapping[str, Any]) -> dict[str, Any]:
    now, change, metrics = drift["now"], drift["change"] or {}, manifest["metrics"]
    row: dict[str, Any] = {name: now.get(name, change.get(name)) for name in NIGHTS.names}
    row |= {name: manifest[name] for name in ("run_id",)} | {"run_date": date.fromisoformat(manifest["run_date"])}
    row |= {"verdict": manifest["gate"]["verdict"], "dataset": manifest["input"]["dataset"]}
    for source in (SOURCE_MODEL, SOURCE_FOLD_IN, SOURCE_POPULAR):
        row[f"rows_{source}"] = now["rows"][source]
    for name in (*WITH_INTERVAL, *PLAIN):
        found = metrics.get(name, {})
        row[name] = found.get("value")
        if name in WITH_INTERVAL:
            row |= {f"{name}_low": found.get("low"), f"{name}_high": found.get("high")}
    stages = manifest["timings"].values()
    row["seconds"] = sum(stage["seconds"] for stage in stages)
    row["peak_memory_mib"] = max((stage["peak_memory_mib"] for stage in stages), default=0)
    return row
