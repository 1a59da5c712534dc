"""Progress of long work on a run's page: an artifact that moves, and none for short work."""

from __future__ import annotations

import logging
import subprocess
import sys

import httpx
import pytest

from tasks import artifacts

FLOW = """
import time
from prefect import flow
from recsys.progress import reported_to, track
from tasks import progress

progress.AFTER_S = 0.2

@flow(name="long-work", flow_run_name="progress-test")
def work():
    with reported_to(progress.OnPage()):
        with track("quick", 10, "users") as bar:
            bar.advance(10)
        with track("no end", None, "bytes") as bar:
            time.sleep(0.5)
        with track("score", 400, "users") as bar:
            for _ in range(4):
                bar.advance(100)
                time.sleep(0.5)

work()
"""


def test_long_work_has_an_artifact_that_moves(prefect_server, server_env) -> None:
    done = subprocess.run([sys.executable, "-c", FLOW], env=server_env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        (run,) = api.post("/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["progress-test"]}}}).json()
        found = api.post("/artifacts/filter", json={"flow_runs": {"id": {"any_": [run["id"]]}}}).json()
    assert [(each["type"], each["description"]) for each in found] == [("progress", "score: 400 of 400 users")]
    assert float(found[0]["data"]) == 100.0


def test_a_server_that_is_gone_does_not_stop_the_work(no_server_env) -> None:
    gone = no_server_env | {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    code = FLOW.replace('@flow(name="long-work", flow_run_name="progress-test")\n', "").replace(
        "from prefect import flow\n", ""
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=gone, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_server_that_does_not_answer_keeps_no_tables_back(monkeypatch, caplog) -> None:
    """What is drawn is drawn before the tables are published."""

    def answer(error: Exception):
        def draw(run: object) -> None:
            raise error

        return draw

    with caplog.at_level(logging.WARNING, "recsys"):
        monkeypatch.setattr(artifacts, "_draw", answer(httpx.ConnectError("refused")))
        artifacts.show_night.fn(None)
    assert "could not be drawn, the night goes on: refused" in caplog.text
    monkeypatch.setattr(artifacts, "_draw", answer(KeyError("a defect")))
    with pytest.raises(KeyError):
        artifacts.show_night.fn(None)
