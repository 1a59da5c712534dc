"""What has been measured, a JSON file a piece, so that a broken-off command goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.identity import code_version
from recsys.publish.manifest import library_versions
from recsys.store import write_whole

FOLDER = Path(__file__).resolve().parents[1] / "build" / "reproduction"

Figures = dict[str, Any]
Record = dict[str, Any]


def keep(folder: Path, name: str, measure: Callable[[], Figures], *, threads: int, fresh: bool = False) -> Record:
    """The record of that name; it is measured where there is none, or `fresh` asks for it.

    Returns:
        name, figures, and under what they were measured: code, versions, date, threads, load (processes that wanted a
        core in the minute before), seconds.
    """
    path = folder / f"{name}.json"
    if path.exists() and not fresh:
        return dict(json.loads(path.read_text()))
    load, started = os.getloadavg()[0], time.monotonic()
    figures = measure()
    record = {
        "name": name, "figures": figures, "code": code_version(), "versions": library_versions(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"), "threads": threads, "load": round(load, 1),
        "seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record))
    return record


def records(folder: Path) -> list[Record]:
    """All that there are, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
