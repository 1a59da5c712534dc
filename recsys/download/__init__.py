"""The stage `download`: ratings of an archive, of own files or of the generator, as a snapshot that lies still."""

from __future__ import annotations

from recsys.download.catalogue import DATASETS, DEMO, Dataset
from recsys.download.copies import Copy, known_snapshots
from recsys.download.snapshot import take_snapshot

__all__ = ["DATASETS", "DEMO", "Copy", "Dataset", "known_snapshots", "take_snapshot"]
