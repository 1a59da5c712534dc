"""One model of a comparison, here and in a process of its own."""

import json
import multiprocessing
import threading
import time

import pytest
from nights import config_of, evaluate_run, make_run

from recsys.compare.contestant import Contestant, Terms, in_own_process, measure
from recsys.train.stage import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("store"))
    fit(run, "ranker")
    fit(run, "rater")
    evaluate_run(run)
    return run


@pytest.fixture
def terms(run, tmp_path):
    return Terms(run.prepared.folder, tmp_path, run.config.evaluate, run.config.compute, run.config.seed)


def test_the_figures_are_those_of_the_nightly_evaluation(run, terms):
    record = json.loads((run.folder / "evaluation.json").read_text())
    ranker = measure(Contestant("ranker", record["ranker"], {}), terms)["metrics"]
    rater = measure(Contestant("rater", "means", {}), terms)["metrics"]
    assert ranker | rater == record["metrics"]
    assert measure(Contestant("ranker", "popular", {}), terms)["metrics"] == record["baselines"]["popular"]
    assert rater == record["baselines"]["means"]


def test_a_process_of_its_own_gives_the_same_figures(terms):
    contestant = Contestant("ranker", "edlae", {"reg": 20.0})
    ballast = bytearray(600 << 20)  # the peak of this process, which a forked child would inherit
    ballast[:: 1 << 12] = b"1" * len(ballast[:: 1 << 12])
    own = in_own_process(contestant, terms)
    here = measure(contestant, terms)
    assert own["metrics"] == here["metrics"]
    assert own["settings"] == {"reg": 20.0, "dropout": 0.5, "user_power": 0.0, "item_power": 0.0}
    assert own["failed"] is None
    assert 20 < own["peak_memory_mib"] < 600 < here["peak_memory_mib"]
    assert own["fit_seconds"] >= 0
    assert own["score_seconds"] >= 0


def test_what_does_not_fit_is_a_row_with_its_reason(terms, run):
    terms = Terms(
        terms.prepared, terms.work, terms.evaluate, config_of().compute.model_copy(update={"memory_mib": 0}), 1
    )
    failed = in_own_process(Contestant("ranker", "edlae", {}), terms)
    assert "edlae needs" in failed["failed"]
    assert failed["exit_code"] == 2
    assert failed["metrics"] == {}
    assert failed["peak_memory_mib"] is None


def test_a_defect_is_a_row_with_its_reason(terms, tmp_path, caplog):
    broken = Terms(tmp_path / "nowhere", terms.work, terms.evaluate, terms.compute, 1)
    failed = in_own_process(Contestant("ranker", "edlae", {}), broken)
    assert failed["failed"].startswith("a defect: FileNotFoundError")
    assert failed["exit_code"] == 1
    assert any("Traceback" in record.getMessage() for record in caplog.records)


def test_a_killed_process_is_a_row_with_its_reason(terms):
    found = []
    thread = threading.Thread(target=lambda: found.append(in_own_process(Contestant("rater", "means", {}), terms)))
    thread.start()
    deadline = time.monotonic() + 30
    while not multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    for child in multiprocessing.active_children():
        child.kill()
    thread.join(60)
    assert "SIGKILL" in found[0]["failed"]
    assert found[0]["exit_code"] == 1
