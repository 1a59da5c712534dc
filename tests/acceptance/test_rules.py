"""A night under rules as other programs call it, judged by readers that share no code with it; and its page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000", "--rater", "means")
NIGHT = (*SMALL, "--run-date", "2026-11-21")  # ages are counted to it
EXAMPLE = ROOT / "examples" / "rules.toml"


@pytest.fixture(scope="module")
def night(tmp_path_factory, cli):
    """The store, and the manifest, of a night on demo under the example's rules."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copytree(ROOT / "examples", folder / "examples")
    told = cli("run", "--store", folder / "store", "--rules", folder / "examples" / "rules.toml", "--json", *NIGHT)
    return folder / "store", told.json


@pytest.fixture(scope="module")
def listed(night):
    """Each row with the item's genres, and with the user's age."""
    run = night[0] / "published" / "current"
    items = pd.read_parquet(run / "prepared" / "items.parquet")
    people = pd.read_csv(ROOT / "examples" / "rules-people.csv")
    rows = pd.read_parquet(run / "recommendations")
    return rows.merge(items, on="item_id").merge(people, on="user_id", how="left").sort_values(["user_id", "rank"])


def test_the_page_has_the_example_as_it_stands() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert block == EXAMPLE.read_text(encoding="utf-8")
    (command,) = re.findall(r"^```sh\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_row_obeys_the_example(night, listed) -> None:
    assert not listed["item_id"].isin([3, 12, 25, 64]).any()
    scary = listed[listed["genres"].map(lambda genres: bool({"Ghosts", "Heists"} & set(genres)))]
    assert len(scary)
    assert (scary["age"] >= 18).all()  # never of those whose age is not known
    at_home = listed[listed["item_id"].isin([42, 80])]  # released within two years of the night; item 7 is older
    assert at_home["country"].isin(["DE", "AT"]).all()
    assert not listed[listed["item_id"] == 7]["country"].isin(["DE", "AT"]).all()
    liked = pd.read_parquet(night[0] / "published" / "current" / "popular_items").set_index("item_id")
    assert (liked.loc[listed["item_id"], "mean_rating"] >= 2.5).all()
    assert (liked.loc[listed["item_id"], "ratings"] >= 5).all()
    assert listed.explode("genres").groupby(["user_id", "genres"]).size().max() == 3
    assert (listed.groupby("user_id")["score"].diff().dropna() <= 0).all()


def test_the_manifest_counts_each_rule(night) -> None:
    rules = night[1]["rules"]
    assert [rule["name"] for rule in rules["rules"]] == re.findall(r'name = "(.*)"', EXAMPLE.read_text())
    assert rules["lists"]["lists"] == 300
    assert rules["lists"]["rows"] == sum(night[1]["sources"].values())
    counts = {rule["name"]: rule for rule in rules["rules"]}
    assert counts["withdrawn"]["items"] == 4
    assert counts["withdrawn"]["rows_removed"] > 0
    assert counts["not for minors"]["unknown_users"] == 264  # 260 that the table has not, and four without an age
    assert night[1]["config"]["rules"] == {"sha256": rules["sha256"]}


def test_metrics_are_those_of_a_night_without_rules(night, cli, tmp_path) -> None:
    plain = cli("run", "--store", tmp_path / "store", "--json", *NIGHT).json
    assert plain["metrics"] == night[1]["metrics"]
    assert "rules" not in plain
    assert plain["run_id"] != night[1]["run_id"]


def test_the_same_rules_from_another_folder_are_the_same_run(night, cli, tmp_path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "moved")
    moved = f"rules.file={tmp_path / 'moved' / 'rules.toml'}"
    again = cli("run", "--store", night[0], "--set", moved, "--json", *NIGHT).json
    assert (again["run_id"], again["outcome"]) == (night[1]["run_id"], "unchanged")


def test_new_people_get_what_strangers_may_have(night, cli, tmp_path) -> None:
    (tmp_path / "mine.csv").write_text("item,rating\n1,5\n2,4\n5,4.5\n")
    out = tmp_path / "out.parquet"
    cli("recommend", "--ratings", tmp_path / "mine.csv", "--store", night[0], "--out", out, "--top-n", 20)
    found = duckdb.sql(f"""
        select genres from '{out}' join '{night[0]}/published/current/prepared/items.parquet' using (item_id)
    """).fetchall()
    assert len(found) > 10
    assert not [genres for (genres,) in found if {"Ghosts", "Heists"} & set(genres)]


@pytest.mark.parametrize(("text", "said"), [
    (None, "rules.toml cannot be read"),
    ('[[rule]]\nkind = "deny"\nwhere = { publisher = "x" }\n', "'publisher', which is nowhere"),
    ('[[rule]]\nkind = "deny"\nwhere = { ratings = "many" }\n', "cannot be compared"),
])  # fmt: skip
def test_rules_that_cannot_be_read_close(cli, tmp_path, text, said) -> None:
    if text is not None:
        (tmp_path / "rules.toml").write_text(text)
    told = cli("run", "--store", tmp_path / "store", "--rules", tmp_path / "rules.toml", *SMALL, code=2)
    assert said in told.err
    assert "expected:" in told.err
    assert "Traceback" not in told.err
    assert "train:" not in told.err
    assert not (tmp_path / "store" / "published").exists()


@pytest.mark.slow
def test_dask_makes_the_same_bytes(night, cli, tmp_path) -> None:
    options = ("--rules", EXAMPLE, "--engine", "dask", "--set", "compute.workers=2")
    other = cli("run", "--store", tmp_path / "store", *options, "--json", *NIGHT).json
    assert (other["run_id"], other["rules"]) == (night[1]["run_id"], night[1]["rules"])
    tables = [
        [(f["path"], f["sha256"]) for f in manifest["files"] if f["path"].startswith(("recommendations", "rules"))]
        for manifest in (other, night[1])
    ]
    assert tables[0] == tables[1]
