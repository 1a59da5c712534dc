"""Source ids (user_id, item_id) outside, dense 0-based positions (user_index, item_index) inside; one class maps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

UNKNOWN = -1  # the index of an id that is not in the map


@dataclass(frozen=True, eq=False)
class IdMap:
    """The users and items of one input, each in ascending order of id, so that a tie by index is a tie by id.

    Attributes:
        user_ids: (n_users,) int64 or string, ascending, distinct.
        item_ids: (n_items,) likewise.
    """

    user_ids: pa.Array
    item_ids: pa.Array

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    @cached_property
    def sha256(self) -> str:
        """Hash of both id lists; a model and a table carry it, so that indices are never read by another map."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            kind = "int64" if pa.types.is_integer(ids.type) else "string"
            digest.update(f"{kind}:{len(ids)}\n".encode())
            digest.update(_bytes_of(ids))
        return digest.hexdigest()

    def user_index(self, user_ids: pa.Array) -> NDArray[np.int32]:
        """(n,) int32 positions of the ids, `UNKNOWN` where an id is not in the map."""
        return positions(user_ids, self.user_ids)

    def item_index(self, item_ids: pa.Array) -> NDArray[np.int32]:
        """(n,) int32 positions of the ids, `UNKNOWN` where an id is not in the map."""
        return positions(item_ids, self.item_ids)

    def save(self, folder: Path) -> None:
        """Write `user_ids.parquet` and `item_ids.parquet` into `folder`."""
        pq.write_table(pa.table({"user_id": self.user_ids}), folder / "user_ids.parquet", compression="zstd")
        pq.write_table(pa.table({"item_id": self.item_ids}), folder / "item_ids.parquet", compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> IdMap:
        """Read what `save` wrote."""
        users = pq.read_table(folder / "user_ids.parquet")["user_id"].combine_chunks()
        items = pq.read_table(folder / "item_ids.parquet")["item_id"].combine_chunks()
        return cls(users, items)


def positions(ids: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    """(n,) int32 positions of the ids in `known`, `UNKNOWN` where an id is not there."""
    found = pc.index_in(pc.cast(ids, known.type), value_set=known)
    return pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int32)


def _bytes_of(ids: pa.Array) -> bytes:
    """The values alone: a slice or another layout of the same ids gives the same bytes."""
    if pa.types.is_integer(ids.type):
        return ids.to_numpy().astype("<i8").tobytes()
    plain = ids.cast(pa.large_string())
    lengths = pc.binary_length(plain).to_numpy().astype("<i8").tobytes()
    return lengths + "".join(plain.to_pylist()).encode()
