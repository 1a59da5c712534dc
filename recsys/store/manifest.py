"""A run's manifest as it lies: read, and sealed with a hash of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.errors import UsageError
from recsys.store.layout import MANIFEST

SEAL = "manifest_sha256"  # over the manifest's other keys


def read_manifest(folder: Path, name: str = MANIFEST) -> dict[str, Any]:
    """The manifest of a complete run, or by its name that of a refused one.

    Raises:
        UsageError: it is missing or cannot be read.
    """
    try:
        return json.loads((folder / name).read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The run in {folder} has no readable manifest.",
            expected=name,
            found=str(error),
            todo="choose a complete run; `recsys runs list` shows them",
        ) from error


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with a hash of its own content, so that damage to itself is found too."""
    content = {name: value for name, value in manifest.items() if name != SEAL}
    return {**content, SEAL: _content_hash(content)}


def sealed_manifest(folder: Path, name: str = MANIFEST) -> dict[str, Any]:
    """The manifest of a complete run, or by its name that of a refused one, as it was written.

    Raises:
        UsageError: it is missing, cannot be read, or was changed since.
    """
    manifest = read_manifest(folder, name)
    if not is_sealed(manifest):
        raise UsageError(
            f"The manifest of the run in {folder} was changed since it was written.",
            expected=f"a {name} that fits its own hash, {SEAL}",
            found="another content",
            todo="`recsys runs verify` compares all files of a run",
        )
    return manifest


def is_sealed(manifest: Any) -> bool:
    """Whether a manifest is as it was written."""
    if not isinstance(manifest, dict):
        return False
    content = {name: value for name, value in manifest.items() if name != SEAL}
    return manifest.get(SEAL) == _content_hash(content)


def _content_hash(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
