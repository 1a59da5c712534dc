"""The prepared folder, written and read again."""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import vstack

from recsys.errors import InputRefused
from recsys.prepare.means import rows_of
from recsys.prepare.prepared import PARTS
from recsys.prepare.shards import Shard, cut
from recsys.prepare.training_set import build_training_set
from recsys.ratings import Scale
from recsys.score.stage import popular_table, served_users


@pytest.fixture(scope="session")
def write(write_folder):
    def run(*args, **more):
        prepared = write_folder(*args, **more)
        return prepared, prepared.counts

    return run


def pairs_of(matrix):
    """The stored entries of a CSR matrix."""
    return set(zip(rows_of(matrix).tolist(), matrix.indices.tolist(), strict=True))


def rated(prepared, part):
    """{(user_id, item_id): rating} of a part's matrix."""
    training_set, ids = prepared.training_set(part), prepared.ids
    users, items = ids.user_ids.to_pylist(), ids.item_ids.to_pylist()
    matrix = training_set.ratings
    cells = zip(rows_of(matrix), training_set.items[matrix.indices], matrix.data.tolist(), strict=True)
    return {(users[user], items[item]): rating for user, item, rating in cells}


# a drawn hold-out


@pytest.fixture
def prepared(tmp_path, make_ratings, table, write):
    times = [1, 2, 1, 2, 3, 1, 2, 1]
    ratings = make_ratings(table, times, seen=[(40, 1), (10, 3)], refused=2)
    return write(tmp_path, ratings, split="leave-last", scale=Scale(0.5, 5.0, 0.5))[0]


def test_the_parts_of_the_table(prepared, table):
    everything = {(user, item): rating for user, item, rating in table}
    latest = {(10, 2), (20, 3), (30, 3)}
    assert rated(prepared, "all") == everything
    assert rated(prepared, "split") == {pair: rating for pair, rating in everything.items() if pair not in latest}
    assert [array.tolist() for array in prepared.holdout()] == [[0, 1, 2], [1, 2, 2], [3.0, 3.0, 1.0]]


def test_the_counts_of_the_table(prepared):
    counts = prepared.counts
    assert (counts.rows_read, counts.refused, counts.repeated, counts.ratings) == (10, 2, 0, 8)
    assert (counts.users, counts.items, counts.held_out) == (4, 3, 3)
    assert (counts.users_kept, counts.items_kept, counts.ratings_kept) == (4, 3, 8)
    assert (counts.rating_min, counts.rating_max) == (1.0, 5.0)
    assert counts.preference_min == -0.5
    assert counts.preference_max == pytest.approx(2 / 3)


def test_seen_are_the_ratings_of_the_part_and_the_pairs_of_refused_rows(prepared):
    refused = {(3, 0), (0, 2)}
    left = {(0, 0), (1, 0), (1, 1), (2, 0), (3, 2)}
    assert pairs_of(prepared.seen("split")) == left | refused
    assert pairs_of(prepared.seen("all")) == left | {(0, 1), (1, 2), (2, 2)} | refused
    assert prepared.seen("all").shape == (4, 3)
    assert prepared.seen("all").has_sorted_indices  # binary search relies on it


def test_seen_has_items_that_are_not_kept(tmp_path, ratings, write):
    prepared, _ = write(tmp_path, ratings, top_items=1)
    assert prepared.training_set("all").ratings.shape == (4, 1)
    assert len(pairs_of(prepared.seen("all"))) == 8


def test_files_of_the_folder(prepared):
    assert_array_equal(prepared.array("rating"), np.array([5, 3, 4, 3, 3, 3, 1, 2], np.float32))
    assert_array_equal(prepared.array("timestamp"), [1, 2, 1, 2, 3, 1, 2, 1])
    assert_array_equal(prepared.array("indptr"), [0, 2, 5, 7, 8])
    assert_array_equal(prepared.array("item_index"), [0, 1, 0, 1, 2, 0, 2, 2])
    assert_array_equal(prepared.array("seen_indptr"), [0, 1, 1, 1, 2])
    assert_array_equal(prepared.array("seen_item_index"), [2, 0])
    kinds = {
        "indptr": "int64", "item_index": "int32", "rating": "float32", "timestamp": "int64", "held_out": "bool",
        "seen_indptr": "int64", "seen_item_index": "int32", "served": "bool",
    }  # fmt: skip
    assert {name: prepared.array(name).dtype.name for name in kinds} == kinds
    assert prepared.items()["title"].to_pylist() == ["title of 1", "title of 2", "title of 3"]
    assert prepared.quarantine()["line"].to_pylist() == [1, 2]
    record = json.loads((prepared.folder / "prepared.json").read_text())
    assert record["id_map_sha256"] == prepared.ids.sha256


