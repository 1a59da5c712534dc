"""Growth at a tiny size, stage by stage in this process; and the large file's writer."""

from __future__ import annotations

import json

import pyarrow.csv as pa_csv
import pytest

from benchmarks import growth, large
from benchmarks.measured import Measured
from recsys.config import DemoConfig


def test_the_stages_one_by_one_make_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "RATINGS_A_USER", 10)
    config = growth._config(tmp_path, 60, 40).model_copy()
    monkeypatch.setattr(
        growth,
        "_config",
        lambda *_: config.model_copy(update={"train": config.train.model_copy(update={"rater": "means"})}),
    )
    clocks = {stage: growth.run_stage(tmp_path, 60, 40, stage) for stage in growth.STAGES}
    assert all(set(clock) == {"seconds", "cpu_seconds"} for clock in clocks.values())
    assert len(list(tmp_path.glob("runs/*/*/recommendations/part-*.parquet"))) == 1


def taken(seconds, mib):
    return {"seconds": seconds, "cpu_seconds": seconds}, Measured(seconds, seconds, mib, mib, mib / 2, "")


def test_time_a_user_and_what_growth_did_to_it():
    rows = [
        growth._row(users, {"prepare": taken(1.0, 1.0), "score": taken(seconds, mib)})
        for users, seconds, mib in ((100_000, 2.0, 800.0), (1_000_000, 22.0, 840.0))
    ]
    assert rows[0] == {
        "users": 100_000, "prepare": pytest.approx(10.0), "score": pytest.approx(20.0), "score CPU": pytest.approx(20.0),
        "score MiB": 800.0, "private": 400.0,
    }  # fmt: skip
    (note,) = growth.notes(rows)
    assert "1,000,000 users beside 100,000, a user: prepare 0.10, score 1.10, score CPU 1.10, score MiB 1.05" in note
    assert growth.notes(rows[:1]) == []


def test_the_large_file_is_written_once_and_whole(tmp_path):
    size = DemoConfig(users=50, items=30, ratings=400)
    folder, seconds = large.write_csv(size, tmp_path)
    assert seconds is not None
    assert pa_csv.read_csv(folder / "ratings-00000.csv").num_rows == 400
    assert sorted(path.name for path in folder.iterdir()) == ["items.csv", "ratings-00000.csv"]
    assert large.write_csv(size, tmp_path) == (folder, None)


def test_stages_stand_in_the_order_of_the_night():
    took = {"seconds": 1, "peak_memory_mib": 2}
    rows = large.stage_rows(dict.fromkeys(("evaluate", "a_new_one", "prepare", "score"), took))
    assert [row["stage"] for row in rows] == ["prepare", "evaluate", "score", "a_new_one"]
    assert rows[0] == {"stage": "prepare", "seconds": 1.0, "peak MiB so far": 2}


def test_what_is_promised_of_a_large_night_stands_beside_it():
    manifest = json.loads(
        """{"input": {"ratings": 25000095, "users": 162541, "items": 59047, "items_kept": 10000},
        "config": {"train": {"ranker": "weighted_edlae", "rater": "biased_mf"}}, "memory_mib": {"budget": 4096},
        "metrics": {"ndcg@10": {"value": 0.31}}, "baselines": {"popular": {"ndcg@10": {"value": 0.21}}}}"""
    )
    notes = large.notes(Measured(544.6, 900.0, 6000.4, 5000.0, 4000.0, ""), manifest, 12.3)
    assert notes[0].startswith("The whole: 545 s (at most 600 promised), 900 s of CPU time, 6,000 MiB")
    assert "10,000 of 59,047 items kept within 4,096 MiB" in notes[1]
    assert notes[2] == "Writing the CSV took 12 s."
    assert len(large.notes(Measured(1.0, 1.0, 1.0, 1.0, 1.0, ""), manifest, None)) == 2
