"""A run killed anywhere and started again ends with the bytes of an unbroken run; readers see whole runs only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RECSYS = Path(sys.executable).with_name("recsys")

NIGHT = ("--set", "demo.users=1500", "--set", "demo.items=600", "--set", "demo.ratings=60000")


def in_run(name: str) -> Callable[[Path], bool]:
    """Something of this name is in the folder of a run, or of its work."""
    return lambda store: any(store.glob(f"runs/run_date=2026-11-21/*/{name}")) or any(store.glob(f"work/*/{name}"))


STAGES: dict[str, Callable[[Path], bool]] = {
    "download": lambda store: any((store / "raw").glob("demo/*")),
    "prepare": in_run("under-way/*-prepared.*/item_ids.parquet"),
    "fit the ranker": in_run("under-way/judged-ranker.*"),
    "fit the rater": in_run("under-way/judged-rater.*"),
    "evaluate": in_run("under-way/evaluated-*"),
    "refit": in_run("evaluation.json"),
    "refit the rater": lambda store: bool(
        any(store.glob("runs/run_date=2026-11-21/*/evaluation.json")) and in_run("under-way/model-rater.*")(store)
    ),
    "score a shard": in_run("under-way/scored-*"),
    "score": in_run("under-way/*-recommendations.*"),
    "judge": in_run("recommendations"),
    "publish": in_run("gate.json"),
    "swap the pointer": in_run("manifest.json"),
}


def start(recsys, store: Path, *more: str):
    return recsys.start("run", "--store", store, "--run-date", "2026-11-21", *NIGHT, *more)


def kill_when(process, reached: Callable[[], bool]) -> bool:
    """SIGKILL as soon as a stage is reached; False where the run ended before."""
    while process.poll() is None:
        if reached():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.001)
    return False


@pytest.mark.timeout(600)
def test_killed_in_each_stage(cli, recsys, tmp_path, tables, readers) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    whole = cli("run", "--store", unbroken, "--run-date", "2026-11-21", *NIGHT, "--json").json
    before = cli("run", "--store", broken, "--run-date", "2026-11-20", "--rater", "means", "--json").json
    reader = readers.Follower(broken)
    reader.start()
    killed = [
        stage
        for stage, reached in STAGES.items()
        if kill_when(start(recsys, broken), lambda reached=reached: reached(broken))
    ]
    final = cli("run", "--store", broken, "--run-date", "2026-11-21", *NIGHT, "--json").json
    reader.stopped.set()
    reader.join()
    # The last kill may come after the pointer was swapped: that run is then complete, which is as good.
    assert set(killed) >= set(STAGES) - {"swap the pointer"}
    assert final["run_id"] == whole["run_id"], "the code was changed while the test ran"
    assert tables(broken) == tables(unbroken)
    assert len(tables(broken)) >= 3
    assert reader.wrong == []
    assert reader.seen == {before["run_id"], final["run_id"]}
    assert not list(broken.glob("work/*"))
    cli("runs", "verify", "--store", broken)


def test_sealed_stages_are_not_done_again(recsys, tmp_path) -> None:
    process = start(recsys, tmp_path)
    assert kill_when(process, lambda: in_run("under-way/judged-rater.*")(tmp_path))
    prepared = next(tmp_path.glob("runs/*/*/prepared/prepared.json"))
    ranker = next(tmp_path.glob("runs/*/*/model/judged/ranker/model.json"))
    before = (prepared.stat().st_mtime_ns, ranker.stat().st_mtime_ns, ranker.read_bytes())
    second = start(recsys, tmp_path)
    assert kill_when(second, lambda: in_run("under-way/evaluated-*")(tmp_path))
    assert before == (prepared.stat().st_mtime_ns, ranker.stat().st_mtime_ns, ranker.read_bytes())


def test_the_same_night_twice_is_found_done(cli, tmp_path) -> None:
    night = ("run", "--store", tmp_path, "--rater", "means", *NIGHT, "--json")
    first = cli(*night)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/*") if path.is_file()}
    second = cli(*night)
    assert second.json == first.json | {"outcome": "unchanged"}
    assert "already complete" in second.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/*") if path.is_file()} == stamps


def test_a_second_run_is_told_who_holds_the_store(cli, recsys, tmp_path) -> None:
    long = ("--set", "models.biased_mf.epochs=100000", "--set", "models.biased_mf.patience=100000")
    process = start(recsys, tmp_path, *long)
    try:
        while not in_run("under-way/judged-rater.*")(tmp_path):
            assert process.poll() is None
            time.sleep(0.005)
        refused = cli("run", "--store", tmp_path, code=6)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert f"process {process.pid}" in refused.err
    assert "Traceback" not in refused.err
    cli("run", "--store", tmp_path, "--rater", "means")  # the lock went with its holder


def test_ctrl_c_leaves_the_published_tables(cli, server_env, tmp_path, tables) -> None:
    cli("run", "--store", tmp_path, "--run-date", "2026-11-20", "--rater", "means", *NIGHT)
    before = tables(tmp_path)
    command = [str(RECSYS), "run", "--store", str(tmp_path), "--run-date", "2026-11-21", *NIGHT]
    process = subprocess.Popen(command, env=server_env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not in_run("under-way/judged-rater.*")(tmp_path):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # the whole group, as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by the keyboard" in told
    assert "Traceback" not in told
    assert tables(tmp_path) == before
