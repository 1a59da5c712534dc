"""A night under rules: settled before training, obeyed by every row, counted in the manifest, kept for new people."""

import importlib.util
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import UsageError
from recsys.objects.folder import ObjectFolder
from recsys.published import PublishedRun
from recsys.recommend import recommend
from recsys.rules.policy import Rules
from recsys.rules.stage import settle

_spec = importlib.util.spec_from_file_location("nights", Path(__file__).parents[1] / "publish" / "nights.py")
nights = sys.modules.setdefault("nights", importlib.util.module_from_spec(_spec))
if not hasattr(nights, "NIGHT"):
    _spec.loader.exec_module(nights)

# Items 10 to 21 of users 100 to 129. Of item 13 nothing is known; item 12's brand is not. User 102's age is not known,
# 103 and those from 110 on are not in the table.
ITEMS = "item_id,brand,price,since\n" + "".join(
    f"{item},{'' if item == 12 else 'AB'[item % 2]},{item},{2026 - item // 2}-01-01\n" for item in range(10, 22) if item != 13
) + "99,A,1,2000-01-01\n"  # fmt: skip
PEOPLE = "user_id,age,country\n100,12,DE\n101,40,DE\n102,,AT\n" + "".join(
    f"{user},{user - 80},FR\n" for user in range(104, 110)
)
RULES = """
[items]
file = "items.csv"
[users]
file = "people.csv"

[[rule]]
name = "withdrawn"
kind = "deny"
items = [10, 500]
file = "gone.csv"

[[rule]]
name = "grown-up"
kind = "deny"
where = { price = { ">=" = 19 } }
for = { age = { "<" = 18 } }

[[rule]]
name = "known price"
kind = "allow"
where = { price = { ">" = 0 } }

[[rule]]
name = "brands"
kind = "cap"
column = "brand"
at_most = 2

[[rule]]
name = "campaign"
kind = "boost"
where = { brand = "A" }
add = 0.05
for = { country = "DE" }
"""


def files(folder, rules=RULES):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "items.csv").write_text(ITEMS)
    (folder / "people.csv").write_text(PEOPLE)
    (folder / "gone.csv").write_text("item_id\n11\nx\n")
    (folder / "rules.toml").write_text(rules)
    return folder / "rules.toml"


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    run, _ = nights.publish_night(root / "store", rules=files(root / "rules"))
    return run


@pytest.fixture(scope="module")
def rows(night):
    return pq.read_table(night.folder / "recommendations", partitioning=None).to_pylist()


def test_every_row_obeys(rows):
    young = {100, 102, 103, *range(110, 130)}  # unknown ages count as young
    brand = {item: "AB"[item % 2] for item in range(10, 22)} | {12: None}
    assert {row["source"] for row in rows} == {"model", "popular"}
    for row in rows:
        assert row["item_id"] not in (10, 11, 13)
        assert row["item_id"] < 19 or row["user_id"] not in young
    for user in {row["user_id"] for row in rows}:
        mine = [brand[row["item_id"]] for row in rows if row["user_id"] == user]
        assert max(map(mine.count, mine)) <= 2


def test_what_each_rule_speaks_of_and_changed_is_counted(night):
    found = json.loads((night.folder / "manifest.json").read_text())["rules"]
    assert [(rule["name"], rule["kind"]) for rule in found["rules"]] == [
        ("withdrawn", "deny"), ("grown-up", "deny"), ("known price", "allow"), ("brands", "cap"), ("campaign", "boost"),
    ]  # fmt: skip
    counts = {rule["name"]: rule for rule in found["rules"]}
    # 19, 20 and 21, and 13 whose price is not known
    assert [counts[name]["items"] for name in counts] == [2, 4, 1, 12, 5]
    assert [counts[name]["unknown_ids"] for name in counts] == [2, 0, 0, 0, 0]
    # 30 users less seven of known age from 18 on; the campaign does not reach those whose country is not known
    assert [counts[name]["users"] for name in counts] == [30, 23, 30, 30, 2]
    assert [counts[name]["unknown_users"] for name in counts] == [0, 22, 0, 0, 21]
    assert counts["withdrawn"]["rows_removed"] > 0
    assert found["lists"]["lists"] == 30
    assert (
        found["lists"]["rows_without"]
        >= found["lists"]["rows"]
        == sum(json.loads((night.folder / "manifest.json").read_text())["sources"].values())
    )
    assert found["sha256"] == night.rules.fingerprint == night.effective_config["rules"]["sha256"]


