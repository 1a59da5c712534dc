"""What has happened to a complete run's files since its manifest was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.errors import RecsysError, UsageError, sample
from recsys.publish.manifest import sealed_manifest, sha256_of
from recsys.store import MANIFEST, REFUSED


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


def find_damage(folder: Path, name: str = MANIFEST) -> Damage:
    """Compare every file of a run with its manifest, and that with its own seal; reads all of them.

    Args:
        name: of the manifest, where the gate has refused the run.
    """
    manifest = _manifest_or_damage(folder, name)
    if isinstance(manifest, Damage):
        return manifest
    wanted = {entry["path"]: entry for entry in manifest["files"]}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST, REFUSED}
    both = sorted(found & set(wanted))
    with ThreadPoolExecutor() as pool:  # hashlib releases the GIL
        same = list(pool.map(lambda path: _is_as_named(folder / path, wanted[path]), both))
    return Damage(
        len(wanted),
        changed=tuple(path for path, fits in zip(both, same, strict=True) if not fits),
        missing=tuple(sorted(set(wanted) - found)),
        added=tuple(sorted(found - set(wanted))),
    )


def find_damage_by_size(folder: Path, entries: Iterable[Mapping[str, Any]]) -> Damage:
    """Compare only the sizes of some of a manifest's files: a look that costs a reader nothing."""
    sizes = {entry["path"]: (entry["bytes"], _size_of(folder / entry["path"])) for entry in entries}
    missing = tuple(path for path, (_, found) in sizes.items() if found is None)
    changed = tuple(path for path, (wanted, found) in sizes.items() if found not in (None, wanted))
    return Damage(len(sizes), changed=changed, missing=missing)


def damaged_run(folder: Path, damage: Damage) -> DamagedRun:
    """The message of it, with what mends it."""
    night = folder.parent.name.removeprefix("run_date=")
    return DamagedRun(
        f"Run {folder.name.removeprefix('run_id=')} is damaged.",
        expected=f"{damage.files or 'all'} files as in {folder / MANIFEST}",
        found=str(damage),
        todo="do not read its tables (`recsys runs verify` compares all of them); "
        f"`recsys run --run-date {night}` with the same input and configuration finds it damaged and rebuilds it",
    )


def _manifest_or_damage(folder: Path, name: str) -> dict[str, Any] | Damage:
    if not (folder / name).exists():
        return Damage(0, missing=(name,))
    try:
        return sealed_manifest(folder, name)
    except UsageError:
        return Damage(0, changed=(name,))


def _is_as_named(path: Path, entry: Mapping[str, Any]) -> bool:
    try:
        return path.stat().st_size == entry["bytes"] and sha256_of(path) == entry["sha256"]
    except OSError:  # a file that cannot be read is of no more use than a changed one
        return False


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
