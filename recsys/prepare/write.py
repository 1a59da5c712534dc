"""Writing the prepared folder, whatever the number of ratings: in memory are users, items, and some of the ratings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.compute import MIB, thread_count
from recsys.config import ComputeConfig, PrepareConfig
from recsys.prepare import hold_out
from recsys.prepare.given_holdout import Joined, join_holdout
from recsys.prepare.parts import PartWriter
from recsys.prepare.prepared import PARTS, Counts, Prepared
from recsys.prepare.shards import Shard, cut
from recsys.prepare.shuffle import ROW_BYTES
from recsys.prepare.sort import Sorted, sort_ratings
from recsys.ratings import Scale
from recsys.read.stream import Stream

MEMORY_SHARE = 4  # of compute.memory_mib: the rest is for the libraries, the ids, and what other stages leave behind


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

    The bytes are the same for any blocks of the streams, threads and memory. Of the ratings, threads + 1 buckets of
    80 bytes a row are in memory together, which a quarter of `compute.memory_mib` bounds; of each user and item some
    ten numbers of 8 bytes, and its id. The split `random` alone draws a permutation of all ratings.

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
    threads, memory = thread_count(compute), compute.memory_mib * MIB // MEMORY_SHARE
    mark = hold_out.by_user(joined, config, seed)
    with TemporaryDirectory(dir=folder, prefix="work-") as work:
        found = sort_ratings(folder, Path(work), joined, mark, memory=memory, threads=threads)
        accept(joined.own - found.repeated)
        ranges = cut(found.indptr, max(memory // (ROW_BYTES * (threads + 1)), 1), len(found.indptr))
        if mark is None:
            pieces = [(int(found.indptr[users.start]), int(found.indptr[users.stop])) for users in ranges]
            hold_out.write_of_all(folder, Path(work) / "row.npy", found.dropped, pieces, config, seed)
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


def _write_others(folder: Path, joined: Joined, titles: Callable[[pa.Array], pa.Table]) -> None:
    joined.ids.save(folder)
    pq.write_table(titles(joined.ids.item_ids), folder / "items.parquet", compression="zstd")
    pq.write_table(joined.stream.quarantine, folder / "quarantine.parquet", compression="zstd")
    np.save(folder / "served.npy", joined.served)


def _write_parts(
    folder: Path,
    joined: Joined,
    found: Sorted,
    ranges: Sequence[Shard],
    threads: int,
    top_items: int,
    min_user_ratings: int,
) -> Counts:
    prepared, ids = Prepared(folder), joined.ids
    for part in PARTS:
        writer = PartWriter(prepared, part, part == "split" or joined.given, ranges, threads)
        trained = writer.write(ids.n_items, top_items=top_items, min_user_ratings=min_user_ratings)
    lowest, highest = writer.preference_bounds(trained)
    held_out = (prepared.array("held_out", *found.indptr[[users.start, users.stop]]) for users in ranges)
    return Counts(
        rows_read=joined.stream.rows_read,
        refused=joined.stream.quarantine.num_rows,
        repeated=joined.stream.repeated + found.repeated,
        ratings=int(found.indptr[-1]),
        users=ids.n_users,
        items=ids.n_items,
        held_out=sum(int(np.count_nonzero(mask)) for mask in held_out),
        users_kept=int(trained.sum()),
        items_kept=len(prepared.array("all/items")),
        ratings_kept=int(np.diff(prepared.array("all/indptr"))[trained].sum()),
        rating_min=found.lowest,
        rating_max=found.highest,
        preference_min=lowest,
        preference_max=highest,
    )
