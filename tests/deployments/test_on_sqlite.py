"""The nightly deployment on a Prefect server on SQLite: applied, run by schedule and by hand, published.

Alerts are for test_on_postgres.py: on SQLite the server loses some under its own locks.
"""

from __future__ import annotations

import json

import pytest

SMALL = ("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000", "--rater", "means")


@pytest.fixture(scope="module")
def site(installation, server_env, prefect_server, tmp_path_factory):
    return installation(prefect_server, server_env, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def nights(site):
    """The nightly deployment, with a worker."""
    said = site.readme("recsys deploy", *SMALL)
    assert "deployment nightly/nightly (30 4 * * * UTC): " in said
    with site.worker():
        yield site


def test_runs_are_scheduled(nights, eventually) -> None:
    eventually(lambda: len(nights.runs(state_type="SCHEDULED", auto_scheduled=True)) >= 3, "scheduled runs", 60)


def test_a_night_by_hand_is_watched_to_its_end_and_published(nights) -> None:
    said = nights.readme("prefect deployment run nightly/nightly")
    assert "Completed" in said
    shown = json.loads(nights.call("recsys", "runs", "list", "--store", nights.store, "--json"))["runs"]
    assert [run["state"] for run in shown if run["published"]] == ["complete"]
    table = nights.call("recsys", "path", "recommendations", "--store", nights.store).strip()
    assert list((nights.store / table).glob("part-*.parquet"))


def test_a_night_by_schedule_ends_well(nights, eventually) -> None:
    said = nights.readme("recsys deploy", *SMALL, "--cron", "* * * * *")
    assert "deployment nightly/nightly (* * * * * UTC): changed" in said
    eventually(lambda: bool(nights.runs(state_type="COMPLETED", auto_scheduled=True)), "a night by schedule")


def test_a_schedule_that_is_taken_away_goes(nights) -> None:
    said = nights.readme("recsys deploy", *SMALL, "--cron", "")
    assert "deployment nightly/nightly (by hand): changed" in said
    assert said.count("automation") == said.count("unchanged")
    (flow,) = {run["flow_id"] for run in nights.runs(state_type="COMPLETED", auto_scheduled=True)}
    assert not nights.runs(state_type="SCHEDULED", auto_scheduled=True, flow_id=flow)
