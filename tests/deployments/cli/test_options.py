"""From a command's arguments to the configuration."""

from __future__ import annotations

import inspect

import pytest

from deployments.cli.compare import compare
from deployments.cli.deploy import deploy
from deployments.cli.options import OPTIONS, load_config
from deployments.cli.run import run
from deployments.cli.tune import tune

# What the commands ask for that is no part of a configuration.
OWN = {
    "config",
    "assignments",
    "json_output",
    "models",
    "model",
    "trials",
    "longest_hours",
    "timeout",
    "role",
    "out",
    "pool",
    "pool_type",
    "job_variables",
    "cron",
    "timezone",
}


@pytest.mark.parametrize("command", [run, compare, tune, deploy])
def test_no_option_of_a_command_is_lost(command):
    assert set(inspect.signature(command).parameters) <= OPTIONS | OWN


def test_run_has_them_all():
    assert set(inspect.signature(run).parameters) >= OPTIONS


def test_what_is_no_option_plays_no_part(tmp_path):
    file = tmp_path / "night.toml"
    file.write_text("seed = 1\ntop-n = 7\n")
    given = {"config": file, "assignments": ["score.top_n=9"], "models": "edlae", "seed": 3, "columns": "user=u,item=i"}
    config = load_config(given)
    assert (config.seed, config.score.top_n, config.models) == (3, 9, {})
    assert (config.input.columns["user"], config.input.columns["item"]) == ("u", "i")
