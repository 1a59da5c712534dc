"""The tables that come from the models alone: nearest items of each item, and embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys import tables
from recsys.identifiers import IdMap
from recsys.models.base import Embeddings, Model, TopN
from recsys.prepare.shards import Shard

# Users a row group: 4 MB of 64 factors. With as many rows as a group of lists has they were 25 MB, of which the writer,
# the reader and what is read ahead of it held six copies: more than all else that scoring holds.
VECTOR_ROWS = 1 << 14


def similar_table(similar: TopN, items: NDArray[np.int32], ids: IdMap) -> pa.Table:
    """Rows of `similar_items` by (item_id, rank).

    Args:
        similar: (n_columns, n) the nearest columns of each column.
        items: (n_columns,) the item_index of each column, ascending.
    """
    stands = similar.columns >= 0
    rank = np.broadcast_to(np.arange(1, stands.shape[1] + 1, dtype=np.int32), stands.shape)
    item = np.broadcast_to(items[:, None], stands.shape)
    columns = [
        ids.item_ids.take(pa.array(item[stands])),
        pa.array(rank[stands]),
        ids.item_ids.take(pa.array(items[similar.columns[stands]])),
        pa.array(similar.scores[stands]),
    ]
    return pa.Table.from_arrays(columns, schema=tables.similar_items(ids.item_ids.type))


def item_embeddings(model: Model, ids: IdMap) -> pa.Table:
    """Rows of `item_embeddings` by item_id, of a model that has vectors."""
    vectors = _embeddings(model)
    items = model.items[vectors.items_learned]
    return _table("item_id", ids.item_ids.take(pa.array(items)), vectors.items[vectors.items_learned])


def user_embeddings(model: Model, ids: IdMap, shard: Shard) -> Iterator[pa.Table]:
    """Rows of `user_embeddings` by user_id for the users of a shard, of a model that has vectors, some at a time.

    Args:
        ids: of the users of the shard.
    """
    vectors = _embeddings(model)
    for start in range(shard.start, shard.stop, VECTOR_ROWS):
        users = start + np.flatnonzero(vectors.users_learned[start : min(start + VECTOR_ROWS, shard.stop)])
        yield _table("user_id", ids.user_ids.take(pa.array(users - shard.start)), vectors.users[users])


def _embeddings(model: Model) -> Embeddings:
    vectors = model.embeddings()
    assert vectors is not None
    return vectors


def _table(name: str, id_values: pa.Array, vectors: NDArray[np.float32]) -> pa.Table:
    schema = tables.embeddings(name, id_values.type)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    values = pa.array(np.ascontiguousarray(vectors).ravel())
    lists = pa.ListArray.from_arrays(offsets, values, type=schema.field("embedding").type)
    return pa.Table.from_arrays([id_values, lists], schema=schema)
