"""The prepared folder: ids, titles, ratings with their part, and the matrices of both parts, as plain array files.

user_ids.parquet item_ids.parquet   the id map          items.parquet       titles and genres
user_index.npy item_index.npy rating.npy timestamp.npy  valid ratings in the order of the input
held_out.npy                        True where a rating is held out
seen_user_index.npy seen_item_index.npy                 pairs of refused rows, never to be recommended
split/ all/                         the training set without, and with, the hold-out
quarantine.parquet prepared.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.config import PrepareConfig
from recsys.errors import InputRefused
from recsys.identifiers import IdMap
from recsys.prepare.given_holdout import Joined, join_holdout, reorder_items
from recsys.prepare.shards import Shard, cut
from recsys.prepare.split import hold_out
from recsys.prepare.training_set import TrainingSet, build_training_set
from recsys.ratings import Ratings, Scale

Part = Literal["split", "all"]
PARTS: tuple[Part, ...] = ("split", "all")
RATING_ARRAYS = ("user_index", "item_index", "rating", "timestamp", "seen_user_index", "seen_item_index")


@dataclass(frozen=True)
class Counts:
    """What `prepared.json` records of the input and of both parts; ratings unless said otherwise."""

    rows_read: int
    refused: int
    repeated: int
    ratings: int
    users: int
    items: int
    held_out: int
    users_kept: int  # users learned from, in the part `all`
    items_kept: int
    ratings_kept: int
    rating_min: float
    rating_max: float
    preference_min: float
    preference_max: float


@dataclass(frozen=True)
class Prepared:
    """A prepared folder. Arrays are memory-mapped when first asked for."""

    folder: Path

    @cached_property
    def ids(self) -> IdMap:
        """The id map."""
        return IdMap.load(self.folder)

    @cached_property
    def counts(self) -> Counts:
        """Rows, users and items."""
        return Counts(**self._record["counts"])

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating: of the declared scale, else of the input."""
        return self._record["scale"][0], self._record["scale"][1]

    @property
    def declared_scale(self) -> Scale:
        """The scale that was declared, by the dataset or the configuration."""
        return Scale(**self._record["declared_scale"])

    @cached_property
    def _record(self) -> dict:  # type: ignore[type-arg]
        return json.loads((self.folder / "prepared.json").read_text())  # type: ignore[no-any-return]

    def items(self) -> pa.Table:
        """item_id, title, genres; a row an item of the id map, in its order."""
        return pq.read_table(self.folder / "items.parquet")

    def quarantine(self) -> pa.Table:
        """The refused rows."""
        return pq.read_table(self.folder / "quarantine.parquet")

    def array(self, name: str) -> NDArray:
        """One of the folder's arrays by its name, memory-mapped."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def training_set(self, part: Part) -> TrainingSet:
        """The training set without (`split`) or with (`all`) the hold-out."""
        return _load_training_set(self.folder / part)

    def published_set(self, refit: bool) -> TrainingSet:
        """The training set in the published models' columns, with the popularity of all ratings.

        Args:
            refit: whether these models were fitted on all ratings, or only on those beside the hold-out.
        """
        full = self.training_set("all")
        if refit:
            return full
        return replace(self.training_set("split"), item_counts=full.item_counts, item_sums=full.item_sums)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        counts = np.bincount(self.array("user_index"), minlength=self.ids.n_users)
        return cut(np.concatenate(([0], np.cumsum(counts))))

    def histories(self, part: Part, shard: Shard) -> csr_matrix:
        return self.training_set(part).ratings[shard.start : shard.stop]

    def holdout(self, shard: Shard | None = None) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """user_index, item_index and rating of the held-out ratings."""
        mask = np.asarray(self.array("held_out"))
        if shard is not None:
            mask = mask & (self.array("user_index") >= shard.start) & (self.array("user_index") < shard.stop)
        return self.array("user_index")[mask], self.array("item_index")[mask], self.array("rating")[mask]

    def seen(self, part: Part, shard: Shard | None = None) -> csr_matrix:
        """(n_users, n_items) CSR, a stored 1 where a user must not be recommended an item.

        That is every rating of the part, of items not kept too, and every pair of a refused row. For the published
        lists (`all`) the ratings of a given hold-out count as well: nobody wants what they have rated.
        """
        learned = np.asarray(~self.array("held_out")) if part == "split" else slice(None)
        user = np.concatenate([self.array("user_index")[learned], self.array("seen_user_index")])
        item = np.concatenate([self.array("item_index")[learned], self.array("seen_item_index")])
        seen = csr_matrix((np.ones(len(user), np.int8), (user, item)), shape=(self.ids.n_users, self.ids.n_items))
        seen.sum_duplicates()
        seen.data[:] = 1
        return seen if shard is None else seen[shard.start : shard.stop]


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
    _write_ratings(folder, ids, items if test is None else reorder_items(items, ids), joined)
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


def _write_ratings(folder: Path, ids: IdMap, items: pa.Table, joined: Joined) -> None:
    ratings = joined.ratings
    ids.save(folder)
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    pq.write_table(ratings.quarantine, folder / "quarantine.parquet", compression="zstd")
    arrays = {name: getattr(ratings, name) for name in RATING_ARRAYS}
    for name, array in (arrays | {"held_out": joined.held_out, "served": joined.served}).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)


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


def _load_training_set(folder: Path) -> TrainingSet:
    def array(name: str) -> NDArray:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    items, trained = np.asarray(array("items")), np.asarray(array("trained"))
    matrix = csr_matrix((array("ratings"), array("columns"), array("indptr")), shape=(len(trained), len(items)))
    return TrainingSet(items, matrix, trained, np.asarray(array("item_counts")), np.asarray(array("item_sums")))
