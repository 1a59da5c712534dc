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
ROW_GROUP_IDS = 1 << 16  # who asks for some users reads the row groups they are in: 512 KB of whole numbers each


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
        for name, ids in (("user", self.user_ids), ("item", self.item_ids)):
            file, table = folder / f"{name}_ids.parquet", pa.table({f"{name}_id": ids})
            pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP_IDS)

    @classmethod
    def load(cls, folder: Path) -> IdMap:
        """Read what `save` wrote."""
        items = pq.read_table(folder / "item_ids.parquet")["item_id"].combine_chunks()
        return cls(pq.read_table(folder / "user_ids.parquet")["user_id"].combine_chunks(), items)

    @classmethod
    def load_some(cls, folder: Path, start: int, stop: int) -> IdMap:
        """All items, and of the users those with user_index `start` to `stop`: its own user_index begin at 0."""
        items = pq.read_table(folder / "item_ids.parquet")["item_id"].combine_chunks()
        return cls(_some(folder / "user_ids.parquet", start, stop), items)


def positions(ids: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    """(n,) int32 positions of the ids in `known`, `UNKNOWN` where an id is not there."""
    found = pc.index_in(pc.cast(ids, known.type), value_set=known)
    return pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int32)


def _some(file: Path, start: int, stop: int) -> pa.Array:
    """Rows `start` to `stop` of the only column, from the row groups that they are in."""
    with pq.ParquetFile(file) as opened:
        rows = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
        edges = np.append(0, np.cumsum(rows, dtype=np.int64))
        groups = np.flatnonzero((edges[:-1] < stop) & (edges[1:] > start) & (start < stop))
        found = opened.read_row_groups(groups.tolist()).column(0)
    first = int(edges[groups[0]]) if len(groups) else start
    return found.slice(start - first, stop - start).combine_chunks()


def _bytes_of(ids: pa.Array) -> bytes:
    """The values alone: a slice or another layout of the same ids gives the same bytes."""
    if pa.types.is_integer(ids.type):
        return ids.to_numpy().astype("<i8").tobytes()
    plain = ids.cast(pa.large_string())
    lengths = pc.binary_length(plain).to_numpy().astype("<i8").tobytes()
    return lengths + "".join(plain.to_pylist()).encode()
