"""`recommend`, `similar` and `show item` as other programs call them, judged by readers that share no code with them."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

SMALL = ("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000")
SCHEMA = {
    "user_id": "BIGINT",
    "rank": "INTEGER",
    "item_id": "BIGINT",
    "score": "FLOAT",
    "predicted_rating": "FLOAT",
    "source": "VARCHAR",
    "because_item_id": "BIGINT",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, cli):
    store = tmp_path_factory.mktemp("demo") / "store"
    cli("run", "--store", store, "--rater", "means", *SMALL)
    return store


def popular(store) -> list[int]:
    return pd.read_parquet(store / "published" / "current" / "popular_items")["item_id"].tolist()


def recommended(cli, store, folder, ratings: dict[int, float]) -> list[dict[str, object]]:
    """The list of one person."""
    file = folder / "mine.csv"
    file.write_text("item,rating\n" + "".join(f"{item},{rating:g}\n" for item, rating in ratings.items()))
    (person,) = cli("recommend", "--ratings", file, "--store", store, "--json").json["users"]
    assert person["user_id"] == 1
    return list(person["recommendations"])


def six_in_ten_out(cli, store, folder) -> None:
    """Six ratings in, ten out; other items move the list, other values of the same items the predictions."""
    items = popular(store)
    six, others = items[0:12:2], items[1:12:2]
    values = [5.0, 4.0, 5.0, 1.0, 2.0, 3.0]
    first = recommended(cli, store, folder, dict(zip(six, values, strict=True)))
    moved = recommended(cli, store, folder, dict(zip(others, values, strict=True)))
    lower = recommended(cli, store, folder, dict.fromkeys(six, 1.0))
    for rated, rows in ((six, first), (others, moved), (six, lower)):
        assert [row["rank"] for row in rows] == list(range(1, 11))
        assert {row["source"] for row in rows} == {"fold_in"}
        assert not {row["item_id"] for row in rows} & set(rated)
        assert {row["because_item_id"] for row in rows} <= set(rated)
        assert all(row["title"] for row in rows)
    assert [row["item_id"] for row in first] != [row["item_id"] for row in moved]
    assert sum(row["predicted_rating"] for row in first) > 10 + sum(row["predicted_rating"] for row in lower)


def test_six_ratings_in_ten_out(cli, demo, tmp_path) -> None:
    six_in_ten_out(cli, demo, tmp_path)


def test_six_ratings_in_ten_out_on_ml_1m(cli, mirror, tmp_path) -> None:
    store = tmp_path / "store"
    night = ("run", "--dataset", "ml-1m", "--mirror", mirror, "--rater", "means", "--store", store)
    cli(*night)
    six_in_ten_out(cli, store, tmp_path)
    found = cli("similar", "star wars: episode iv", "--store", store, "--json").json
    assert found["item_id"] == 260
    assert "Empire Strikes Back" in found["similar"][0]["title"]
    assert len(found["similar"]) == 10


def test_a_file_of_lists_for_people_the_run_knows_and_does_not_know(cli, demo, tmp_path) -> None:
    items = popular(demo)
    rows = [(9001, items[0], 5), (9001, items[3], 1), (9001, 777777, 4), (9002, 888888, 3), (1, items[1], 2)]
    given = pd.DataFrame(rows, columns=["customer", "product", "stars"])
    given.to_csv(tmp_path / "new.tsv", sep="\t", index=False)
    options = ("--ratings", tmp_path / "new.tsv", "--columns", "user=customer,item=product,rating=stars")
    told = cli("recommend", *options, "--out", tmp_path / "lists.parquet", "--top-n", 7, "--store", demo)
    assert "21 rows for 3 people" in told.out
    assert "777777" in told.err
    lists = duckdb.sql(f"from '{tmp_path / 'lists.parquet'}'")
    assert dict(zip(lists.columns, map(str, lists.types), strict=True)) == SCHEMA
    frame = pd.read_parquet(tmp_path / "lists.parquet")
    pd.testing.assert_frame_equal(frame, frame.sort_values(["user_id", "rank"], ignore_index=True))
    assert frame.groupby("user_id")["rank"].apply(list).tolist() == [list(range(1, 8))] * 3
    assert frame.groupby("user_id")["source"].unique().map(list).to_dict() == {
        1: ["fold_in"], 9001: ["fold_in"], 9002: ["popular"],
    }  # fmt: skip
    assert frame[frame["user_id"] == 9002]["item_id"].tolist() == items[:7]
    assert frame[frame["source"] == "popular"]["score"].isna().all()
    assert (frame.groupby("user_id")["score"].diff().dropna() <= 0).all()
    rated = set(zip(given["customer"], given["product"], strict=True))
    assert not rated & set(zip(frame["user_id"], frame["item_id"], strict=True))
    own = cli("recommend", *options, "--store", demo, "--json").json
    assert own["unknown_items"] == {"items": 2, "ratings": 2, "sample": [777777, 888888]}
    assert len(own["users"]) == 3


@pytest.mark.parametrize(("text", "code", "said"), [
    ("user,item,rating\n1,1,5\n1,2,nine\n", 3, "1 of 2 rows of bad.csv"),
    ("person,item,rating\n1,1,5\n", 3, "--columns"),
    (None, 5, "bad.csv"),
])  # fmt: skip
def test_what_cannot_be_read_leaves_no_file(cli, demo, tmp_path, text, code, said) -> None:
    if text is not None:
        (tmp_path / "bad.csv").write_text(text)
    out = tmp_path / "out.parquet"
    told = cli("recommend", "--ratings", tmp_path / "bad.csv", "--out", out, "--store", demo, code=code)
    assert said in told.err
    assert "Traceback" not in told.err
    assert not list(tmp_path.glob("*out.parquet*"))


def test_bad_rows_are_let_through_where_they_are_allowed(cli, demo, tmp_path) -> None:
    (tmp_path / "bad.csv").write_text("user,item,rating\n1,1,5\n1,2,nine\n")
    options = ("recommend", "--ratings", tmp_path / "bad.csv", "--store", demo, "--json")
    told = cli(*options, "--set", "input.max_bad_fraction=0.5").json
    assert told["refused_rows"]["rows"] == 1
    assert 2 not in {row["item_id"] for row in told["users"][0]["recommendations"]}


def test_similar_and_show_item(cli, demo) -> None:
    tables = demo / "published" / "current"
    item = popular(demo)[0]
    near = duckdb.sql(
        f"select rank, similar_item_id, similarity from '{tables}/similar_items/*.parquet' where item_id = {item} order by rank"
    ).fetchall()
    found = cli("similar", item, "--store", demo, "--json").json
    assert list(found) == ["item_id", "title", "similar"]
    assert [list(each) for each in found["similar"]] == [["rank", "item_id", "title", "similarity"]] * 10
    assert [(each["rank"], each["item_id"], each["similarity"]) for each in found["similar"]] == near
    assert cli("similar", found["title"].upper(), "--store", demo, "--json").json == found
    least = cli("similar", item, "--least", "-n", 3, "--store", demo, "--json").json["similar"]
    assert [each["similarity"] for each in least] == sorted(each["similarity"] for each in least)
    assert least[-1]["similarity"] < near[-1][2]
    shown = cli("show", "item", item, "--store", demo, "--json").json
    ((ratings, mean),) = duckdb.sql(
        f"select ratings, mean_rating from '{tables}/popular_items/*.parquet' where item_id = {item}"
    ).fetchall()
    assert (shown["ratings"], shown["mean_rating"], shown["similar"]) == (ratings, mean, found["similar"])
    assert found["title"] in cli("show", "item", item, "--store", demo).out


@pytest.mark.parametrize(("text", "said"), [("e", "items fit 'e'"), ("no such thing at all", "There is no item")])
def test_an_item_that_is_not_one_item(cli, demo, text, said) -> None:
    for command in (("similar",), ("show", "item")):
        told = cli(*command, text, "--store", demo, "--json", code=2)
        assert said in told.err
        assert (told.json["status"], told.json["exit_code"]) == ("refused", 2)


def test_nothing_is_published(cli, tmp_path) -> None:
    (tmp_path / "mine.csv").write_text("item,rating\n1,5\n")
    for command in (("recommend", "--ratings", tmp_path / "mine.csv"), ("similar", "1"), ("show", "item", "1")):
        assert "Nothing is published" in cli(*command, "--store", tmp_path / "none", code=2).err