def test_no_timestamps_no_file(tmp_path, ratings, write):
    prepared, _ = write(tmp_path, ratings)
    assert not (tmp_path / "timestamp.npy").exists()
    assert prepared.counts.held_out == 3  # ceil(0.2 n) of each user, but never the only one


@pytest.mark.parametrize(
    ("declared", "expected"),
    [(Scale(0.5, 5.5), (0.5, 5.5)), (Scale(), (1.0, 5.0)), (Scale(0.0), (0.0, 5.0)), (Scale(None, 9.0), (1.0, 9.0))],
)
def test_the_scale_is_the_declared_one_else_the_inputs(tmp_path, ratings, declared, expected, write):
    assert write(tmp_path, ratings, scale=declared)[0].scale == expected


def test_all_is_filtered_by_all_and_split_by_its_own_ratings(tmp_path, make_ratings, write):
    """Item 2 leads with the hold-out and item 1 without: each part keeps its own most rated item."""
    triples = [(1, 1, 4.0), (2, 1, 4.0), (3, 1, 4.0), (1, 2, 2.0), (2, 2, 2.0), (3, 2, 2.0), (4, 2, 2.0), (4, 3, 1.0)]
    ratings = make_ratings(triples, [1, 1, 1, 9, 9, 9, 9, 1])
    prepared, _ = write(tmp_path, ratings, top_items=1, split="leave-last")
    assert prepared.training_set("split").items.tolist() == [0]
    assert prepared.training_set("all").items.tolist() == [1]


def test_a_preference_of_exactly_0_stays_stored_through_save_and_load(tmp_path, ratings, write):
    preferences = write(tmp_path, ratings)[0].training_set("all").preferences
    assert preferences.nnz == 8
    assert_array_equal(preferences[2:].data, np.zeros(3, np.float32))


def test_string_ids_survive(tmp_path, make_ratings, write):
    ratings = make_ratings([("b", "x", 1.0), ("a", "y", 2.0), ("é", "x", 3.0), ("", "y", 4.0)])
    prepared, _ = write(tmp_path, ratings, test_fraction=0.5)
    assert prepared.ids.user_ids.to_pylist() == ["", "a", "b", "é"]
    assert rated(prepared, "all") == {("b", "x"): 1.0, ("a", "y"): 2.0, ("é", "x"): 3.0, ("", "y"): 4.0}


def test_equal_input_gives_equal_bytes(tmp_path, ratings, write):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, ratings)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_users_with_few_ratings_are_served_but_not_learned_from(tmp_path, ratings, write):
    prepared, counts = write(tmp_path, ratings, min_user_ratings=3, split="random", test_fraction=0.1)
    assert prepared.training_set("all").trained.tolist() == [False, True, False, False]
    assert counts.users_kept == 1
    assert counts.ratings_kept == 3
    preferences = prepared.training_set("all").preferences.data
    assert (counts.preference_min, counts.preference_max) == (preferences.min(), preferences.max())
    assert served_users(prepared).tolist() == [0, 1, 2, 3]


def test_too_few_ratings_a_user_are_refused(tmp_path, ratings, write):
    with pytest.raises(InputRefused, match="No user has enough ratings") as refused:
        write(tmp_path, ratings, min_user_ratings=9)
    assert "at least 9 ratings (--min-user-ratings)" in refused.value.expected
    assert refused.value.found == "at most 2 a user"  # 3 ratings, one of them held out


@st.composite
def tables(draw):
    pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=25, unique=True))
    return [(user, item, draw(st.integers(0, 10)) / 2) for user, item in pairs]


