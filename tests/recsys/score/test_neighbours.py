"""Nearest items and embeddings as tables: examples and a naive twin."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from recsys.config import ComputeConfig
from recsys.identifiers import IdMap
from recsys.models.base import Embeddings, TopN
from recsys.models.edlae import Edlae
from recsys.prepare.shards import Shard
from recsys.score.neighbours import item_embeddings, similar_table, user_embeddings

IDS = IdMap(pa.array(["u", "v"]), pa.array([3, 5, 8, 13]))


@pytest.mark.parametrize("threads", [1, 3])
def test_similar_items_are_the_largest_weights_of_a_row(threads):
    rng = np.random.default_rng(0)
    weights = rng.integers(-3, 4, size=(9, 9)).astype(np.float32)  # many ties
    model = Edlae(np.arange(9, dtype=np.int32), weights)
    found = model.similar(4, ComputeConfig(threads=threads))
    for item in range(9):
        others = sorted((column for column in range(9) if column != item), key=lambda j: (-weights[item, j], j))[:4]
        assert_array_equal(found.columns[item], others)
        assert_array_equal(found.scores[item], weights[item, others])


def test_short_lists_of_a_small_catalogue():
    found = Edlae(np.int32([0, 2]), np.float32([[0, 7], [4, 0]])).similar(3, ComputeConfig())
    rows = similar_table(found, np.int32([0, 2]), IDS).to_pylist()
    assert rows == [
        {"item_id": 3, "rank": 1, "similar_item_id": 8, "similarity": 7.0},
        {"item_id": 8, "rank": 1, "similar_item_id": 3, "similarity": 4.0},
    ]


def test_no_neighbours_of_a_single_item():
    found = TopN(np.int32([[-1, -1]]), np.float32([[-np.inf, -np.inf]]))
    assert similar_table(found, np.int32([1]), IDS).num_rows == 0


def test_only_what_was_learned_has_an_embedding():
    class Vectors:
        items = np.int32([0, 3])

        def embeddings(self):
            items = np.float32([[1, 2, 3], [4, 5, 6]])
            return Embeddings(
                np.float32([[0, 0, 1], [0, 1, 0]]), np.array([False, True]), items, np.array([True, True])
            )

    assert item_embeddings(Vectors(), IDS).to_pylist() == [
        {"item_id": 3, "embedding": [1.0, 2.0, 3.0]},
        {"item_id": 13, "embedding": [4.0, 5.0, 6.0]},
    ]
    learned = {"user_id": "v", "embedding": [0.0, 1.0, 0.0]}
    shards = [(IDS, Shard(0, 2)), (IdMap(pa.array(["v"]), IDS.item_ids), Shard(1, 2))]
    for ids, shard in shards:
        assert pa.concat_tables(user_embeddings(Vectors(), ids, shard)).to_pylist() == [learned]
    assert pa.concat_tables(user_embeddings(Vectors(), IDS, Shard(0, 1))).num_rows == 0


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 100])
def test_users_vectors_come_some_at_a_time(rows, monkeypatch):
    monkeypatch.setattr("recsys.score.neighbours.VECTOR_ROWS", rows)
    vectors, learned = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10) % 4 != 0
    model = SimpleNamespace(embeddings=lambda: Embeddings(vectors, learned, vectors, learned))
    ids = IdMap(pa.array(np.arange(103, 109)), IDS.item_ids)  # of the users 3 to 8
    tables = list(user_embeddings(model, ids, Shard(3, 9)))
    assert max(table.num_rows for table in tables) <= rows
    assert pa.concat_tables(tables).to_pylist() == [
        {"user_id": 100 + user, "embedding": vectors[user].tolist()} for user in (3, 5, 6, 7)
    ]
