"""A right table passes; each way to break it is found, by its own message, before anything is published."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nights import make_run, score_run

from recsys import tables
from recsys.publish.invariants import BrokenTable, check_recommendations
from recsys.publish.stage import publish
from recsys.score.stage import served_users

N = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return score_run(make_run(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def rows(run):
    return pq.read_table(run.folder / "recommendations", partitioning=None).to_pylist()


def check(run, folder, **changed):
    prepared = run.prepared
    given = {
        "prepared": prepared,
        "users": served_users(prepared),
        "n": N,
        "n_candidates": int(np.count_nonzero(prepared.training_set("all").item_counts)),
    }
    return check_recommendations(folder, **(given | changed))


def write(rows, folder, row_group_size=1_000):
    folder.mkdir(exist_ok=True)
    schema = tables.recommendations(pa.int64(), pa.int64())
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema), folder / "part-00000.parquet", row_group_size=row_group_size
    )
    return folder


def full_list(rows):
    """Where the first list of N rows by the model begins."""
    starts = [place for place, row in enumerate(rows) if row["rank"] == 1]
    return next(s for s in starts if [r["source"] for r in rows[s : s + N]] == ["model"] * N)


def test_a_right_table_passes_and_its_sources_are_counted(run, rows, tmp_path):
    counted = {source: sum(row["source"] == source for row in rows) for source in ("model", "fold_in", "popular")}
    assert counted["model"] > 50
    assert counted["popular"] > 5
    assert check(run, run.folder / "recommendations") == counted
    assert check(run, write(rows, tmp_path / "copy")) == counted


def seen_item(run, rows, start):
    user = int(run.prepared.ids.user_index(pa.array([rows[start]["user_id"]]))[0])
    return 10 + int(run.prepared.seen("all")[user].indices[0])


def set_at(offset, **values):
    def change(rows, start, run):
        rows[start + offset] |= {
            name: value(rows, start, run) if callable(value) else value for name, value in values.items()
        }

    return change


def drop(offset):
    return lambda rows, start, run: rows.pop(start + offset)


def swap_users(rows, start, run):
    block = rows[start : start + N]
    del rows[start : start + N]
    rows.extend(block)


def swap_items_in_a_tie(rows, start, run):
    pair = rows[start + 1], rows[start + 2]
    low, high = sorted(row["item_id"] for row in pair)
    for row, item in zip(pair, (high, low), strict=True):
        row |= {"score": rows[start + 1]["score"], "item_id": item}


def drop_the_list(rows, start, run):
    del rows[start : start + N]


def one_too_many(rows, start, run):
    user = rows[start]["user_id"]
    listed = {row["item_id"] for row in rows if row["user_id"] == user}
    index = int(run.prepared.ids.user_index(pa.array([user]))[0])
    seen = {10 + int(item) for item in run.prepared.seen("all")[index].indices}
    free = min(set(range(10, 22)) - listed - seen)
    rows.insert(start + N, rows[start + N - 1] | {"rank": N + 1, "item_id": free, "score": None, "source": "popular"})


BREAKS = {
    "ranks from 0": (set_at(0, rank=0), "ranks have a gap"),
    "a gap in the ranks": (set_at(2, rank=4), "ranks have a gap"),
    "the first row is missing": (drop(0), "ranks have a gap"),
    "the last row is missing": (drop(N - 1), "rows, expected 5"),
    "a list is missing": (drop_the_list, "has 0 rows, expected 5"),
    "a list is too long": (one_too_many, "has 6 rows, expected 5"),
    "an item twice": (set_at(1, item_id=lambda rows, start, run: rows[start]["item_id"]), "an item stands twice"),
    "a seen item": (
        set_at(1, item_id=lambda rows, start, run: seen_item(run, rows, start)),
        "an item was rated by its",
    ),
    "an unknown item": (set_at(1, item_id=999), "an item is not in the input"),
    "an unknown user": (set_at(1, user_id=999_999), "a user is not in the input"),
    "users out of order": (swap_users, "users are out of order"),
    "a score that rises": (
        set_at(1, score=lambda rows, start, run: rows[start]["score"] + 1),
        "a score rises with rank",
    ),
    "a tie the wrong way round": (swap_items_in_a_tie, "a tie is not in the order of item ids"),
    "no score": (set_at(1, score=None), "a score is null outside"),
    "a score that is no number": (set_at(1, score=float("nan")), "a score is not finite"),
    "an endless score": (set_at(0, score=float("inf")), "a score is not finite"),
    "a score in a popular row": (set_at(N - 1, source="popular"), "or set in one"),
    "a popular row in the middle": (set_at(1, source="popular", score=None), "a `popular` row is not last"),
    "a prediction that is no number": (
        set_at(1, predicted_rating=float("nan")),
        "a predicted rating is no number or outside the scale",
    ),
    "an unknown source": (set_at(1, source="guess"), "source"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_rule_is_found(run, rows, tmp_path, name):
    change, message = BREAKS[name]
    broken = [dict(row) for row in rows]
    change(broken, full_list(rows), run)
    with pytest.raises(BrokenTable, match=message):
        check(run, write(broken, tmp_path / "broken"))


def test_a_prediction_outside_the_scale_is_found(run, rows, tmp_path):
    broken = [dict(row) for row in rows]
    broken[1]["predicted_rating"] = 5.5
    with pytest.raises(BrokenTable):
        check(run, write(broken, tmp_path / "broken"))


def test_a_reason_that_the_user_has_not_rated_is_found(run, rows, tmp_path):
    broken = [dict(row) for row in rows]
    start = full_list(rows)
    broken[start]["because_item_id"] = broken[start]["item_id"]
    with pytest.raises(BrokenTable):
        check(run, write(broken, tmp_path / "broken"))


def test_the_message_says_where(run, rows, tmp_path):
    broken = [dict(row) for row in rows]
    place = full_list(rows) + 1
    broken[place]["score"] = float("nan")
    with pytest.raises(BrokenTable) as found:
        check(run, write(broken, tmp_path / "broken"))
    assert f"'user_id': {rows[place]['user_id']}" in str(found.value)
    assert "'rank': 2" in str(found.value)


def test_a_list_split_over_two_row_groups_is_found(run, rows, tmp_path):
    start = full_list(rows)
    with pytest.raises(BrokenTable, match="split"):
        check(run, write(rows, tmp_path / "split", row_group_size=start + 2))


def test_an_empty_table_is_found(run, tmp_path):
    with pytest.raises(BrokenTable, match="0 rows, expected"):
        check(run, write([], tmp_path / "empty"))


def test_rows_of_someone_who_is_not_served_are_found(run, rows, tmp_path):
    users = served_users(run.prepared)
    with pytest.raises(BrokenTable, match=f"user {rows[-1]['user_id']} has"):
        check(run, write(rows, tmp_path / "copy"), users=users[:-1])


def test_a_broken_table_is_not_published(rows, tmp_path):
    run = score_run(make_run(tmp_path / "store"))
    broken = [dict(row) for row in rows]
    broken[1]["score"] = float("nan")
    write(broken, run.folder / "recommendations")
    with pytest.raises(BrokenTable):
        publish(run)
    assert not run.complete
    assert not (run.store / "published").exists()
