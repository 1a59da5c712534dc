"""How far a run has come, in words."""

from __future__ import annotations

import json

import pytest

from recsys.states import may_go_on, state_of
from recsys.store.manifest import seal


def write(path, record):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))


REFUSED = {"what": "The input is much smaller.", "expected": "40", "found": "20 ratings", "todo": ""}
FINDINGS = [
    {"check": "ranker_beats_popular", "verdict": "REJECTED", "reason": "ndcg@10 is not better"},
    {"check": "rater_beats_means", "verdict": "PROMOTED", "reason": "rmse is better"},
]
GATE = {"gate": {"verdict": "REJECTED", "reasons": [], "publish": False, "findings": FINDINGS}}
PASSED = {"gate": {"verdict": "PROMOTED", "reasons": ["all is well"]}}


@pytest.mark.parametrize(
    ("files", "name", "reason"),
    [
        ({}, "unfinished", "made: nothing"),
        ({"prepared/x": ""}, "unfinished", "made: prepared"),
        ({"prepared.partial/x": ""}, "unfinished", "made: nothing"),
        ({"evaluation.json": PASSED, "prepared/x": ""}, "unfinished", "made: prepared"),
        ({"evaluation.json": "{"}, "unfinished", "made: nothing"),
        ({"manifest.refused.json": GATE}, "refused by the gate", "REJECTED: ndcg@10 is not better"),
        ({"refused/reason.json": REFUSED}, "input refused", "The input is much smaller. 20 ratings"),
        ({"manifest.json": seal(PASSED), "evaluation.json": GATE}, "complete", "all is well"),
        ({"manifest.json": "{"}, "damaged", "manifest.json: "),
        ({"manifest.json": PASSED}, "damaged", "manifest.json: another content"),
    ],
)
def test_the_state_and_its_reason(tmp_path, files, name, reason):
    for path, record in files.items():
        write(tmp_path / path, record)
    state = state_of(tmp_path)
    assert state.name == name
    assert reason in state.reason
    assert may_go_on(state) == (name == "unfinished")
