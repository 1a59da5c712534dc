"""`recsys compare` and `recsys tune` as people call them, stopped and killed too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

RECSYS = Path(sys.executable).with_name("recsys")
SMALL = (
    "--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000",
    "--set", "models.biased_mf.epochs=2", "--set", "models.biased_mf.embedding_size=4",
)  # fmt: skip


def start(env: dict[str, str], *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(RECSYS), *map(str, arguments)],
        env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_until(process: subprocess.Popen[bytes], reached) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _lists_of_a_rater(record) -> bool:
    return record["role"] == "ranker" and record["model"] == "biased_mf"


def test_the_figures_are_those_of_the_night(cli, tmp_path) -> None:
    cli("run", "--store", tmp_path / "night", *SMALL, "--ranker", "edlae")
    run = next((tmp_path / "night").glob("runs/*/*"))
    night = json.loads((run / "evaluation.json").read_text())
    said = cli("compare", "--store", tmp_path, "--models", "edlae,biased_mf", *SMALL, "--json").json
    found = {record["model"]: record["metrics"] for record in said["models"] if not _lists_of_a_rater(record)}
    assert found["edlae"] | found["biased_mf"] == night["metrics"]
    assert {name: found[name] for name in ("popular", "means")} == night["baselines"]
    assert said["input"]["held_out"] == night["protocol"]["held_out_ratings"]
    assert pq.read_table(said["file"]).num_rows == 5  # biased_mf is measured as a ranker too
    assert all(record["peak_memory_mib"] > 50 for record in said["models"])


def test_a_table_for_people_and_a_failure_with_its_reason(cli, tmp_path) -> None:
    tiny = ("--set", "compute.memory_mib=1", "--top-items", 0, "--set", "demo.items=600", "--set", "demo.ratings=9000")
    called = cli("compare", "--store", tmp_path, "--models", "edlae", *tiny, "--top-n", 7, code=2)
    assert "ndcg@7" in called.out
    assert "popular" in called.out
    assert "edlae needs" in called.err
    assert "Traceback" not in called.err
    file = Path(called.out.split()[-1])
    assert pq.read_table(file).column("failed").to_pylist()[0] is None


@pytest.mark.parametrize(
    "stop",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGTERM, signal.SIGKILL))],
)
def test_a_stopped_comparison_leaves_no_process_and_goes_on(cli, no_server_env, tmp_path, stop) -> None:
    command = ("compare", "--store", tmp_path, "--models", "edlae", *SMALL)
    process = start(no_server_env, *command)
    wait_until(process, lambda: list(tmp_path.glob("work/*/measured/ranker-popular.json")))
    wait_until(process, lambda: len(psutil.Process(process.pid).children(recursive=True)) > 1)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, stop)
    process.wait(30)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert process.returncode == (-stop if stop == signal.SIGKILL else 128 + stop)
    done = cli(*command)
    assert "popular (ranker) begins" not in done.err
    assert "edlae (ranker) begins" in done.err


def test_a_killed_search_goes_on_to_the_same_end(cli, no_server_env, tmp_path) -> None:
    asked = ("tune", "edlae", "--trials", 12, *SMALL)
    whole = cli(*asked, "--store", tmp_path / "whole", "--json").json
    broken = tmp_path / "broken"
    process = start(no_server_env, *asked, "--store", broken)
    wait_until(process, lambda: sum(file.stat().st_size for file in broken.glob("tuning/*/study.journal")) > 2_500)
    process.kill()
    process.wait(30)
    assert not list(broken.glob("tuning/*/best.toml"))
    found = cli(*asked, "--store", broken, "--out", tmp_path / "best.toml", "--json").json
    assert {name: found[name] for name in ("key", "best", "trials")} == {
        name: whole[name] for name in ("key", "best", "trials")
    }
    assert len(found["trials"]) == 12
    night = cli(
        "run", "--config", tmp_path / "best.toml", "--store", tmp_path / "n", *SMALL, "--rater", "means", "--json"
    )
    assert night.json["config"]["models"]["edlae"] == found["settings"]


@pytest.mark.slow  # two whole searches; their parts are tested in tests/recsys/tune
def test_a_rater_is_tuned_by_rmse_alike_in_one_call_or_two(cli, tmp_path) -> None:
    asked = ("tune", "biased_mf", *SMALL, "--set", "models.biased_mf.damping=5")
    one = cli(*asked, "--store", tmp_path / "one", "--trials", 2, "--json").json
    cli(*asked, "--store", tmp_path / "two", "--trials", 1)
    two = cli(*asked, "--store", tmp_path / "two", "--trials", 2, "--json").json
    assert one["metric"] == "rmse"
    assert one["best"]["figure"] == min(trial["figure"] for trial in one["trials"])
    assert one["trials"] == two["trials"]
    assert one["settings"]["damping"] == 5.0
    assert one["settings"]["epochs"] == 2
    assert 'rater = "biased_mf"' in Path(one["file"]).read_text()


def test_wrong_use_is_told(cli, tmp_path) -> None:
    assert "no setting to tune" in cli("tune", "popular", "--store", tmp_path, code=2).err
    assert "no model 'nobody'" in cli("compare", "--models", "nobody", "--store", tmp_path, code=2).err
    assert "--as 'both' is no role" in cli("tune", "edlae", "--as", "both", "--store", tmp_path, code=2).err
    assert "nothing.csv" in cli("compare", "--ratings", tmp_path / "nothing.csv", "--store", tmp_path, code=5).err
