"""The ratings of an input, written by (user_index, item_index)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.prepare.arrays import ArrayWriter
from recsys.prepare.given_holdout import Joined
from recsys.prepare.shuffle import Bucket, shuffle
from recsys.prepare.split import Mask

KINDS: dict[str, type] = {
    "item_index": np.int32, "rating": np.float32, "timestamp": np.int64, "held_out": np.bool_, "row": np.int64,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sorted:
    """What sorting has shown.

    Attributes:
        indptr: (n_users + 1,) int64, where each user's ratings begin.
        repeated: own rows (those of no given hold-out) that a later own row replaces.
        dropped: the places in the input of rows that a later one replaces, ascending; empty unless rows were kept.
        lowest, highest: rating.
    """

    indptr: NDArray[np.int64]
    repeated: int
    dropped: NDArray[np.int64]
    lowest: float
    highest: float


def sort_ratings(
    folder: Path, work: Path, joined: Joined, hold_out: Callable[[Bucket], Mask] | None, *, memory: int, threads: int
) -> Sorted:
    """Write indptr, item_index, rating, timestamp, held_out, seen_indptr and seen_item_index into `folder`.

    Args:
        work: an existing, empty folder for what is needed only meanwhile.
        hold_out: marks the hold-out of some users' ratings; None: instead each rating's place in the input is
            written, as row.npy in `work`.
        memory: bytes for the ratings under way.
    """
    names = ["item_index", "rating", *(["timestamp"] if joined.timed else [])]
    found = _Found()
    with ExitStack() as stack:

        def create(name: str, folder: Path) -> ArrayWriter:
            return stack.enter_context(ArrayWriter(folder / f"{name}.npy", KINDS[name]))

        files = {name: create(name, folder) for name in names}
        marks = create("held_out", folder) if hold_out else create("row", work)
        for bucket in shuffle(joined, work, with_rows=hold_out is None, memory=memory, threads=threads):
            for name, file in files.items():
                file.append(getattr(bucket, name))
            marks.append(hold_out(bucket) if hold_out else bucket.row)
            found.add(bucket)
    return found.write(folder)


class _Found:
    """What is kept of the buckets: a number a user, and the few rows that were no ratings."""

    def __init__(self) -> None:
        self.repeated = 0
        self._sizes: list[NDArray[np.int64]] = []
        self._dropped: list[NDArray[np.int64]] = []
        self._seen_users: list[NDArray[np.int32]] = []
        self._seen_items: list[NDArray[np.int32]] = []
        self._bounds: list[float] = []

    def add(self, bucket: Bucket) -> None:
        self.repeated += bucket.repeated
        self._sizes.append(np.diff(bucket.indptr))
        self._dropped.append(bucket.dropped)
        self._seen_users.append(bucket.seen_user_index)
        self._seen_items.append(bucket.seen_item_index)
        if len(bucket.rating):
            self._bounds += [float(np.min(bucket.rating)), float(np.max(bucket.rating))]

    def write(self, folder: Path) -> Sorted:
        indptr = _edges(np.concatenate(self._sizes))
        seen_rows = np.bincount(np.concatenate(self._seen_users), minlength=len(indptr) - 1)
        np.save(folder / "indptr.npy", indptr)
        np.save(folder / "seen_indptr.npy", _edges(seen_rows))
        np.save(folder / "seen_item_index.npy", np.concatenate(self._seen_items))
        dropped = np.sort(np.concatenate(self._dropped))
        return Sorted(indptr, self.repeated, dropped, min(self._bounds), max(self._bounds))


def _edges(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
