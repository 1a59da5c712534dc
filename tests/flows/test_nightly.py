"""The flow as Prefect sees it: with a server, without one, and what leaves this machine (nothing)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

RECSYS = Path(sys.executable).with_name("recsys")
SMALL = ("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000", "--rater", "means")
TABLES = {"recommendations", "similar_items", "popular_items", "quarantine"}
STAGES = {
    "download",
    "prepare",
    "fit-ranker",
    "fit-rater",
    "evaluate",
    "judge",
    "seal",
    "publish",
    "refit-ranker",
    "refit-rater",
    "score",
    "report",
}


def test_a_night_shows_on_the_server(cli, prefect_server, tmp_path) -> None:
    manifest = cli("run", "--store", tmp_path, "--run-date", "2026-11-03", *SMALL, "--json").json
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        found = api.post("/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["night-2026-11-03"]}}}).json()
        assert [run["state"]["name"] for run in found] == ["Completed"]
        of_run = {"flow_runs": {"id": {"any_": [found[0]["id"]]}}}
        tasks = _eventually(lambda: api.post("/task_runs/filter", json=of_run).json(), lambda rows: len(rows) >= 11)
        artifacts = api.post("/artifacts/filter", json=of_run).json()
        logs = _eventually(
            lambda: api.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [found[0]["id"]]}}}).json(), len
        )
    names = {run["name"] for run in tasks}
    assert {
        name.rsplit("-", 1)[0] if name.rsplit("-", 1)[-1] not in ("ranker", "rater") else name for name in names
    } >= STAGES
    keys = {artifact["key"] for artifact in artifacts}
    assert keys >= {"night-summary", "night-metrics", "night-gate", "night-tables"}
    summary = next(artifact["data"] for artifact in artifacts if artifact["key"] == "night-summary")
    assert manifest["run_id"] in summary
    assert "UNGATED" in summary
    metrics = next(json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "night-metrics")
    assert {"ndcg@10", "rmse"} <= {row["metric"] for row in metrics}
    gate = next(json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "night-gate")
    assert {row["finding"] for row in gate} == {"UNGATED", "PROMOTED"}
    events = _eventually(lambda: _asset_events(prefect_server, tmp_path), lambda rows: len(rows) == len(TABLES))
    assets = {event["resource"]["prefect.resource.id"].rsplit("/", 1)[-1]: event for event in events}
    assert assets.keys() == TABLES
    lists = assets["recommendations"]
    assert lists["payload"]["run_id"] == manifest["run_id"]
    assert lists["payload"]["rows"] == sum(manifest["sources"].values())
    assert lists["payload"]["schema_version"] == "1"
    assert any("prepare: 9,000 ratings" in line["message"] for line in logs)


def _asset_events(server: str, store: Path) -> list[dict[str, Any]]:
    wanted = {"filter": {"event": {"prefix": ["prefect.asset.materialization"]}}, "limit": 50}
    with httpx.Client(base_url=server, timeout=30) as api:
        events = api.post("/events/filter", json=wanted).json()["events"]
    return [event for event in events if str(store) in event["resource"]["prefect.resource.id"]]


def test_a_night_that_the_gate_refuses_is_failed_and_shows_why(cli, prefect_server, tmp_path) -> None:
    floor = ("--set", "gate.min_ndcg=0.99")
    cli("run", "--store", tmp_path, "--run-date", "2026-11-05", *SMALL, *floor, code=4)
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        found = api.post("/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["night-2026-11-05"]}}}).json()
        of_run = {"flow_runs": {"id": {"any_": [found[0]["id"]]}}}
        artifacts = api.post("/artifacts/filter", json=of_run).json()
    assert [run["state"]["name"] for run in found] == ["Failed"]
    gate = next(json.loads(artifact["data"]) for artifact in artifacts if artifact["key"] == "night-gate")
    assert (gate[0]["check"], gate[0]["finding"]) == ("min_ndcg", "REJECTED")
    assert _asset_events(prefect_server, tmp_path) == []


def test_a_refused_night_is_failed_on_the_server(cli, prefect_server, tmp_path) -> None:
    cli("run", "--ratings", tmp_path / "nothing.csv", "--store", tmp_path, "--run-date", "2026-11-04", code=5)
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        found = api.post("/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["night-2026-11-04"]}}}).json()
    assert [run["state"]["name"] for run in found] == ["Failed"]
    assert "nothing.csv" in found[0]["state"]["message"]


@pytest.fixture(scope="module")
def listener() -> Iterator[HTTPServer]:
    """A proxy that notes whoever wants to leave this machine."""
    seen: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            seen.append(self.path)
            self.send_error(403)

        do_GET = do_POST = do_CONNECT

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Note)
    server.seen = seen  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxied(no_server_env, listener) -> dict[str, str]:
    """No server is set up, and what would leave this machine asks the listener."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    return no_server_env | dict.fromkeys(names, f"http://127.0.0.1:{listener.server_port}") | here


@pytest.fixture(scope="module")
def lone(proxied, tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """A night without a server."""
    command = [str(RECSYS), "run", "--store", str(tmp_path_factory.mktemp("lone") / "store"), *SMALL]
    return subprocess.run(command, env=proxied, capture_output=True, text=True, timeout=240, check=False)


def test_without_a_server_only_the_night_is_heard_of(lone) -> None:
    assert lone.returncode == 0, lone.stderr
    assert lone.stdout == ""
    lines = lone.stderr.splitlines()
    assert not [line for line in lines if "prefect" in line.lower() or "Traceback" in line or "http://" in line]
    own = ("run ", "prepare: ", "train: ", "evaluate: ", "score: ", "judge: ", "report: ", "publish: ")
    assert all(line.startswith("  ") or line.startswith("run ") or line[9:].startswith(own) for line in lines), lines


def test_nothing_is_sent_to_the_outside(lone, proxied, listener) -> None:
    assert lone.returncode == 0, lone.stderr
    assert listener.seen == []
    probe = "import httpx\ntry:\n httpx.get('https://example.org')\nexcept httpx.HTTPError: pass"
    subprocess.run([sys.executable, "-c", probe], env=proxied, timeout=60, check=True)
    assert listener.seen, "the listener would not have noticed"


def test_parameters_are_a_form_with_bounds() -> None:
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from flows.nightly import nightly
    from recsys.config import RunConfig

    assert set(nightly.parameters.properties) == set(RunConfig.model_fields)
    nightly.validate_parameters({"store": "s", "score": {"top_n": 5}})
    with pytest.raises(Exception, match="top_n"):
        nightly.validate_parameters({"score": {"top_n": 0}})
    described = nightly.parameters.definitions["ScoreConfig"]["properties"]["top_n"]
    assert described["minimum"] == 1
    assert described["description"]


def _eventually(ask, enough, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if enough(answer):
            return answer
        time.sleep(0.3)
    return ask()
