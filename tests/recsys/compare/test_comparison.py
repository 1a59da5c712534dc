"""Who takes part, what is kept, and the table."""

import json

import pyarrow.parquet as pq
import pytest
from nights import config_of

from recsys import config as configuration
from recsys.compare import comparison
from recsys.compare.comparison import choose, compare, to_table
from recsys.compare.contestant import measure
from recsys.errors import UsageError
from recsys.models import registry

SMALL = ("demo.users=60", "demo.items=40", "demo.ratings=1500", "compute.threads=1", "evaluate.bootstrap_samples=20")


def names(asked, config=None):
    return [(one.role, one.name) for one in choose(asked, config or config_of())]


def test_the_baselines_come_first_always_and_once():
    assert names(["edlae"]) == [("ranker", "popular"), ("ranker", "edlae"), ("rater", "means")]
    assert names(["biased_mf", "means", "biased_mf"]) == [
        ("ranker", "popular"), ("ranker", "biased_mf"), ("rater", "means"), ("rater", "biased_mf"),
    ]  # fmt: skip
    both = names([])
    rankers, raters = both[: len(registry.RANKERS)], both[len(registry.RANKERS) :]
    assert rankers == [("ranker", name) for name in registry.RANKERS]
    assert raters[0] == ("rater", "means")
    assert sorted(raters) == sorted(("rater", name) for name in registry.RATERS)


def test_a_model_that_ranks_and_rates_is_measured_as_both(monkeypatch):
    monkeypatch.setattr(registry, "RATERS", {**registry.RATERS, "edlae": registry.RANKERS["edlae"]})
    assert [one for one in names(["edlae"]) if one[1] == "edlae"] == [("ranker", "edlae"), ("rater", "edlae")]


def test_a_preset_is_a_model():
    ease = choose(["ease"], config_of(models={"ease": {"reg": 9.0}}))[1]
    assert (ease.record["settings"]["reg"], ease.record["settings"]["dropout"]) == (9.0, 0.0)
    assert ("ranker", "ease") not in names([])


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError, match="no model 'nobody'"):
        choose(["edlae", "nobody"], config_of())


@pytest.fixture
def here(monkeypatch):
    """Contestants are measured in this process; their names are noted."""
    seen = []

    def noted(contestant, terms):
        seen.append(contestant.name)
        return measure(contestant, terms)

    monkeypatch.setattr(comparison, "in_own_process", noted)
    return seen


def config_in(store, *assignments):
    return configuration.load(None, {"store": str(store)}, (*SMALL, *assignments))


def test_the_table_holds_what_was_measured(here, tmp_path):
    found = compare(config_in(tmp_path), ["edlae"])
    assert found.file == tmp_path / "comparisons" / f"{found.key}.parquet"
    table = pq.read_table(found.file)
    assert table.schema.metadata[b"key"].decode() == found.key
    assert json.loads(table.schema.metadata[b"prepare"])["split"] == "per-user"
    rows = {row["model"]: row for row in table.to_pylist()}
    assert list(rows) == ["popular", "edlae", "means"]
    for record in found.records:
        row = rows[record["model"]]
        assert row["failed"] is None
        assert row["baseline"] == (record["model"] != "edlae")
        for name, value in record["metrics"].items():
            assert row[name] == value["value"]
            assert row.get(f"{name}_low") == value.get("low")
    assert json.loads(rows["edlae"]["settings"]) == {"reg": 500.0, "dropout": 0.5, "user_power": 0.0, "item_power": 0.0}
    assert rows["means"]["ndcg@10"] is None
    assert not list((tmp_path / "work").iterdir())


def test_equal_input_gives_equal_figures(here, tmp_path):
    one, other = (compare(config_in(tmp_path / name), ["edlae"]) for name in ("one", "other"))
    assert one.key == other.key
    assert [record["metrics"] for record in one.records] == [record["metrics"] for record in other.records]


def test_a_broken_off_comparison_goes_on(here, tmp_path, monkeypatch):
    whole = compare(config_in(tmp_path / "whole"), ["edlae"])
    here.clear()
    noted = comparison.in_own_process

    def stopped(contestant, terms):
        if contestant.name == "edlae":
            raise KeyboardInterrupt
        return noted(contestant, terms)

    monkeypatch.setattr(comparison, "in_own_process", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(config_in(tmp_path), ["edlae"])
    monkeypatch.setattr(comparison, "in_own_process", noted)
    found = compare(config_in(tmp_path), ["edlae"])
    assert here == ["popular", "edlae", "means"]
    assert [record["metrics"] for record in found.records] == [record["metrics"] for record in whole.records]


def test_out_is_where_it_is_written(here, tmp_path):
    found = compare(config_in(tmp_path / "store"), ["popular"], tmp_path / "deep" / "table.parquet")
    assert found.file == tmp_path / "deep" / "table.parquet"
    assert pq.read_table(found.file).num_rows == 2
    with pytest.raises(UsageError, match="cannot be written to"):
        compare(config_in(tmp_path / "store"), ["popular"], found.file / "inside.parquet")


def test_failures_are_rows_without_figures():
    failed = {
        "role": "ranker", "model": "edlae", "baseline": False, "settings": {}, "failed": "too large", "exit_code": 2,
        "fit_seconds": None, "score_seconds": None, "peak_memory_mib": None, "metrics": {},
    }  # fmt: skip
    well = {
        **failed,
        "failed": None,
        "metrics": {"rmse": {"value": 0.9, "low": 0.8, "high": 1.0}, "gini@5": {"value": 1}},
    }
    table = to_table([failed, well])
    assert table.column_names[-4:] == ["rmse", "rmse_low", "rmse_high", "gini@5"]
    assert table["failed"].to_pylist() == ["too large", None]
    assert table["rmse"].to_pylist() == [None, 0.9]
