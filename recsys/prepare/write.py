"""Writing the prepared folder, whatever the number of ratings: in memory are users and items, and some ratings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.compute import MIB, thread_count
from recsys.config import ComputeConfig, PrepareConfig
from recsys.errors import InputRefused
from recsys.prepare.arrays import ArrayWriter
from recsys.prepare.draws import Draws
from recsys.prepare.given_holdout import Joined, join_holdout
from recsys.prepare.parts import PartWriter
from recsys.prepare.prepared import PARTS, Counts, Prepared
from recsys.prepare.shards import Shard, cut
from recsys.prepare.shuffle import ROW_BYTES, Bucket, shuffle
from recsys.prepare.split import leave_last_split, per_user_split, random_split, time_split
from recsys.ratings import Scale
from recsys.read.stream import Stream

MEMORY_SHARE = 4  # of compute.memory_mib: the rest is for the libraries, the ids, and what other stages leave behind
ARRAYS = {"item_index": np.int32, "rating": np.float32, "timestamp": np.int64, "row": np.int64, "held_out": np.bool_}


def write_prepared(
    folder: Path,
    own: Stream,
    test: Stream | None,
    *,
    titles: Callable[[pa.Array], pa.Table],
    config: PrepareConfig,
    top_items: int,
    scale: Scale,
    seed: int,
    compute: ComputeConfig,
    accept: Callable[[int], None] = lambda ratings: None,
) -> Counts:
    """Sort the ratings by user, hold out, filter, and write the prepared folder.

    The bytes are the same for any blocks of the streams, threads and memory.

    Args:
        folder: an existing, empty folder.
        own: the ratings.
        test: a given hold-out, which is then never trained on; None draws one as `config` says.
        titles: gives the titles of item ids, a row each.
        top_items: number of items kept, 0 for all.
        scale: the declared scale.
        accept: told the number of own ratings, repeats left out, as soon as it is known; may refuse it.

    Raises:
        InputRefused: nothing is left to learn from, or the split needs timestamps and there are none.
    """
    joined = join_holdout(own, test)
    if not joined.given and config.split in ("leave-last", "time") and not joined.timed:
        raise _no_timestamps(config.split)
    threads, memory = thread_count(compute), compute.memory_mib * MIB // MEMORY_SHARE
    with TemporaryDirectory(dir=folder, prefix="work-") as work:
        found = _Sorter(folder, Path(work), joined, config, seed, memory, threads).write()
        accept(joined.own - found.repeated)
        ranges = cut(found.indptr, max(memory // (ROW_BYTES * (threads + 1)), 1), len(found.indptr))
        if config.split in ("random", "time") and not joined.given:
            _hold_out_later(folder, Path(work), found, ranges, config, seed)
    _write_others(folder, joined, titles)
    counts = _write_parts(folder, joined, found, ranges, threads, top_items, config.min_user_ratings)
    record = {
        "counts": asdict(counts),
        "scale": [
            found.lowest if scale.lowest is None else scale.lowest,
            found.highest if scale.highest is None else scale.highest,
        ],
        "declared_scale": asdict(scale),
        "id_map_sha256": joined.ids.sha256,
        "shards": [0, *(shard.stop for shard in cut(found.indptr))],
    }
    (folder / "prepared.json").write_text(json.dumps(record, indent=2))
    return counts


@dataclass(frozen=True, eq=False)
class _Found:
    """What sorting the ratings has shown.

    Attributes:
        indptr: (n_users + 1,) where each user's ratings begin.
        dropped: rows that a later one replaces, ascending, by their place in the input if the split asks for it.
        repeated: own rows that a later own row replaces.
        lowest, highest: rating.
    """

    indptr: NDArray[np.int64]
    dropped: NDArray[np.int64]
    repeated: int
    lowest: float
    highest: float


@dataclass(frozen=True, eq=False)
class _Sorter:
    """Writes the ratings by user, with their hold-out where it follows from a user's own ratings."""

    folder: Path
    work: Path
    joined: Joined
    config: PrepareConfig
    seed: int
    memory: int
    threads: int

    def write(self) -> _Found:
        """indptr, item_index, rating, timestamp, held_out, seen_indptr, seen_item_index; into `work` row."""
        later = not self.joined.given and self.config.split in ("random", "time")
        names = {"item_index", "rating", "row" if later else "held_out"} | (
            {"timestamp"} if self.joined.timed else set()
        )
        sizes, dropped, repeated, bounds, seen = [], [], 0, [], []
        with ExitStack() as stack:
            files = {name: stack.enter_context(self._create(name)) for name in names}
            for bucket, held_out in self._buckets(with_rows=later):
                arrays = {**vars(bucket), "held_out": held_out}
                for name, file in files.items():
                    file.append(arrays[name])
                sizes.append(np.diff(bucket.indptr))
                dropped.append(bucket.dropped)
                repeated += bucket.repeated
                bounds += [bucket.rating.min(), bucket.rating.max()] if len(bucket.rating) else []
                seen.append((bucket.seen_user_index, bucket.seen_item_index))
        indptr = _edges(np.concatenate(sizes))
        seen_users, seen_items = (np.concatenate(arrays) for arrays in zip(*seen, strict=True))
        np.save(self.folder / "indptr.npy", indptr)
        np.save(self.folder / "seen_indptr.npy", _edges(np.bincount(seen_users, minlength=len(indptr) - 1)))
        np.save(self.folder / "seen_item_index.npy", seen_items)
        lowest, highest = float(min(bounds)), float(max(bounds))
        return _Found(indptr, np.sort(np.concatenate(dropped)), repeated, lowest, highest)

    def _create(self, name: str) -> ArrayWriter:
        return ArrayWriter((self.work if name == "row" else self.folder) / f"{name}.npy", ARRAYS[name])

    def _buckets(self, *, with_rows: bool) -> Iterator[tuple[Bucket, NDArray[np.bool_] | None]]:
        buckets = shuffle(self.joined, self.work, with_rows=with_rows, memory=self.memory, threads=self.threads)
        draws = Draws.of(self.joined.ids, self.seed) if self.config.split == "per-user" else None
        for bucket in buckets:
            yield bucket, self._held_out(bucket, draws)

    def _held_out(self, bucket: Bucket, draws: Draws | None) -> NDArray[np.bool_] | None:
        if self.joined.given:
            return bucket.row >= self.joined.own
        if draws is not None:
            share = self.config.test_fraction
            return per_user_split(bucket.indptr, bucket.item_index, draws, bucket.users.start, share)
        if self.config.split == "leave-last":
            mask: NDArray[np.bool_] = leave_last_split(bucket.indptr, bucket.timestamp, bucket.row)
            return mask
        return None


