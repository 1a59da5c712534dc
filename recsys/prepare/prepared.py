"""The prepared folder: ids, titles, ratings by user with their part, and the matrices of both parts, as array files.

user_ids.parquet item_ids.parquet   the id map          items.parquet       titles and genres
indptr.npy                          (n_users + 1,) where each user's ratings begin; some may have none
item_index.npy rating.npy timestamp.npy                 valid ratings by (user_index, item_index)
held_out.npy                        True where a rating is held out
seen_indptr.npy seen_item_index.npy pairs of refused rows that have no rating, likewise, never to be recommended
served.npy                          True where a user gets a list
split/ all/                         the training set without, and with, the hold-out
quarantine.parquet prepared.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.identifiers import IdMap
from recsys.prepare.arrays import read_array
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import Catalogue, TrainingSet
from recsys.ratings import Scale

Part = Literal["split", "all"]
PARTS: tuple[Part, ...] = ("split", "all")


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
    """A prepared folder.

    What is asked for by shard is read then, as much as the shard needs, and forgotten with the answer.
    """

    folder: Path

    @cached_property
    def ids(self) -> IdMap:
        """The id map."""
        return IdMap.load(self.folder)

    def ids_of(self, shard: Shard) -> IdMap:
        """All items and a shard's users, whose positions are counted from its first; memory follows the shard."""
        return IdMap.load_some(self.folder, shard.start, shard.stop)

    @property
    def id_map_sha256(self) -> str:
        """The hash of the id map, as it was recorded; reading the ids is left out."""
        return str(self._record["id_map_sha256"])

    @cached_property
    def counts(self) -> Counts:
        """Rows, users and items."""
        return Counts(**self._record["counts"])

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All users in consecutive shards, each with some 4 million ratings."""
        return tuple(Shard(start, stop) for start, stop in pairwise(self._record["shards"]))

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating: of the declared scale, else of the input."""
        return self._record["scale"][0], self._record["scale"][1]

    @property
    def declared_scale(self) -> Scale:
        """The scale that was declared, by the dataset or the configuration."""
        return Scale(**self._record["declared_scale"])

    @property
    def timed(self) -> bool:
        """Whether the ratings have timestamps."""
        return (self.folder / "timestamp.npy").exists()

    @cached_property
    def _record(self) -> dict:  # type: ignore[type-arg]
        return json.loads((self.folder / "prepared.json").read_text())  # type: ignore[no-any-return]

    def items(self) -> pa.Table:
        """item_id, title, genres; a row an item of the id map, in its order."""
        return pq.read_table(self.folder / "items.parquet")

    def quarantine(self) -> pa.Table:
        """The refused rows."""
        return pq.read_table(self.folder / "quarantine.parquet")

    def array(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One of the folder's arrays by its name, or its entries `start` to `stop`."""
        return read_array(self.folder / f"{name}.npy", start, stop)

    def training_set(self, part: Part) -> TrainingSet:
        """The training set without (`split`) or with (`all`) the hold-out, memory-mapped."""
        return _load_training_set(self.folder / part)

    def catalogue(self, part: Part, popularity: Part | None = None) -> Catalogue:
        """The items in the columns of the models of one part, counted in another; None: in the same.

        The published models are of `all` where they were fitted again, else of `split`, counted in `all`.
        """
        counted = popularity or part
        counts, sums = self.array(f"{counted}/item_counts"), self.array(f"{counted}/item_sums")
        return Catalogue(self.array(f"{part}/items"), counts, sums)

    def histories(self, part: Part, shard: Shard) -> csr_matrix:
        """(n_shard_users, n_columns) CSR float32: the rows of the part's training set, columns ascending."""
        indptr = self.array(f"{part}/indptr", shard.start, shard.stop + 1)
        stored = (indptr[0], indptr[-1])
        values, columns = self.array(f"{part}/ratings", *stored), self.array(f"{part}/columns", *stored)
        return csr_matrix((values, columns, indptr - indptr[0]), shape=(len(shard), len(self.array(f"{part}/items"))))

    def holdout(self, shard: Shard | None = None) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """user_index, item_index and rating of the held-out ratings of all users or a shard's, by (user, item)."""
        shard = shard or self._everybody
        indptr = self.array("indptr", shard.start, shard.stop + 1)
        stored = (indptr[0], indptr[-1])
        held_out = self.array("held_out", *stored)
        user = np.repeat(np.arange(shard.start, shard.stop, dtype=np.int32), np.diff(indptr))
        return user[held_out], self.array("item_index", *stored)[held_out], self.array("rating", *stored)[held_out]

    def seen(self, part: Part, shard: Shard | None = None) -> csr_matrix:
        """(n_users, n_items) CSR int8 of all users or a shard's, a stored 1 where an item must not be recommended.

        That is every rating of the part, of items not kept too, and every pair of a refused row. For the published
        lists (`all`) the ratings of a given hold-out count as well: nobody wants what they have rated.
        """
        shard = shard or self._everybody
        indptr, item = self._pairs("", shard)
        if part == "split":
            learned = ~self.array("held_out", indptr[0], indptr[-1])
            indptr, item = np.concatenate(([0], np.cumsum(learned)))[indptr - indptr[0]], item[learned]
        shape = (len(shard), self.counts.items)
        rated, refused = _ones(indptr, item, shape), _ones(*self._pairs("seen_", shard), shape)
        return rated + refused if refused.nnz else rated  # no pair stands in both

    def _pairs(self, prefix: str, shard: Shard) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        indptr = self.array(f"{prefix}indptr", shard.start, shard.stop + 1)
        return indptr, self.array(f"{prefix}item_index", indptr[0], indptr[-1])

    @property
    def _everybody(self) -> Shard:
        return Shard(0, self.counts.users)


def _ones(indptr: NDArray[np.int64], item: NDArray[np.int32], shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((np.ones(len(item), np.int8), item, indptr - indptr[0]), shape=shape)


def _load_training_set(folder: Path) -> TrainingSet:
    def array(name: str) -> NDArray:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    items, trained = np.asarray(array("items")), np.asarray(array("trained"))
    matrix = csr_matrix((array("ratings"), array("columns"), array("indptr")), shape=(len(trained), len(items)))
    return TrainingSet(items, matrix, trained, np.asarray(array("item_counts")), np.asarray(array("item_sums")))
