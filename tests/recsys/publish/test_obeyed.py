"""The judge of the rules: what obeys passes; each way to disobey is found before anything is published."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nights import make_run, score_run

from recsys import tables
from recsys.publish.invariants import BrokenTable, check_recommendations
from recsys.publish.obeyed import Obeyed
from recsys.publish.stage import publish
from recsys.score.stage import served_users

RULES = """
[items]
file = "items.csv"
[users]
file = "people.csv"

[[rule]]
kind = "deny"
items = [10]

[[rule]]
kind = "allow"
where = { price = { ">=" = 12 } }
for = { age = { "<" = 18 } }

[[rule]]
kind = "cap"
column = "brand"
at_most = 2
"""
N = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    # 20 and 21 have no price, 19 no brand: one of a kind; three brands of three or four items each
    items = (f"{i},{'' if i > 19 else i},{'' if i == 19 else 'ABC'[i % 3]}" for i in range(10, 22))
    (folder / "items.csv").write_text("item_id,price,brand\n" + "\n".join(items))
    (folder / "people.csv").write_text("user_id,age\n" + "".join(f"{user},{user - 90}\n" for user in range(101, 125)))
    (folder / "rules.toml").write_text(RULES)
    return score_run(make_run(folder / "store", rules=folder / "rules.toml"))


@pytest.fixture(scope="module")
def rows(run):
    return pq.read_table(run.folder / "recommendations", partitioning=None).to_pylist()


def check(run, rows, folder):
    folder.mkdir(exist_ok=True)
    schema = tables.recommendations(pa.int64(), pa.int64())
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "part-0.parquet")
    prepared = run.prepared
    return check_recommendations(
        folder, prepared, served_users(prepared), n=N,
        n_candidates=int(np.count_nonzero(prepared.training_set("all").item_counts)),
        obeyed=Obeyed.of_run(run.folder, prepared),
    )  # fmt: skip


def list_of(rows, user):
    return [row for row in rows if row["user_id"] == user]


def free_item(run, rows, user, wanted):
    """An item among those wanted that the user has neither rated nor in the list."""
    index = int(run.prepared.ids.user_index(pa.array([user]))[0])
    seen = {10 + int(item) for item in run.prepared.seen("all")[index].indices}
    return next((i for i in wanted if i not in seen | {row["item_id"] for row in list_of(rows, user)}), None)


def changed(rows, user, item):
    """The user's last row names another item."""
    rows = [dict(row) for row in rows]
    list_of(rows, user)[-1] |= {"item_id": item, "score": None, "source": "popular", "because_item_id": None}
    return rows


def users_of(rows):
    return sorted({row["user_id"] for row in rows})


def test_what_obeys_passes_short_lists_too(run, rows, tmp_path):
    lengths = {len(list_of(rows, user)) for user in users_of(rows)}
    assert N in lengths
    assert len(lengths) > 1
    assert sum(check(run, rows, tmp_path / "t").values()) == len(rows)


def test_a_denied_item_is_found(run, rows, tmp_path):
    user = next(u for u in users_of(rows) if u > 107 and free_item(run, rows, u, [10]))
    with pytest.raises(BrokenTable, match="a rule forbids this user this item"):
        check(run, changed(rows, user, 10), tmp_path / "t")


@pytest.mark.parametrize("who", ["young", "unknown"])
@pytest.mark.parametrize("wanted", [[11], [20, 21]])
def test_an_item_that_is_not_eligible_for_the_users_cohort_is_found(run, rows, tmp_path, who, wanted):
    """Of age 11 to 17, or of unknown age: nothing below 12, nor of unknown price; for others it may stand."""
    there = range(101, 108) if who == "young" else [100, *range(125, 130)]
    users = [user for user in users_of(rows) if user in there and free_item(run, rows, user, wanted)]
    if not users:
        pytest.skip("everybody has rated it")  # no such case in the example
    with pytest.raises(BrokenTable, match="a rule forbids this user this item"):
        check(run, changed(rows, users[0], free_item(run, rows, users[0], wanted)), tmp_path / "t")
    assert {row["item_id"] for row in rows if row["user_id"] in range(108, 125)} & {11, 20, 21}


def test_one_too_many_of_a_brand_is_found(run, rows, tmp_path):
    brand = {item: "ABC"[item % 3] for item in range(12, 22) if item != 19}
    for user in users_of(rows):
        kept = [brand.get(row["item_id"]) for row in list_of(rows, user)[:-1]]
        full = [item for item in range(12, 19) if kept.count(brand[item]) == 2]
        item = free_item(run, rows, user, full)
        if item is not None:
            with pytest.raises(BrokenTable, match="more items of one value than a cap"):
                check(run, changed(rows, user, item), tmp_path / "t")
            return
    raise AssertionError("nobody has two of a brand")


def test_a_list_that_could_go_on_is_found(run, rows, tmp_path):
    for user in users_of(rows):
        rest = list_of(rows, user)
        broken = [row for row in rows if row is not rest[-1]]
        with pytest.raises(BrokenTable, match=f"user {user} has {len(rest) - 1} rows"):
            check(run, broken, tmp_path / str(user))


def test_rules_that_were_not_applied_publish_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr("recsys.score.stage.Rules.of_run", lambda folder: None)
    again = score_run(make_run(tmp_path / "store", rules=tmp_path_of(run)))
    with pytest.raises(BrokenTable):
        publish(again)
    assert not (tmp_path / "store" / "published").exists()


def tmp_path_of(run):
    return run.store.parent / "rules.toml"
