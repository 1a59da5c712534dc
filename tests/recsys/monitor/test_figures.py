"""The figures for Prometheus, read back by its own client's parser."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nights import NIGHT, config_of, make_run, publish_night, score_run
from prometheus_client.parser import text_string_to_metric_families

from recsys.errors import GateRefused
from recsys.monitor.figures import Gauge, leave_figures
from recsys.publish.mend import mend
from recsys.publish.stage import publish

LATER = date(2026, 2, 1)
REFUSED = {"gate": {"min_ndcg": 0.999}}


def read(file: Path) -> dict[str, list[Any]]:
    """The samples of each metric; every one is described, typed and there once."""
    families = list(text_string_to_metric_families(file.read_text(encoding="utf-8")))
    assert all(family.documentation and family.type == "gauge" for family in families)
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    return {family.name: family.samples for family in families}


def value(samples: dict[str, list[Any]], name: str, **labels: str) -> float:
    (found,) = [sample.value for sample in samples[name] if labels.items() <= sample.labels.items()]
    return float(found)


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "textfile").mkdir()
    return tmp_path / "textfile" / "recsys.prom"


def test_the_figures_of_a_published_night(tmp_path, file) -> None:
    run, _ = publish_night(tmp_path)
    leave_figures(run, file)
    samples, manifest = read(file), json.loads((run.folder / "manifest.json").read_text())
    (info,) = samples["recsys_run_info"]
    assert info.labels["run_date"] == NIGHT.isoformat()
    assert info.labels["run_id"] == run.run_id
    assert all(sample.labels["store"] == str(tmp_path) for found in samples.values() for sample in found)
    verdicts = {sample.labels["verdict"]: sample.value for sample in samples["recsys_run_verdict"]}
    assert sum(verdicts.values()) == verdicts[manifest["gate"]["verdict"]] == 1
    assert value(samples, "recsys_run_ndcg_at_10") == manifest["metrics"]["ndcg@10"]["value"]
    assert value(samples, "recsys_run_rmse_low") == manifest["metrics"]["rmse"]["low"]
    assert value(samples, "recsys_run_users") == 30
    assert value(samples, "recsys_run_input_ratings") == manifest["input"]["ratings"] > 0
    assert sum(sample.value for sample in samples["recsys_run_rows"]) == sum(manifest["sources"].values())
    assert value(samples, "recsys_run_stage_seconds", stage="score") == manifest["timings"]["score"]["seconds"]
    assert value(samples, "recsys_run_peak_memory_bytes") > 1 << 20
    assert value(samples, "recsys_run_is_published") == 1
    assert value(samples, "recsys_published_timestamp_seconds") == value(
        samples, "recsys_run_finished_timestamp_seconds"
    )
    assert [path.name for path in file.parent.iterdir()] == ["recsys.prom"]


def test_a_refused_night_leaves_its_own_and_when_the_shown_one_was_made(tmp_path, file) -> None:
    first, _ = publish_night(tmp_path)
    manifest = json.loads((first.folder / "manifest.json").read_text())
    run = make_run(tmp_path, night=LATER, config=config_of(**REFUSED))
    mend(run)
    score_run(run)
    with pytest.raises(GateRefused):
        publish(run)
    leave_figures(run, file)
    samples = read(file)
    assert value(samples, "recsys_run_verdict", verdict="REJECTED") == 1
    assert value(samples, "recsys_run_is_published") == 0
    assert value(samples, "recsys_run_list_overlap") == 1
    assert samples["recsys_run_info"][0].labels["run_date"] == LATER.isoformat()
    shown = value(samples, "recsys_published_timestamp_seconds")
    assert abs(shown - value(samples, "recsys_run_finished_timestamp_seconds")) < 600
    assert manifest["run_id"] != run.run_id


def test_before_anything_is_published_there_is_no_such_time(tmp_path, file) -> None:
    run = score_run(make_run(tmp_path, config=config_of(**REFUSED)))
    with pytest.raises(GateRefused):
        publish(run)
    leave_figures(run, file)
    assert "recsys_published_timestamp_seconds" not in read(file)


def test_a_run_that_broke_off_leaves_the_figures_of_the_last_one(tmp_path, file) -> None:
    file.write_text("# as it was\n")
    leave_figures(make_run(tmp_path), file)
    assert file.read_text() == "# as it was\n"


def test_a_folder_that_is_not_there_stops_no_night(tmp_path, caplog) -> None:
    run, _ = publish_night(tmp_path)
    leave_figures(run, tmp_path / "nowhere" / "recsys.prom")
    assert "cannot be written" in caplog.text


@given(st.text(st.sampled_from('\\n"\n{}=, é'), max_size=12), st.floats())
def test_any_label_and_value_can_be_read_back(text: str, number: float) -> None:
    gauge = Gauge("recsys_made", "Made up.", [({"of": text}, number)])
    lines = "\n".join(gauge.lines({"store": text})) + "\n"
    (family,) = text_string_to_metric_families(lines)
    if math.isfinite(number):
        (sample,) = family.samples
        assert (sample.labels, sample.value) == ({"store": text, "of": text}, number)
    else:
        assert not family.samples
