"""What has happened to a complete run's files since its manifest was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.errors import RecsysError, sample
from recsys.store import MANIFEST, REFUSED, run_date_of, run_id_of
from recsys.store.contents import Contents, LocalContents
from recsys.store.manifest import is_sealed


class DamagedRun(RecsysError):
    """Published files are not what their manifest says."""


@dataclass(frozen=True)
class Damage:
    """Paths below a run's folder, ascending; true where there are any.

    Attributes:
        files: how many files the manifest names.
    """

    files: int
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def __str__(self) -> str:
        parts = (("changed", self.changed), ("missing", self.missing), ("not in the manifest", self.added))
        return "; ".join(f"{what}: {sample(paths)}" for what, paths in parts if paths)


def find_damage(run: Path | Contents, name: str = MANIFEST) -> Damage:
    """Compare every file of a run with its manifest, and that with its own seal; reads all of them.

    Args:
        run: its folder, or its files wherever they are.
        name: of the manifest, where the gate has refused the run.
    """
    contents = LocalContents(run) if isinstance(run, Path) else run
    manifest = _manifest_or_damage(contents, name)
    if isinstance(manifest, Damage):
        return manifest
    wanted = {entry["path"]: entry for entry in manifest["files"]}
    found = contents.paths() - {MANIFEST, REFUSED}
    both = sorted(found & set(wanted))
    sizes = contents.sizes(both)
    sized = [path for path in both if sizes.get(path) == wanted[path]["bytes"]]
    with ThreadPoolExecutor() as pool:  # hashlib releases the GIL
        hashes = dict(zip(sized, pool.map(contents.sha256, sized), strict=True))
    return Damage(
        len(wanted),
        changed=tuple(path for path in both if hashes.get(path) != wanted[path]["sha256"]),
        missing=tuple(sorted(set(wanted) - found)),
        added=tuple(sorted(found - set(wanted))),
    )


def find_damage_by_size(run: Path | Contents, entries: Iterable[Mapping[str, Any]]) -> Damage:
    """Compare only the sizes of some of a manifest's files: a look that costs a reader nothing."""
    contents = LocalContents(run) if isinstance(run, Path) else run
    wanted = {entry["path"]: entry["bytes"] for entry in entries}
    found = contents.sizes(wanted)
    missing = tuple(path for path in wanted if path not in found)
    return Damage(len(wanted), changed=tuple(path for path in found if found[path] != wanted[path]), missing=missing)


def damaged_run(folder: Path, damage: Damage, shown: str | None = None) -> DamagedRun:
    """The message of it, with what mends it.

    Args:
        shown: where readers find the run, if that is not the folder.
    """
    night = run_date_of(folder)
    return DamagedRun(
        f"Run {run_id_of(folder)} is damaged.",
        expected=f"{damage.files or 'all'} files as in {shown or folder}/{MANIFEST}",
        found=str(damage),
        todo="do not read its tables (`recsys runs verify` compares all of them); "
        f"`recsys run --run-date {night}` with the same input and configuration finds it damaged and rebuilds it",
    )


def _manifest_or_damage(contents: Contents, name: str) -> dict[str, Any] | Damage:
    data = contents.read(name)
    if data is None:
        return Damage(0, missing=(name,))
    try:
        manifest = json.loads(data)
    except ValueError:
        manifest = None
    return manifest if is_sealed(manifest) else Damage(0, changed=(name,))
