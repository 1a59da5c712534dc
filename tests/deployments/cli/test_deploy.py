"""`recsys deploy` before it speaks to a server, and when none is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from deployments.cli.deploy import _placed, _require_no_date, deploy
from deployments.cli.prefect_local import QUIET
from deployments.cli.run import run
from deployments.definitions import DEPLOYMENTS, NIGHTLY
from recsys.config import load
from recsys.errors import UsageError

NOBODY = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}


def test_places_become_whole_and_addresses_stay(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(
        options={"ratings": "in/*.csv", "items": "s3://bucket/items.csv", "mirror": "~/archives", "store": "out"}
    )
    placed = _placed(config)
    assert placed.store == str(tmp_path / "out")
    assert placed.input.ratings == str(tmp_path / "in" / "*.csv")
    assert placed.input.items == "s3://bucket/items.csv"
    assert placed.download.mirror == str(Path.home() / "archives")
    assert placed.monitor.textfile is None


def test_it_takes_what_a_night_takes_but_a_date() -> None:
    of_night, own = (set(inspect.signature(command).parameters) for command in (run, deploy))
    assert of_night - own == {"run_date"}


def test_only_what_is_given_becomes_a_parameter(tmp_path) -> None:
    placed = _placed(load(options={"store": str(tmp_path), "top_n": 5}))
    assert NIGHTLY.parameters_from(placed) == {"store": str(tmp_path), "score": {"top_n": 5}}


@pytest.mark.parametrize("wrong", ["run_date=2026-11-21", "input.until=2026-11-21"])
def test_a_fixed_date_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="from its schedule"):
        _require_no_date(load(assignments=(wrong,)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, "meets a clock change"),
        ({"cron": "half past four"}, "cannot be read"),
        ({"pool_type": "lambda"}, "process, docker or kubernetes"),
        ({"job_variables": ["image"]}, "--job-variable 'image' is not an assignment"),
        ({"ranker": "edlea"}, "edlea"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_before_a_server_is_asked(options, said, tmp_path, monkeypatch) -> None:
    for name in QUIET:
        monkeypatch.setenv(name, QUIET[name])
    with pytest.raises(UsageError, match=re.escape(said)):
        deploy(**{"cron": "", "store": str(tmp_path), **options})


def test_without_a_server_it_says_how_to_start_one(cli, tmp_path) -> None:
    told = cli("deploy", "--store", tmp_path, code=2, env={"PREFECT_API_URL": ""})
    assert "No Prefect server is set up" in told.err
    assert "prefect server start" in told.err


def test_a_server_that_does_not_answer_is_no_defect(cli, tmp_path) -> None:
    told = cli("deploy", "--store", tmp_path, "--json", code=5, env=NOBODY)
    assert told.json["exit_code"] == 5
    assert "does not answer" in told.json["what"]


def test_what_it_did_as_json(cli, tmp_path) -> None:
    done = cli("deploy", "--store", tmp_path, "--json", "--cron", "").json["done"]
    assert [line for line in done if line.startswith("deployment nightly/nightly (by hand)")]
    assert len([line for line in done if line.startswith("deployment") and "removed" not in line]) == len(DEPLOYMENTS)
