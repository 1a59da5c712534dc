"""Writing the prepared folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.config import PrepareConfig
from recsys.errors import InputRefused
from recsys.identifiers import IdMap
from recsys.prepare.given_holdout import Joined, join_holdout, reorder_items
from recsys.prepare.prepared import PARTS, Counts
from recsys.prepare.shards import cut
from recsys.prepare.split import hold_out
from recsys.prepare.training_set import TrainingSet, build_training_set
from recsys.ratings import Ratings, Scale


def write_prepared(
    folder: Path,
    ratings: Ratings,
    items: pa.Table,
    test: Ratings | None,
    *,
    config: PrepareConfig,
    top_items: int,
    scale: Scale,
    seed: int,
) -> Counts:
    """Split, filter and centre the ratings, and write the prepared folder.

    Args:
        folder: an existing, empty folder.
        ratings: the valid ratings.
        items: titles, a row an item of `ratings`.
        test: a given hold-out, which is then never trained on; None draws one as `config` says.
        top_items: number of items kept, 0 for all.
        scale: the declared scale.

    Raises:
        InputRefused: nothing is left to learn from.
    """
    joined = split_off(ratings, test, config, seed)
    ratings, held_out = joined.ratings, joined.held_out
    ids = IdMap(ratings.user_ids, ratings.item_ids)
    indptr = _write_ratings(folder, ids, items if test is None else reorder_items(items, ids), joined)
    learned = {"split": ~held_out, "all": ~held_out if test is not None else np.ones(len(ratings), bool)}
    for part in PARTS:
        training_set = _part(ratings, ids, learned[part], top_items, config.min_user_ratings)
        _save_training_set(training_set, folder / part)
    counts = _counts(ratings, ids, held_out, training_set)
    lowest = float(np.min(ratings.rating)) if scale.lowest is None else scale.lowest
    highest = float(np.max(ratings.rating)) if scale.highest is None else scale.highest
    record = {
        "counts": asdict(counts),
        "scale": [lowest, highest],
        "declared_scale": asdict(scale),
        "id_map_sha256": ids.sha256,
        "shards": [0, *(shard.stop for shard in cut(indptr))],
    }
    (folder / "prepared.json").write_text(json.dumps(record, indent=2))
    return counts


def split_off(ratings: Ratings, test: Ratings | None, config: PrepareConfig, seed: int) -> Joined:
    """The ratings with their hold-out marked: the one given, else one drawn as `config` says."""
    if test is not None:
        return join_holdout(ratings, test)
    return Joined(ratings, hold_out(ratings, config, seed), np.ones(ratings.n_users, dtype=bool))


def _part(ratings: Ratings, ids: IdMap, mask: NDArray[np.bool_], top_items: int, min_user_ratings: int) -> TrainingSet:
    if not mask.any():
        raise InputRefused(
            "No rating is left to learn from.",
            expected="ratings beside the hold-out",
            found=f"{len(ratings):,} ratings, all held out",
            todo="give more ratings, or a smaller hold-out",
        )
    training_set = build_training_set(
        ratings.user_index[mask],
        ratings.item_index[mask],
        ratings.rating[mask],
        (ids.n_users, ids.n_items),
        top_items=top_items,
        min_user_ratings=min_user_ratings,
    )
    if not training_set.trained.any():
        most = int(np.diff(training_set.ratings.indptr).max())
        raise InputRefused(
            "No user has enough ratings to learn from.",
            expected=f"users with at least {min_user_ratings} ratings (--min-user-ratings) beside the hold-out",
            found=f"at most {most} a user",
            todo="lower --min-user-ratings",
        )
    return training_set


def _write_ratings(folder: Path, ids: IdMap, items: pa.Table, joined: Joined) -> NDArray[np.int64]:
    """Write all but the training sets; returns where each user's ratings begin."""
    ratings = joined.ratings
    ids.save(folder)
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    pq.write_table(ratings.quarantine, folder / "quarantine.parquet", compression="zstd")
    seen = np.unique(ratings.seen_user_index.astype(np.int64) * ids.n_items + ratings.seen_item_index)
    order = np.lexsort((ratings.item_index, ratings.user_index))
    arrays: dict[str, NDArray[Any]] = {
        "indptr": _indptr(ratings.user_index, ids.n_users),
        "item_index": ratings.item_index[order],
        "rating": ratings.rating[order],
        "held_out": joined.held_out[order],
        "seen_indptr": _indptr(seen // ids.n_items, ids.n_users),
        "seen_item_index": (seen % ids.n_items).astype(np.int32),
        "served": joined.served,
    }
    if ratings.timestamp is not None:
        arrays["timestamp"] = ratings.timestamp[order]
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return arrays["indptr"]


def _indptr(user_index: NDArray, n_users: int) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.bincount(user_index, minlength=n_users)))).astype(np.int64)


def _counts(ratings: Ratings, ids: IdMap, held_out: NDArray[np.bool_], full: TrainingSet) -> Counts:
    preferences = full.preferences.data
    return Counts(
        rows_read=ratings.rows_read,
        refused=ratings.quarantine.num_rows,
        repeated=ratings.repeated,
        ratings=len(ratings),
        users=ids.n_users,
        items=ids.n_items,
        held_out=int(held_out.sum()),
        users_kept=int(full.trained.sum()),
        items_kept=len(full.items),
        ratings_kept=full.learned.nnz,
        rating_min=float(np.min(ratings.rating)),
        rating_max=float(np.max(ratings.rating)),
        preference_min=float(preferences.min()),
        preference_max=float(preferences.max()),
    )


def _save_training_set(training_set: TrainingSet, folder: Path) -> None:
    folder.mkdir()
    arrays = {
        "items": training_set.items,
        "indptr": training_set.ratings.indptr,
        "columns": training_set.ratings.indices,
        "ratings": training_set.ratings.data,
        "trained": training_set.trained,
        "item_counts": training_set.item_counts,
        "item_sums": training_set.item_sums,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
