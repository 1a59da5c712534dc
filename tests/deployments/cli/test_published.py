"""`recsys runs show`: a run in whatever state, and why."""

import json

import pytest
from typer.testing import CliRunner

from deployments.cli.app import app
from recsys.errors import UsageError
from recsys.store.manifest import seal

CALLED = CliRunner()
GATE = {"verdict": "REJECTED", "reasons": ["r"], "publish": False, "findings": [
    {"check": "ranker_beats_popular", "verdict": "REJECTED", "reason": "ndcg@10 is not better"},
]}  # fmt: skip
INPUT = {
    "dataset": "demo", "origin": "generated", "trust": "made here", "stale_input": False, "ratings": 9000, "users": 300,
    "items": 200, "refused": 0, "repeated": 0,
}  # fmt: skip
MADE = {
    "run_id": "ab12", "run_date": "2026-11-21", "input": INPUT, "gate": GATE, "sources": {"model": 3000}, "files": [],
    "metrics": {"ndcg@10": {"value": 0.3}}, "baselines": {"popular": {}, "means": {}},
    "timings": {"prepare": {"seconds": 1.0, "peak_memory_mib": 300}},
}  # fmt: skip
EVALUATION = json.dumps({"champion": {}})
STATES = {
    "unfinished": ({"prepared/x": ""}, "made: prepared"),
    "input refused": ({"refused/reason.json": json.dumps({"what": "Too small.", "found": "2 ratings"})}, "Too small. 2"),
    "refused by the gate": (
        {"manifest.refused.json": json.dumps(MADE), "evaluation.json": EVALUATION}, "REJECTED: ndcg@10 is not better",
    ),
    "complete": ({"manifest.json": json.dumps(seal(MADE)), "evaluation.json": EVALUATION}, "r"),
    "damaged": ({"manifest.json": json.dumps(MADE)}, "manifest.json: "),
}  # fmt: skip


@pytest.fixture
def show(tmp_path):
    """show(files, *options) -> what `recsys runs show` does in a store whose only run has these files."""

    def call(files, *options, run="ab"):
        for path, text in files.items():
            file = tmp_path / "runs" / "run_date=2026-11-21" / "run_id=ab12" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return CALLED.invoke(app, ["runs", "show", run, "--store", str(tmp_path), *options])

    return call


@pytest.mark.parametrize("name", STATES)
def test_the_state_and_why(show, name):
    files, reason = STATES[name]
    told = show(files)
    assert told.exit_code == (1 if name == "damaged" else 0), told.output
    assert name in told.stdout
    assert reason in told.stdout
    made = name in ("complete", "refused by the gate")
    assert ("9,000 ratings, 300 users" in told.stdout) == ("ranker_beats_popular" in told.stdout) == made


@pytest.mark.parametrize("name", STATES)
def test_json(show, name):
    files, reason = STATES[name]
    told = show(files, "--json")
    found = json.loads(told.stdout)
    assert (found["run_id"], found["run_date"], found["state"]) == ("ab12", "2026-11-21", name)
    assert reason in found["reason"]
    assert found.get("input") == (INPUT if name in ("complete", "refused by the gate") else None)
    assert ("recsys runs verify" in told.stderr) == (name == "damaged")


def test_a_damaged_file_of_a_refused_run_is_named(show):
    files = STATES["refused by the gate"][0] | {"evaluation.json": "{"}
    named = json.dumps(seal(MADE | {"files": [{"path": "evaluation.json", "bytes": 2, "sha256": "0" * 64}]}))
    told = show(files | {"manifest.refused.json": named})
    assert "changed: 'evaluation.json'" in str(told.exception)


def test_a_run_that_is_not_there_is_refused_with_those_that_are(show):
    told = show({"prepared/x": ""}, run="cd")
    assert isinstance(told.exception, UsageError)
    assert "'ab12'" in told.exception.found
