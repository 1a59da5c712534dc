"""The ratings beside a hold-out: as if the input had never held it."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.prepare.subset import beside_holdout


def triples_of(ratings):
    users, items = ratings.user_ids.to_pylist(), ratings.item_ids.to_pylist()
    rows = zip(ratings.user_index, ratings.item_index, ratings.rating, strict=True)
    return [(users[user], items[item], float(rating)) for user, item, rating in rows]


def test_users_items_and_refused_pairs_go_with_their_last_rating(tmp_path, write_folder, make_ratings, table):
    away = [row for row in table if row[0] == 40 or row[1] == 2]
    ratings = make_ratings(table, timestamps=range(len(table)), seen=[(40, 1), (20, 3), (30, 2), (10, 3)])
    prepared = write_folder(tmp_path, ratings, make_ratings(away, timestamps=range(len(away))))
    stream = beside_holdout(prepared)
    assert (stream.seen_user_index.tolist(), stream.seen_item_index.tolist()) == ([0], [1])
    rest = stream.collect()
    assert rest.user_ids.equals(pa.array([10, 20, 30]))
    assert rest.item_ids.equals(pa.array([1, 3]))
    assert triples_of(rest) == [row for row in table if row not in away]
    assert rest.timestamp.tolist() == [at for at, row in enumerate(table) if row not in away]
    assert (rest.user_ids[rest.seen_user_index[0]].as_py(), rest.item_ids[rest.seen_item_index[0]].as_py()) == (10, 3)
    assert len(rest.seen_user_index) == 1


@given(gone=st.lists(st.booleans(), min_size=8, max_size=8))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_the_input_without_those_rows(tmp_path_factory, write_folder, make_ratings, table, gone):
    away = [row for row, is_gone in zip(table, gone, strict=True) if is_gone]
    kept = [row for row in table if row not in away]
    if not away or not kept:
        return
    prepared = write_folder(tmp_path_factory.mktemp("folder"), make_ratings(table), make_ratings(away))
    stream = beside_holdout(prepared)
    rest = stream.collect()
    assert triples_of(rest) == kept
    assert rest.user_ids.to_pylist() == sorted({user for user, _, _ in kept})
    assert rest.item_ids.to_pylist() == sorted({item for _, item, _ in kept})
    assert stream.user_rows.tolist() == [sum(row[0] == user for row in kept) for user in rest.user_ids.to_pylist()]
    assert len(stream) == len(kept)