def test_new_people_are_strangers_to_the_user_table(night):
    """Even by an id that the table has: what a rule takes from some it takes from them."""
    run = PublishedRun(night.folder)
    ratings = pa.table({"user_id": [101, 101, 7], "item_id": [14, 15, 99], "rating": [5.0, 4.0, 3.0]})
    found = recommend(run, ratings, top_n=12).table.to_pylist()
    for user, rated in ((101, {14, 15}), (7, set())):
        listed = [row["item_id"] for row in found if row["user_id"] == user]
        assert 3 <= len(listed) <= 5  # two of each brand and one of none
        assert set(listed) <= {12, 14, 15, 16, 17, 18} - rated
    assert {row["source"] for row in found} == {"fold_in", "popular"}


def test_a_rule_that_speaks_of_nothing_changes_no_byte(tmp_path, caplog):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nkind = "deny"\nitems = [77]\n[[rule]]\nkind = "mmr"\nlambda = 1\n')
    plain, _ = nights.publish_night(tmp_path / "plain")
    with caplog.at_level(logging.WARNING, "recsys"):
        ruled, _ = nights.publish_night(tmp_path / "ruled", rules=rules)
    assert "speaks of no item" in caplog.text
    assert ruled.run_id != plain.run_id
    left, right = (pq.read_table(run.folder / "recommendations", partitioning=None) for run in (plain, ruled))
    assert left.replace_schema_metadata().equals(right.replace_schema_metadata())
    assert "rules" not in json.loads((plain.folder / "manifest.json").read_text())
    assert not (plain.folder / "rules").exists()
    effects = json.loads((ruled.folder / "manifest.json").read_text())["rules"]["lists"]
    assert effects["changed"] == 0


def test_the_content_is_part_of_the_run_and_the_path_is_not(tmp_path):
    one = nights.make_run(tmp_path / "s", rules=files(tmp_path / "a"))
    same = nights.make_run(tmp_path / "s", rules=files(tmp_path / "b"))
    assert one.run_id == same.run_id
    ids = {one.run_id, nights.make_run(tmp_path / "s").run_id}
    for name in ("items.csv", "people.csv", "gone.csv", "rules.toml"):
        file = files(tmp_path / name)
        with (file.parent / name).open("a") as opened:
            opened.write("\n")
        ids.add(nights.make_run(tmp_path / "s", rules=file).run_id)
    assert len(ids) == 6


def test_files_that_change_under_way_are_refused(tmp_path):
    run = nights.make_run(tmp_path / "s", rules=files(tmp_path / "a"))
    with (tmp_path / "a" / "people.csv").open("a") as opened:
        opened.write("101,3,DE\n")
    with pytest.raises(UsageError, match="while the run was under way"):
        settle(run)
    assert not (run.folder / "rules").exists()


@pytest.mark.parametrize(("old", "new", "said"), [
    ("price", "prise", "'prise', which is nowhere"), ("age =", "aeg =", "'aeg', which is nowhere"),
    ('"items.csv"', '"itmes.csv"', "itmes.csv of the rules|itmes.csv"), ('"gone.csv"', '"https://b/gone.csv"', "https://b/gone.csv is no address"),
    ('column = "brand"', 'column = "genre"', "'genre', which is nowhere"),
    ("price = {", "title = {", None),
])  # fmt: skip
def test_what_is_nowhere_is_refused_before_anything_is_read(tmp_path, old, new, said):
    file = files(tmp_path, RULES.replace(old, new))
    if said is None:  # the column is there, but a text has no order: told once the items are known
        with pytest.raises(UsageError, match="cannot be compared"):
            settle(nights.make_run(tmp_path / "s", rules=file))
    else:
        with pytest.raises(UsageError, match=said):
            nights.make_run(tmp_path / "s", rules=file)
        assert not (tmp_path / "s").exists()


class TestInAnObjectStore:
    @pytest.fixture
    def bucket(self, s3, tmp_path):
        """A folder of objects with the rules and their tables in it."""
        for file in files(tmp_path / "given").parent.iterdir():
            put(s3.uri, file.name, file.read_bytes())
        return s3.uri

    @pytest.fixture
    def here(self, tmp_path):
        """The same run by rules on this machine."""
        return nights.make_run(tmp_path / "here", rules=tmp_path / "given" / "rules.toml")

    def test_the_run_is_the_same_and_needs_the_service_no_more(self, bucket, here, tmp_path):
        run = nights.make_run(tmp_path / "there", rules=f"{bucket}/rules.toml")
        assert run.run_id == here.run_id
        put(bucket, "other.toml", RULES.encode())
        other = nights.make_run(tmp_path / "there", rules=f"{bucket}/other.toml")
        ObjectFolder.at(bucket).remove(["rules.toml", "other.toml", "items.csv", "people.csv", "gone.csv"])
        assert other.rules.read() == here.rules.read()
        for each in (run, here):
            settle(each)
        kept = [{path.name: path.read_bytes() for path in (each.folder / "rules").iterdir()} for each in (run, here)]
        assert kept[0] == kept[1]

    def test_a_file_here_with_a_table_there(self, bucket, here, tmp_path):
        file = files(tmp_path / "mixed", RULES.replace('"items.csv"', f'"{bucket}/items.csv"'))
        (tmp_path / "mixed" / "items.csv").unlink()
        settle(nights.make_run(tmp_path / "there", rules=file))
        put(bucket, "rules.toml", file.read_bytes().replace(b'"gone.csv"', b'"/gone.csv"'))
        with pytest.raises(UsageError, match="nothing between two slashes"):  # a place of which machine?
            nights.make_run(tmp_path / "there", rules=f"{bucket}/rules.toml")

    def test_changed_rules_are_taken_and_old_ones_never(self, bucket, here, tmp_path):
        put(bucket, "people.csv", PEOPLE.replace("101,40", "101,14").encode())
        assert nights.make_run(tmp_path / "there", rules=f"{bucket}/rules.toml").run_id != here.run_id
        ObjectFolder.at(bucket).remove(["people.csv"])
        with pytest.raises(UsageError, match=r"no object .*people\.csv"):
            nights.make_run(tmp_path / "there", rules=f"{bucket}/rules.toml")
        put(bucket, "rules.toml", b"[[rule]")
        with pytest.raises(UsageError, match=f"The rules file {bucket}/rules.toml cannot be read"):
            nights.make_run(tmp_path / "there", rules=f"{bucket}/rules.toml")


