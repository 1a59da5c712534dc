"""What makes a run the same run."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

import recsys
from recsys import identity
from recsys.config import load
from recsys.errors import UsageError
from recsys.identity import code_version
from recsys.ratings import ItemsFormat, RatingsFormat, Scale, Snapshot
from recsys.rules.source import RulesSource
from recsys.run import MOST_ITEMS, Run
from recsys.store import MANIFEST
from recsys.store.manifest import read_manifest

DAY = date(2024, 5, 6)
SNAPSHOT = Snapshot(
    "demo", ("/a/ratings.csv",), (), RatingsFormat(), ItemsFormat(), Scale(0.5, 5.0, 0.5), "f" * 64, "/a", "generated"
)


def run_of(*assignments, snapshot=SNAPSHOT, day=DAY, store="/store", holdout=None, **options):
    return Run(Path(store), day, load(None, options, assignments), snapshot, holdout)


def test_a_run_id_is_16_hex_digits_and_the_same_every_time():
    first = run_of().run_id
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")
    assert run_of().run_id == first


@pytest.mark.parametrize(
    "assignment",
    [
        "store=/elsewhere", "compute.threads=3", "compute.memory_mib=8192", "download.mirror=/mirror",
        "download.attempts=9", "download.read_timeout_s=1.5", "engine=local", "run_date=1999-01-01",
        "models.popular={}", "prepare.test_ratings=/moved/test.csv", "train.incremental=true",
    ],
)  # fmt: skip
def test_where_and_how_it_runs_is_no_part_of_it(assignment):
    """The date is the run's own, given beside the configuration; a hold-out counts by its fingerprint."""
    assert run_of(assignment).run_id == run_of().run_id


def test_where_the_files_lie_is_no_part_of_it():
    own = replace(SNAPSHOT, dataset="own")
    here = run_of(ratings="/a/r.csv", items="/a/i.csv", snapshot=own)
    there = run_of(
        ratings="/b/r.csv", items="/b/i.csv", store="/other",
        snapshot=replace(own, ratings=("/b/r.csv",), origin="/b", stale=True, stale_reason="no answer"),
    )  # fmt: skip
    assert here.run_id == there.run_id
    assert here.folder != there.folder


def test_the_budget_decides_only_through_the_number_of_items():
    """Contract: workers and memory are no part of it. Unset, --top-items follows the budget up to 10,000 items."""
    assert run_of("compute.memory_mib=4096").top_items == run_of("compute.memory_mib=65536").top_items == MOST_ITEMS
    small = run_of("compute.memory_mib=64")
    assert small.top_items < MOST_ITEMS
    assert small.run_id != run_of().run_id  # other tables
    assert run_of("compute.memory_mib=64", "top_items=100").run_id == run_of("top_items=100").run_id


@pytest.mark.parametrize(
    "assignment",
    [
        "seed=43", "top_n=11", "top_items=0", "top_items=99", "min_user_ratings=2", "split=random",
        "test_fraction=0.3", "ranker=popular", "rater=means", "train.refit=false", "demo.users=10", "demo.seed=8",
        "dataset=ml-1m", "input.max_bad_fraction=0.02", "input.rating_max=6", "input.id_type=string",
        "input.columns.user=who", "gate.ranker_beats_popular=false", "evaluate.cutoffs=[10]",
        "evaluate.bootstrap_samples=10", "models.weighted_edlae.reg=123.0",
    ],
)  # fmt: skip
def test_what_decides_the_tables_is_part_of_it(assignment):
    assert run_of(assignment).run_id != run_of().run_id


def test_the_date_and_the_data_are_part_of_it():
    holdout = replace(SNAPSHOT, fingerprint="a" * 64)
    ids = [
        run_of(), run_of(day=date(2024, 5, 7)), run_of(snapshot=replace(SNAPSHOT, fingerprint="e" * 64)),
        run_of(holdout=holdout), run_of(holdout=replace(holdout, fingerprint="b" * 64)),
        run_of(snapshot=holdout, holdout=SNAPSHOT),
    ]  # fmt: skip
    assert len({run.run_id for run in ids}) == len(ids)


