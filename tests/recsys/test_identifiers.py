"""Ids outside, positions inside."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.identifiers import UNKNOWN, IdMap

INTEGERS = st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30).map(sorted)
WORDS = st.sets(st.text(max_size=6).filter(lambda t: t.isprintable()), min_size=1, max_size=30).map(sorted)
IDS = INTEGERS | WORDS


def array(ids):
    return pa.array(ids, pa.string() if isinstance(ids[0], str) else pa.int64())


def id_map(users, items=(1, 2)):
    return IdMap(array(list(users)), array(list(items)))


# examples


def test_positions_of_known_and_unknown_ids():
    ids = id_map([10, 20, 40], ["a", "b"])
    assert (ids.n_users, ids.n_items) == (3, 2)
    found = ids.user_index(pa.array([40, 30, 10, 40, -1]))
    assert found.dtype == np.int32
    assert_array_equal(found, [2, UNKNOWN, 0, 2, UNKNOWN])
    assert_array_equal(ids.item_index(pa.array(["b", "B", ""])), [1, UNKNOWN, UNKNOWN])


def test_a_null_id_is_unknown():
    assert_array_equal(id_map([10, 20]).user_index(pa.array([None, 20], pa.int64())), [UNKNOWN, 1])


def test_no_ids_have_no_positions():
    assert id_map([10, 20]).user_index(pa.array([], pa.int64())).shape == (0,)


def test_all_ids_are_unknown_to_an_empty_map():
    empty = IdMap(pa.array([], pa.int64()), pa.array([], pa.string()))
    assert_array_equal(empty.user_index(pa.array([1, 2])), [UNKNOWN, UNKNOWN])


def test_a_chunked_column_is_looked_up_like_an_array():
    chunked = pa.chunked_array([[20], [], [30, 10]], pa.int64())
    assert_array_equal(id_map([10, 20]).user_index(chunked), [1, UNKNOWN, 0])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (id_map([1, 2]), id_map([1, 3])),
        (id_map([1, 2], [3]), id_map([1], [2, 3])),  # the same ids in a row, cut elsewhere
        (id_map(["a", "bc"]), id_map(["ab", "c"])),  # the same letters in a row, cut elsewhere
        (id_map([1, 2]), id_map(["1", "2"])),
        (id_map([1, 2], [3, 4]), id_map([3, 4], [1, 2])),
    ],
)
def test_different_maps_have_different_hashes(left, right):
    assert left.sha256 != right.sha256


def test_a_large_string_is_the_same_id():
    """Polars writes large_string: the same ids in another layout are the same ids."""
    words = pa.array(["a", "b"])
    assert IdMap(words, words).sha256 == IdMap(words.cast(pa.large_string()), words).sha256


# properties


@given(IDS)
@settings(max_examples=80, deadline=None)
def test_from_index_to_id_and_back_is_the_identity(ids):
    users = id_map(ids)
    index = np.random.default_rng(0).integers(0, len(ids), 50).astype(np.int32)
    assert_array_equal(users.user_index(users.user_ids.take(pa.array(index))), index)
    assert_array_equal(IdMap(array([1]), array(ids)).item_index(array(ids)), np.arange(len(ids)))


@given(IDS, st.data())
@settings(max_examples=80, deadline=None)
def test_an_id_that_is_not_in_the_map_is_unknown(ids, data):
    left_out = data.draw(st.sampled_from(ids))
    assume(len(ids) > 1)
    rest = [one for one in ids if one != left_out]
    expected = [UNKNOWN if one == left_out else rest.index(one) for one in ids]
    assert_array_equal(id_map(rest).user_index(array(ids)), expected)


@given(IDS, st.data())
@settings(max_examples=80, deadline=None)
def test_the_hash_changes_with_any_id(ids, data):
    place = data.draw(st.integers(0, len(ids) - 1))
    changed = list(ids)
    bit = data.draw(st.integers(0, 62))
    changed[place] = changed[place] + "x" if isinstance(ids[0], str) else changed[place] ^ (1 << bit)
    assert id_map(ids).sha256 != id_map(changed).sha256
    assert IdMap(array([1]), array(ids)).sha256 != IdMap(array([1]), array(changed)).sha256


@given(IDS, st.integers(0, 5), st.integers(1, 10))
@settings(max_examples=80, deadline=None)
def test_the_hash_does_not_change_with_the_layout(ids, before, rows):
    whole = id_map(ids)
    padded = pa.concat_arrays([array([ids[0]] * before + [ids[0]]), array(ids), array([ids[0]])])
    sliced = padded.slice(before + 1, len(ids))
    pieces = [array(ids[start : start + rows]) for start in range(0, len(ids), rows)]
    glued = pa.chunked_array(pieces).combine_chunks()
    assert sliced.offset == before + 1
    for other in (sliced, glued):
        assert IdMap(other, whole.item_ids).sha256 == whole.sha256


@given(INTEGERS, WORDS)
@settings(max_examples=25, deadline=None)
def test_a_saved_map_is_read_as_it_was(users, items):
    ids = id_map(users, items)
    with tempfile.TemporaryDirectory() as folder:
        ids.save(Path(folder))
        read = IdMap.load(Path(folder))
    assert read.user_ids.equals(ids.user_ids)
    assert read.item_ids.equals(ids.item_ids)
    assert read.sha256 == ids.sha256


@given(INTEGERS, st.integers(1, 4), st.data())
@settings(max_examples=25, deadline=None)
def test_some_users_are_read_from_their_row_groups_alone(users, rows, data):
    ids = id_map(users, [1, 2])
    start = data.draw(st.integers(0, ids.n_users))
    stop = data.draw(st.integers(start, ids.n_users))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.identifiers.ROW_GROUP_IDS", rows)
        ids.save(Path(folder))
        read, groups = pq.ParquetFile.read_row_groups, []
        patch.setattr(pq.ParquetFile, "read_row_groups", lambda file, some: groups.extend(some) or read(file, some))
        some = IdMap.load_some(Path(folder), start, stop)
    assert some.user_ids.equals(ids.user_ids.slice(start, stop - start))
    assert some.item_ids.equals(ids.item_ids)
    assert groups == (list(range(start // rows, -(-stop // rows))) if start < stop else [])