@given(triples=tables(), top_items=st.integers(0, 6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_training_set_is_read_as_it_was_written(make_ratings, triples, top_items, seed, write):
    """Stored zeros of both kinds included: ratings of 0 and preferences of 0."""
    ratings = make_ratings(triples)
    with tempfile.TemporaryDirectory() as folder:
        prepared, counts = write(Path(folder), ratings, top_items=top_items, seed=seed)
        held_out = prepared.array("held_out")
        order = np.lexsort((ratings.item_index, ratings.user_index))
        for part in PARTS:
            mask = order[~held_out] if part == "split" else order
            built = build_training_set(
                ratings.user_index[mask], ratings.item_index[mask], ratings.rating[mask],
                (ratings.n_users, ratings.n_items), top_items=top_items, min_user_ratings=1,
            )  # fmt: skip
            read = prepared.training_set(part)
            for name in ("items", "trained", "item_counts", "item_sums"):
                assert_array_equal(getattr(read, name), getattr(built, name))
                assert getattr(read, name).dtype == getattr(built, name).dtype
            for name in ("ratings", "preferences", "binary"):
                for array in ("data", "indices", "indptr"):
                    assert_array_equal(getattr(getattr(read, name), array), getattr(getattr(built, name), array))
            assert read.preferences.nnz == read.ratings.nnz
        assert counts.ratings_kept == prepared.training_set("all").ratings.nnz
        preferences = prepared.training_set("all").preferences.data
        assert (counts.preference_min, counts.preference_max) == (preferences.min(), preferences.max())
        assert counts.held_out == int(held_out.sum()) == len(triples) - len(pairs_of(prepared.seen("split")))


# a given hold-out


@pytest.fixture
def given_one(tmp_path, make_ratings, table, write):
    """The table; held out are one of its pairs with another rating, a new user, and a new item."""
    test = make_ratings([(20, 2, 1.0), (99, 1, 5.0), (10, 77, 4.0)], refused=1)
    return write(tmp_path, make_ratings(table, seen=[(40, 1), (30, 2)]), test)[0]


def test_pairs_that_are_also_in_the_input_leave_training(given_one, table):
    left = {(user, item): rating for user, item, rating in table if (user, item) != (20, 2)}
    for part in PARTS:
        assert rated(given_one, part) == left


def test_a_given_hold_out_is_the_hold_out(given_one):
    users, items = given_one.ids.user_ids.to_pylist(), given_one.ids.item_ids.to_pylist()
    user, item, rating = given_one.holdout()
    held = {(users[u], items[i], float(r)) for u, i, r in zip(user, item, rating, strict=True)}
    assert held == {(20, 2, 1.0), (99, 1, 5.0), (10, 77, 4.0)}
    assert given_one.counts.held_out == 3


def test_ids_that_only_the_hold_out_has_are_known_but_not_served_and_no_candidates(given_one):
    ids = given_one.ids
    assert ids.user_ids.to_pylist() == [10, 20, 30, 40, 99]
    assert ids.item_ids.to_pylist() == [1, 2, 3, 77]
    assert served_users(given_one).tolist() == [0, 1, 2, 3]
    popular = popular_table(given_one.catalogue("all"), given_one.ids)
    assert popular["item_id"].to_pylist() == [1, 3, 2]
    assert popular["ratings"].to_pylist() == [3, 3, 1]
    assert given_one.training_set("all").trained.tolist() == [True, True, True, True, False]


def test_titles_follow_the_larger_id_map(given_one):
    items = given_one.items()
    assert items["item_id"].to_pylist() == [1, 2, 3, 77]
    assert items["title"].to_pylist() == ["title of 1", "title of 2", "title of 3", "title of 77"]


def test_seen_of_a_given_hold_out(given_one):
    """Judged lists may hold the held-out items; published lists hold nothing that a user has rated anywhere."""
    refused = {(3, 0), (2, 1)}
    left = {(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 2), (3, 2)}
    assert pairs_of(given_one.seen("split")) == left | refused
    assert pairs_of(given_one.seen("all")) == left | refused | {(1, 1), (4, 0), (0, 3)}


def test_every_user_of_the_input_is_served_even_if_all_they_rated_is_held_out(tmp_path, make_ratings, table, write):
    """Contract: every user of the input with at least one valid rating has n rows."""
    test = make_ratings([(40, 3, 2.0), (99, 1, 5.0)])
    prepared, _ = write(tmp_path, make_ratings(table), test)
    assert prepared.ids.user_ids.take(pa.array(served_users(prepared))).to_pylist() == [10, 20, 30, 40]


def test_seen_stores_1_where_a_refused_row_is_in_the_hold_out_too(tmp_path, make_ratings, table, write):
    prepared, _ = write(tmp_path, make_ratings(table, seen=[(40, 1)]), make_ratings([(40, 1, 2.0)]))
    assert set(prepared.seen("all").data.tolist()) == {1}


@pytest.mark.parametrize("swapped", [False, True])
def test_ids_of_another_type_are_refused(tmp_path, make_ratings, swapped, write):
    numbers, words = make_ratings([(1, 1, 3.0), (2, 2, 3.0)]), make_ratings([("ann", "x", 3.0)])
    with pytest.raises(InputRefused, match="ids are of another type") as refused:
        write(tmp_path, *((words, numbers) if swapped else (numbers, words)))
    assert {refused.value.expected, refused.value.found} == {"int64", "string"}
    assert "input.id_type=string" in refused.value.todo


def test_a_hold_out_of_everything_is_refused(tmp_path, ratings, write):
    with pytest.raises(InputRefused, match="No rating is left to learn from") as refused:
        write(tmp_path, ratings, ratings)
    assert "8 ratings, all held out" in refused.value.found


@pytest.mark.parametrize("timed", [(True, False), (False, True), (True, True)])
def test_timestamps_are_kept_only_where_both_have_them(tmp_path, make_ratings, timed, write):
    train = make_ratings([(1, 1, 3.0), (2, 2, 3.0)], [5, 6] if timed[0] else None)
    test = make_ratings([(2, 1, 4.0)], [7] if timed[1] else None)
    prepared, _ = write(tmp_path, train, test)
    assert (tmp_path / "timestamp.npy").exists() == all(timed)
    if all(timed):
        assert prepared.array("timestamp").tolist() == [5, 7, 6]


@given(train=tables(), test=tables())
@settings(max_examples=25, deadline=None)
def test_a_given_hold_out_and_the_rest_share_no_pair(make_ratings, train, test, write):
    held = {(user, item): rating for user, item, rating in test}
    left = {(user, item): rating for user, item, rating in train if (user, item) not in held}
    if not left:
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared, counts = write(Path(folder), make_ratings(train), make_ratings(test))
        assert rated(prepared, "all") == rated(prepared, "split") == left
        assert counts.held_out == len(held)
        assert counts.ratings == len(held) + len(left)
        assert len(pairs_of(prepared.seen("all"))) == len(held) + len(left)


# real data


def test_ml_100ks_own_split_is_the_same_with_and_without_the_test_rows_in_the_input(
    tmp_path, archives, from_frame, write
):
    test = from_frame(archives.read_ml_100k("u1.test"))
    made = {}
    for member in ("u1.base", "u.data"):
        (tmp_path / member).mkdir()
        made[member] = write(tmp_path / member, from_frame(archives.read_ml_100k(member)), test)[0]
    base, whole = made["u1.base"], made["u.data"]
    assert base.counts.held_out == whole.counts.held_out == 20_000
    assert base.counts.ratings_kept == whole.counts.ratings_kept == 80_000
    assert base.ids.sha256 == whole.ids.sha256
    for name in ("data", "indices", "indptr"):
        left, right = (getattr(prepared.training_set("all").ratings, name) for prepared in (base, whole))
        assert_array_equal(left, right)


# by shards


@given(triples=tables(), top_items=st.integers(0, 6), edges=st.sets(st.integers(0, 6)), data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_read_by_shards_are_the_rows_of_the_whole(make_ratings, triples, top_items, edges, data, write):
    pairs = st.sampled_from([(user, item) for user, _, _ in triples for _, item, _ in triples])
    ratings = make_ratings(triples, seen=data.draw(st.lists(pairs, max_size=5)))
    with tempfile.TemporaryDirectory() as folder:
        prepared, _ = write(Path(folder), ratings, top_items=top_items)
        cuts = sorted({0, ratings.n_users, *(edge for edge in edges if edge < ratings.n_users)})
        shards = [Shard(start, stop) for start, stop in pairwise(cuts)]
        for part in PARTS:
            seen = vstack([prepared.seen(part, shard) for shard in shards])
            same_rows(seen, prepared.seen(part))
            assert (seen.dtype, seen.shape) == (np.int8, (ratings.n_users, ratings.n_items))
            same_rows(
                vstack([prepared.histories(part, shard) for shard in shards]), prepared.training_set(part).ratings
            )
        for whole, parts in zip(prepared.holdout(), zip(*map(prepared.holdout, shards), strict=True), strict=True):
            assert_array_equal(np.concatenate(parts), whole)


def same_rows(left, right):
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(left, name), getattr(right, name))


def test_the_folders_own_shards_are_cut_by_the_data(prepared):
    assert prepared.shards == cut(prepared.array("indptr")) == (Shard(0, 4),)
