"""Nights that never end, and a database that is lost under Prefect's server: readers keep whole tables and someone is told."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
SMALL = ("--rater", "means", "--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000")
PATIENCE_S = 400  # the server, its worker and the nights share two cores
TRAINS = {  # a night that trains for some seconds
    "demo": {"users": 300, "items": 200, "ratings": 9000}, "compute": {"threads": 1}, "train": {"rater": "biased_mf"},
    "models": {"biased_mf": {"epochs": 1000, "patience": 1000}},
}  # fmt: skip


@pytest.fixture(scope="module")
def nights(installation, serve_prefect, no_server_env, database, operator, tmp_path_factory):
    """The deployments and the alerts on a server whose database can be stopped, and one published night."""
    folder = tmp_path_factory.mktemp("site")
    with serve_prefect(no_server_env | {"PREFECT_API_DATABASE_CONNECTION_URL": database.url}, folder) as url:
        site = installation(url, no_server_env | {"PREFECT_API_URL": url}, folder)
        alerts = {"RECSYS_ALERT_WEBHOOK": operator.webhook, "RECSYS_ALERT_EMAIL": operator.mailbox}
        site.readme("recsys deploy", *SMALL, env=alerts)
        with site.worker():
            assert site.ended(site.start("nightly/nightly", run_date="2026-11-01"))["state_type"] == "COMPLETED"
        yield site


def published(site) -> str:
    return site.call("recsys", "path", "recommendations", "--store", site.store)


def waits(nights, operator, eventually, run_date: str) -> str:
    """A night whose source does not answer: it holds the store and tries again for 21 minutes, which costs nothing."""
    operator.ratings = None
    run = nights.start("nightly/nightly", run_date=run_date, input={"ratings": operator.ratings_url})
    held = lambda: json.loads((nights.store / "lease.json").read_text())["holder"] is not None  # noqa: E731
    eventually(held, "a night that holds the store", PATIENCE_S)
    return run


def next_night(nights, run_date: str) -> None:
    """It is made, and what it publishes is whole."""
    with nights.worker():
        assert nights.ended(nights.start("nightly/nightly", run_date=run_date))["state_type"] == "COMPLETED"
    assert f"run_date={run_date}" in published(nights)
    nights.call("recsys", "runs", "verify", "--store", nights.store)


def test_a_night_that_takes_too_long_is_told_of_and_cancelled(nights, operator, eventually) -> None:
    before = published(nights)
    nights.readme("recsys deploy", *SMALL, "--longest-hours", "0.003")
    with nights.worker():
        run = waits(nights, operator, eventually, "2026-11-02")
        told = operator.told("overlong", PATIENCE_S)
        eventually(lambda: nights.run(run)["state_type"] == "CANCELLED", "the end of the night", PATIENCE_S)
    assert nights.run(run)["name"] in told["subject"]
    assert "has run for 0:00:10" in told["text"]
    assert published(nights) == before
    nights.readme("recsys deploy", *SMALL)
    next_night(nights, "2026-11-02")


def test_a_database_that_is_away_for_a_moment_costs_nothing(nights, database, eventually) -> None:
    before = published(nights)
    with nights.worker():
        run = nights.start("nightly/nightly", run_date="2026-11-03", **TRAINS)
        eventually(
            lambda: any(nights.store.glob("runs/run_date=2026-11-03/*/prepared")), "a night that trains", PATIENCE_S
        )
        database.stop()
        assert published(nights) == before
        time.sleep(5)
        database.start()
        eventually(lambda: nights.run(run)["state_type"] == "COMPLETED", "the end of the night", PATIENCE_S)
    assert "run_date=2026-11-03" in published(nights)
    nights.call("recsys", "runs", "verify", "--store", nights.store)
