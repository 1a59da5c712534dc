"""The nightly deployment on a Prefect server on PostgreSQL, and what operators are told of: one story, in its order."""

from __future__ import annotations

import csv
import io
import json
import random

import httpx
import pytest

SECRET = "s3cret"
DAY, NEXT = "2026-11-01", "2026-11-02"


@pytest.fixture(scope="module")
def site(installation, serve_prefect, no_server_env, postgres, tmp_path_factory):
    server = {
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres,
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
    }
    folder = tmp_path_factory.mktemp("site")
    with serve_prefect(no_server_env | server, folder) as url:
        yield installation(url, no_server_env | {"PREFECT_API_URL": url}, folder)


@pytest.fixture(scope="module")
def options(site, operator):
    """Ratings that the operator serves."""
    figures = f"monitor.textfile={site.folder}/recsys.prom"
    ratings = ("--ratings", operator.ratings_url, "--set", "download.attempts=1")
    return (*ratings, "--rater", "means", "--set", figures)


@pytest.fixture(scope="module")
def nights(site, operator, options):
    """The deployments, and where alerts go."""
    operator.ratings = ratings_of_two_tastes()
    alerts = {"RECSYS_ALERT_WEBHOOK": operator.webhook, "RECSYS_ALERT_EMAIL": operator.mailbox}
    said = site.readme("recsys deploy", *options, env=alerts)
    assert "deployment nightly/nightly (30 4 * * * UTC): made" in said
    assert SECRET not in said
    return site


@pytest.fixture(scope="module")
def late(nights):
    """A night that nobody takes."""
    return nights.start("nightly/nightly", run_date=DAY)


@pytest.fixture(scope="module")
def worked(nights, late, operator):
    """The same with a worker; the late night was told of before it came."""
    told = operator.told("late", 60)
    assert nights.run(late)["name"] in told["subject"]
    with nights.worker():
        yield nights


def test_applied_twice_nothing_changes(nights, options) -> None:
    before = on_server(nights)
    assert before["recsys: overlong"] == ["cancel-flow-run", "call-webhook", "send-notification"]
    assert before["recsys: zombie"] == ["change-flow-run-state"]
    said = nights.readme("recsys deploy", *options, "--json")
    lines = json.loads(said[said.index("{") :])["done"]
    assert {line.rpartition(": ")[2] for line in lines if line.startswith("automation")} == {"unchanged"}
    assert on_server(nights) == before


def test_runs_are_scheduled(nights, eventually) -> None:
    eventually(lambda: len(nights.runs(state_type="SCHEDULED", auto_scheduled=True)) >= 3, "scheduled runs", 60)


def test_no_secret_can_be_read(nights, operator) -> None:
    documents = httpx.post(f"{nights.url}/block_documents/filter", json={}, timeout=30).text
    assert SECRET not in documents
    assert "recsys-alert-webhook" in documents
    assert SECRET not in (nights.folder / "log").read_text()


def test_a_late_night_is_told_of_and_made_when_a_worker_comes(worked, late, operator) -> None:
    assert worked.ended(late)["state_type"] == "COMPLETED"
    assert json.loads((worked.store / "published" / "CURRENT.json").read_text())["run_date"] == DAY
    figures = (worked.folder / "recsys.prom").read_text()
    assert f'run_date="{DAY}"' in figures


def test_a_second_night_at_the_same_time_is_cancelled(worked, operator) -> None:
    runs = [worked.start("nightly/nightly", run_date=DAY, seed=seed) for seed in (1, 2)]
    states = [worked.ended(run) for run in runs]
    assert sorted(state["state_type"] for state in states) == ["CANCELLED", "COMPLETED"]
    assert "concurrency limit" in operator.told("cancelled")["text"]


def test_a_second_search_at_the_same_time_waits(worked, eventually) -> None:
    runs = [worked.start("tune/tune", model="item_knn", trials=1) for _ in range(2)]
    waits = ("AwaitingConcurrencySlot",)
    eventually(lambda: any(worked.run(run)["state_name"] in waits for run in runs), "one of two that waits")
    assert [worked.ended(run)["state_type"] for run in runs] == ["COMPLETED", "COMPLETED"]


def test_a_night_from_old_ratings_is_told_of(worked, operator) -> None:
    operator.ratings = None
    run = worked.ended(worked.start("nightly/nightly", run_date=NEXT))
    operator.ratings = ratings_of_two_tastes()
    assert run["state_type"] == "COMPLETED"
    told = operator.told("stale")
    assert told["night"]["run_date"] == NEXT
    assert "last good copy" in told["text"]


def test_a_refused_night_is_told_of_and_nothing_is_published(worked, operator, tmp_path) -> None:
    single = tmp_path / "ratings.csv"
    single.write_text("user,item,rating\n1,7,4.0\n")
    wrong = {"input": {"ratings": str(single), "min_volume_ratio": 0.0}, "run_date": "2026-11-03"}
    before = (worked.store / "published" / "CURRENT.json").read_bytes()
    assert worked.ended(worked.start("nightly/nightly", **wrong))["state_type"] == "FAILED"
    told = operator.told("refused")
    assert "GateRefused" in told["text"]
    assert "[" not in told["subject"]
    assert (worked.store / "published" / "CURRENT.json").read_bytes() == before


def test_a_failed_night_is_told_of(worked, operator, tmp_path) -> None:
    garbage = tmp_path / "ratings.csv"
    garbage.write_text('user,item,rating\n"a\\""","b",c\n' * 100)
    wrong = {"input": {"ratings": str(garbage)}, "run_date": "2026-11-03"}
    assert worked.ended(worked.start("nightly/nightly", **wrong))["state_type"] == "FAILED"
    assert "InputRefused" in operator.told("failed")["text"]
    # A run that waits five seconds for the worker is late too.
    assert {call["kind"] for call in operator.calls} == {"late", "cancelled", "stale", "refused", "failed"}


def ratings_of_two_tastes() -> bytes:
    """200 users of two kinds on 60 items: any ranker that learns beats popularity."""
    draw, text = random.Random(0), io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("user", "item", "rating", "timestamp"))
    for user in range(200):
        liked = range(30) if user % 2 else range(30, 60)
        for item in draw.sample(liked, 15) + draw.sample(range(60), 5):
            rows.writerow((user, item, 4 + item % 2 if item in liked else 1 + item % 2, 1_700_000_000 + item))
    return text.getvalue().encode()


def on_server(site) -> dict[str, object]:
    """What is on the server, without what it numbers anew."""
    kept = ("parameters", "tags", "entrypoint", "pull_steps", "job_variables", "concurrency_options")
    found = {row["name"]: [action["type"] for action in row["actions"]] for row in site.post("/automations/filter")}
    for row in site.post("/deployments/filter"):
        found[row["name"]] = [
            *(row[key] for key in kept),
            *((each["schedule"], each["active"]) for each in row["schedules"]),
        ]
    return found
