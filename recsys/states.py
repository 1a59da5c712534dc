"""How far a run has come, read from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recsys.errors import UsageError
from recsys.gate.verdict import Verdict
from recsys.store import MANIFEST, REFUSED
from recsys.store.layout import REFUSAL
from recsys.store.manifest import sealed_manifest

Name = Literal["complete", "damaged", "refused by the gate", "input refused", "unfinished"]


@dataclass(frozen=True)
class State:
    """Where a run stands, and why, in words; of a complete or refused one with its manifest."""

    name: Name
    reason: str
    manifest: Mapping[str, Any] = field(default_factory=dict)


def state_of(folder: Path) -> State:
    """The state of a run's folder; of a complete run's files only the manifest is read, so it may be damaged."""
    if (folder / MANIFEST).exists():
        return _by_manifest(folder)
    refusal = _record(folder / REFUSAL)
    if refusal:
        return State("input refused", f"{refusal['what']} {refusal['found']}".strip())
    refused = _record(folder / REFUSED)
    if refused:
        verdict = Verdict.read(refused["gate"])
        return State("refused by the gate", f"{verdict.verdict}: {'; '.join(verdict.blocking)}", refused)
    made = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.suffix == "")
    stands = ", ".join(made) or "nothing"
    return State("unfinished", f"being made, killed or failed; the same night run again goes on; made: {stands}")


def may_go_on(state: State) -> bool:
    """Whether running the same night again would use what the run has in `work/`."""
    return state.name == "unfinished"


def _by_manifest(folder: Path) -> State:
    try:
        manifest = sealed_manifest(folder)
    except UsageError as error:
        return State("damaged", f"{MANIFEST}: {error.found}")
    return State("complete", "; ".join(manifest["gate"]["reasons"]), manifest)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