def put(uri, name, data):
    ObjectFolder.at(uri).put(name, data)


def test_a_column_in_two_tables_is_refused(tmp_path):
    file = files(tmp_path)
    (tmp_path / "items.csv").write_text("item_id,genres,brand,price\n10,a,b,1\n")
    file.write_text('[items]\nfile = "items.csv"\n[[rule]]\nkind = "mmr"\n')
    with pytest.raises(UsageError, match="in two tables"):
        nights.make_run(tmp_path / "s", rules=file)


def test_first_rated_needs_timestamps(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[[rule]]\nkind = "deny"\nwhere = { first_rated = { max_age = "7 days" } }\n')
    with pytest.raises(UsageError, match="no timestamps"):
        settle(nights.make_run(tmp_path / "s", rules=file))


def test_minimum_rating_and_number_of_ratings(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[[rule]]\nkind = "allow"\nwhere = { mean_rating = { ">=" = 3.0 }, ratings = { ">=" = 14 } }\n')
    run, _ = nights.publish_night(tmp_path / "s", rules=file)
    dense = nights.example_ratings()
    counts, means = (~np.isnan(dense)).sum(axis=0), np.nanmean(dense, axis=0)
    good = set(10 + np.flatnonzero((counts >= 14) & (means >= 3.0)))
    assert 2 < len(good) < 12
    listed = pq.read_table(run.folder / "recommendations", partitioning=None)["item_id"].to_pylist()
    assert set(listed) == good


def test_rules_from_a_parquet_table_of_ids(tmp_path):
    file = tmp_path / "rules.parquet"
    table = {
        "kind": ["deny", "deny", "allow", "allow", "allow"],
        "item_id": [10, 11, 10, 12, 600],
        "name": ["a", "b", "c", "c", "c"],
    }
    pq.write_table(pa.table(table), file)
    run, _ = nights.publish_night(tmp_path / "s", rules=file)
    assert set(pq.read_table(run.folder / "recommendations", partitioning=None)["item_id"].to_pylist()) == {12}
    assert [rule["name"] for rule in Rules(run.folder / "rules").record["rules"]] == ["a", "b", "c"]


def test_an_allow_list_of_unknown_ids_opens_nothing(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[[rule]]\nkind = "allow"\nitems = [500, "x"]\n')
    run, published = nights.publish_night(tmp_path / "s", rules=file)
    assert published.rows == 0
    record = json.loads((run.folder / "manifest.json").read_text())["rules"]
    assert (record["lists"]["rows"], record["lists"]["short"]) == (0, 30)


def test_ids_of_text_and_a_killed_stage(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('[[rule]]\nkind = "deny"\nitems = ["i10", "10"]\n')
    run = nights.make_run(tmp_path / "s", rules=file, id_type="string")
    settle(run)
    file.unlink()  # what is settled needs the file no more
    settle(run)
    assert Rules(run.folder / "rules").record["rules"][0]["unknown_ids"] == 1
    assert Rules(run.folder / "rules").touched.sum() == 1


def test_vectors_that_cannot_be_compared_are_told_before_training(tmp_path):
    pq.write_table(pa.table({"item_id": [10, 11], "v": [[1.0], [1.0, 2.0]]}), tmp_path / "i.parquet")
    file = tmp_path / "r.toml"
    file.write_text('[items]\nfile = "i.parquet"\n[[rule]]\nkind = "mmr"\nby = "v"\n')
    with pytest.raises(UsageError, match="cannot be compared"):
        settle(nights.make_run(tmp_path / "s", rules=file))