def test_rules_are_part_of_it_by_their_content_alone():
    def ruled(file, fingerprint):
        return replace(run_of(rules=file), rules=RulesSource(file, fingerprint))

    one = ruled("/a/rules.toml", "1" * 64)
    assert one.run_id == ruled("/b/other.toml", "1" * 64).run_id
    assert len({one.run_id, ruled("/a/rules.toml", "2" * 64).run_id, run_of().run_id}) == 3
    assert one.effective_config["rules"] == {"sha256": "1" * 64}
    assert "rules" not in run_of().effective_config


def test_the_code_is_part_of_it(monkeypatch):
    before = run_of().run_id
    monkeypatch.setattr(identity, "code_version", lambda: "9.9.9+0")
    assert run_of().run_id != before


def test_settings_of_a_model_that_is_not_used_are_no_part_of_it():
    assert run_of("ranker=popular", "models.weighted_edlae.reg=1.0").run_id == run_of("ranker=popular").run_id


def test_settings_of_the_demo_count_only_for_the_demo():
    assert run_of("dataset=ml-1m", "demo.users=10").run_id == run_of("dataset=ml-1m").run_id
    assert run_of("demo.users=10", ratings="r.csv").run_id == run_of(ratings="r.csv").run_id


def test_own_files_are_no_dataset():
    assert run_of(ratings="r.csv").effective_config["input"]["dataset"] is None
    assert run_of().effective_config["input"]["dataset"] == "demo"


def test_a_default_written_out_is_the_default():
    written = ("seed=42", "top_n=10", f"top_items={MOST_ITEMS}", "split=per-user", "models.weighted_edlae={}")
    assert run_of(*written).run_id == run_of().run_id


def test_the_effective_configuration_names_models_settings_and_items():
    effective = run_of("models.weighted_edlae.reg=123").effective_config
    assert set(effective["models"]) == {"weighted_edlae", "biased_mf"}
    assert effective["models"]["weighted_edlae"]["reg"] == 123.0
    assert "dropout" in effective["models"]["weighted_edlae"]
    assert effective["prepare"]["top_items"] == MOST_ITEMS
    assert not {"store", "engine", "compute", "download", "run_date"} & set(effective)


def test_a_misspelt_setting_of_a_model_is_named():
    with pytest.raises(UsageError, match=r"models\.weighted_edlae\.regg"):
        run_of("models.weighted_edlae.regg=1").run_id  # noqa: B018


def test_the_code_version_changes_with_any_source_file(tmp_path, monkeypatch):
    monkeypatch.setattr(recsys, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "deep").mkdir()
    seen = set()
    for path, text in (("__init__.py", "1"), ("__init__.py", "2"), ("deep/a.py", "1"), ("deep/b.py", "1")):
        (tmp_path / path).write_text(text)
        seen.add(code_version())
    (tmp_path / "deep" / "b.py").rename(tmp_path / "deep" / "c.py")
    seen.add(code_version())
    assert len(seen) == 5
    (tmp_path / "deep" / "notes.txt").write_text("no code")
    assert code_version() in seen
    assert code_version().startswith(f"{recsys.__version__}+")


# the handle


def test_where_a_run_stands():
    run = run_of()
    assert run.folder == Path("/store/runs/run_date=2024-05-06") / f"run_id={run.run_id}"
    assert run.work == Path("/store/work") / f"run_id={run.run_id}"
    assert run.record("train") == run.work / "stages" / "train.json"
    assert run.prepared.folder == run.folder / "prepared"


def test_a_run_is_complete_when_its_manifest_stands(tmp_path):
    run = run_of(store=tmp_path)
    run.folder.mkdir(parents=True)
    assert not run.complete
    (run.folder / MANIFEST).write_text('{"a": 1}')
    assert run.complete
    assert read_manifest(run.folder) == {"a": 1}


@pytest.mark.parametrize("text", [None, "{"])
def test_a_manifest_that_cannot_be_read_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UsageError, match="no readable manifest") as error:
        read_manifest(tmp_path)
    assert "recsys runs list" in error.value.todo