def _edges(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def _hold_out_later(
    folder: Path, work: Path, found: _Found, ranges: tuple[Shard, ...], config: PrepareConfig, seed: int
) -> None:
    """Write held_out where it follows from all ratings together."""
    n = int(found.indptr[-1])
    pieces = _pieces(found.indptr, ranges)
    rows, timestamps = (partial(Prepared(place).array, name) for place, name in ((work, "row"), (folder, "timestamp")))
    if config.split == "random":
        mask = random_split(n, config.test_fraction, seed)
        held_out = (mask[row - np.searchsorted(found.dropped, row)] for row in (rows(*piece) for piece in pieces))
    else:

        def both() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
            return ((timestamps(*piece), rows(*piece)) for piece in pieces)

        time, first = time_split(both, n, config.test_fraction)
        held_out = ((at > time) | ((at == time) & (row >= first)) for at, row in both())
    with ArrayWriter(folder / "held_out.npy", np.bool_) as file:
        for piece in held_out:
            file.append(piece)


def _pieces(indptr: NDArray[np.int64], ranges: Sequence[Shard]) -> list[tuple[int, int]]:
    """The first rating of each range, and the first beyond."""
    return [(int(indptr[users.start]), int(indptr[users.stop])) for users in ranges]


def _write_others(folder: Path, joined: Joined, titles: Callable[[pa.Array], pa.Table]) -> None:
    joined.ids.save(folder)
    pq.write_table(titles(joined.ids.item_ids), folder / "items.parquet", compression="zstd")
    pq.write_table(joined.stream.quarantine, folder / "quarantine.parquet", compression="zstd")
    np.save(folder / "served.npy", joined.served)


def _write_parts(
    folder: Path,
    joined: Joined,
    found: _Found,
    ranges: tuple[Shard, ...],
    threads: int,
    top_items: int,
    min_user_ratings: int,
) -> Counts:
    prepared, ids = Prepared(folder), joined.ids
    for part in PARTS:
        writer = PartWriter(prepared, part, part == "split" or joined.given, ranges, threads)
        trained = writer.write(ids.n_items, top_items=top_items, min_user_ratings=min_user_ratings)
    lowest, highest = writer.preference_bounds(trained)
    held_out = sum(
        int(np.count_nonzero(prepared.array("held_out", *found.indptr[[users.start, users.stop]]))) for users in ranges
    )
    return Counts(
        rows_read=joined.stream.rows_read,
        refused=joined.stream.quarantine.num_rows,
        repeated=joined.stream.repeated + found.repeated,
        ratings=int(found.indptr[-1]),
        users=ids.n_users,
        items=ids.n_items,
        held_out=held_out,
        users_kept=int(trained.sum()),
        items_kept=len(prepared.array("all/items")),
        ratings_kept=int(np.diff(prepared.array("all/indptr"))[trained].sum()),
        rating_min=found.lowest,
        rating_max=found.highest,
        preference_min=lowest,
        preference_max=highest,
    )


def _no_timestamps(split: str) -> InputRefused:
    return InputRefused(
        f"The split {split!r} orders ratings in time and the input has no timestamps.",
        expected="a timestamp column",
        found="none",
        todo="name it with --columns timestamp=NAME, or choose --split per-user or random",
    )
