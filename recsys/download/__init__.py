"""The stage `download`: ratings from a public archive, a mirror, own files or the generator, as a snapshot that lies still."""

from __future__ import annotations

from recsys.download.catalogue import DATASETS, DEMO, Dataset
from recsys.download.copies import Copy, known_snapshots
from recsys.download.snapshot import take_snapshot

__all__ = ["DATASETS", "DEMO", "Copy", "Dataset", "known_snapshots", "take_snapshot"]
