"""The dataset `demo`, generated once for each size and seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import recsys.demo
from recsys.config import DemoConfig
from recsys.download.catalogue import DEMO, HALF_STARS, MOVIES_CSV, RATINGS_CSV
from recsys.download.copies import PREFIX, Copy, Source, keep, known_snapshots, locked
from recsys.download.hashing import combined, fingerprint, sha256_file
from recsys.download.unpack import Member
from recsys.ratings import Snapshot


def take_demo(config: DemoConfig, raw: Path) -> Snapshot:
    """The generated ratings of that configuration: made now, or as they stand from an earlier run.

    Raises:
        UsageError: that size cannot be generated.
    """
    key = _key(config)
    with locked(raw / DEMO):
        copies = known_snapshots(raw, DEMO)
        standing = next((copy for copy in copies if copy.folder.name == key[:PREFIX]), None)
        copy = standing or keep(raw / DEMO, lambda folder: _generate(config, folder, key))
    return _snapshot(copy)


def _key(config: DemoConfig) -> str:
    """A SHA-256 (hex) over the configuration and the generator's source: another generator makes other ratings."""
    folder = Path(recsys.demo.__file__).parent
    source = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.py"))]
    return combined([config.model_dump_json(), *source])


def _generate(config: DemoConfig, folder: Path, key: str) -> Source:
    recsys.demo.generate(config, folder)
    members = tuple(
        Member(path.name, path.stat().st_size, sha256_file(path)) for path in sorted(folder.iterdir()) if path.is_file()
    )
    origin = f"generated: {config.users} users, {config.items} items, {config.ratings} ratings, seed {config.seed}"
    return Source(DEMO, origin, "generated", sum(member.bytes for member in members), "", key, members)


def _snapshot(copy: Copy) -> Snapshot:
    names = [member.name for member in copy.source.members]
    ratings = [name for name in names if name.startswith("ratings")]
    items = [name for name in names if name.startswith("items")]
    return Snapshot(
        dataset=DEMO,
        ratings=tuple(map(copy.path, ratings)),
        items=tuple(map(copy.path, items)),
        ratings_format=RATINGS_CSV,
        items_format=MOVIES_CSV,
        scale=HALF_STARS,
        fingerprint=fingerprint(map(copy.sha256, ratings), map(copy.sha256, items), RATINGS_CSV, MOVIES_CSV),
        origin=copy.source.origin,
        trust="generated",
    )
