"""What is said of other systems is counted by our code on their tables; no system is needed for these tests."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import environments, peers
from benchmarks.measured import Measured, measure

TOOK = Measured(2.0, 1.5, 100.0, 90.0, 80.0, "")


@pytest.fixture
def split():
    """Three users; user 7's items 1 and 2 are hidden, user 8's item 3; user 9 has none hidden."""
    rows = [(7, 3), (7, 4), (8, 1), (9, 1), (9, 2), (9, 3)]
    train = pd.DataFrame([(user, item, 5, 0) for user, item in rows], columns=peers.COLUMNS)
    test = pd.DataFrame([(7, 1, 5, 0), (7, 2, 4, 0), (8, 3, 1, 0)], columns=peers.COLUMNS)
    return peers.Split(Path("none"), train, test)


def write(path, rows, names=("user_id", "item_id")):
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    return path


def test_ndcg_and_leaks_by_hand(tmp_path, split):
    # 7: a hit at rank 1, a miss (leaked); 8: a hit at rank 2. Ideal of 7: two hits.
    table = write(tmp_path / "t", [(7, 2), (7, 4), (8, 2), (8, 3), (9, 4), (9, 1)])
    found = peers.judge(table, split)
    ideal = 1 + 1 / np.log2(3)
    assert found == {"ndcg@10": pytest.approx((1 / ideal + 1 / np.log2(3)) / 2), "rows": 6, "seen": 2}


def test_ids_as_text_and_ranks_out_of_order_are_read_alike(tmp_path, split):
    plain = write(tmp_path / "plain", [(7, 2), (7, 1), (8, 2), (8, 3)])
    mixed = [("8", "3", 2), ("7", "1", 2), ("8", "2", 1), ("7", "2", 1)]
    named = write(tmp_path / "named", mixed, ("user_id", "item_id", "rank"))
    assert peers.judge(plain, split) == peers.judge(named, split)


def archive(mirror, lines):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("ml-100k/u.data", "\n".join(lines))
    (mirror / "ml-100k.zip").write_bytes(buffer.getvalue())


def test_the_split_hides_a_fifth_of_each_user(tmp_path):
    archive(tmp_path, [f"{user}\t{item}\t3\t{item}" for user in (5, 2) for item in range(10)])
    split = peers.write_split(tmp_path, "ml-100k", tmp_path)
    assert split.test.groupby("userId").size().to_dict() == {2: 2, 5: 2}
    assert len(pd.merge(split.train, split.test, on=["userId", "movieId"])) == 0
    pd.testing.assert_frame_equal(pd.read_csv(split.file), split.train.reset_index(drop=True))


def test_rounds_are_interleaved_and_a_failure_is_a_reason(tmp_path, split):
    order = []

    def runner(name, fails=False):
        def run(split, out):
            order.append(name)
            if fails:
                raise RuntimeError("it said\nno memory")
            return peers.Taken(TOOK, {}, out)

        return run

    runners = {"a": runner("a"), "b": runner("b", fails=True), peers.SPARK: runner("spark")}
    found = peers._rounds(runners, split, tmp_path, 3)
    assert order == ["a", "b", "spark", "a", "a"]
    assert len({run.table for run in found["a"]}) == 3
    assert (len(found["a"]), found["b"], len(found[peers.SPARK])) == (3, "no memory", 1)


def test_ratios_and_promises():
    rows = {
        peers.OURS: {"seconds": 20.0, "stages": 4.0},
        peers.CICERONE: {"seconds": 10.0, "stages": 9.0},
        peers.SPARK: {"seconds": 70.0, "stages": 60.0},
        "RecTools, ALS": {"not run": "no network"},
    }
    assert [row["times ours"] for row in peers.table_rows(rows)] == [1.0, 0.5, 3.5, None]
    first, second = peers.notes(rows)
    assert "3.5 times as long as our whole night" in first
    assert "cicerone 9.0 s and us 4.0 s: 2.2 times" in second
    assert peers.notes({**rows, peers.OURS: {"not run": "why"}}) == []


def test_a_row_is_the_median_of_the_rounds_but_for_memory(tmp_path):
    stages = {"read": 1.0, "fit": 1.0, "score": 1.0, "write": 1.0, "convert": 5.0}
    runs = [
        peers.Taken(Measured(seconds, seconds, mib, mib, mib, ""), stages, tmp_path)
        for seconds, mib in ((3.0, 7.0), (1.0, 9.0), (2.0, 8.0))
    ]
    found = peers._figures(runs)
    assert (found["seconds"], found["CPU s"], found["peak MiB"], found["stages"]) == (2.0, 2.0, 9.0, 4.0)
    assert "convert" not in found


def test_every_system_has_its_script_and_its_pinned_version():
    for peer in peers.PEERS.values():
        assert (peers.RIVALS / f"{peer.script}.py").exists()
        assert not peer.environment or "==" in environments.pins(peer.environment)[0]


def test_ease_in_numpy_lists_what_is_not_rated(tmp_path):
    rng = np.random.default_rng(0)
    rated = {(user, item) for user in range(40) for item in rng.permutation(30)[:10]}
    frame = pd.DataFrame(sorted(rated), columns=["userId", "movieId"]).assign(rating=4, timestamp=0)
    frame.to_csv(tmp_path / "train.csv", index=False)
    subprocess.run(
        [sys.executable, peers.RIVALS / "plain_ease.py", tmp_path / "train.csv", tmp_path / "out"], check=True
    )
    lists = pd.read_parquet(tmp_path / "out")
    assert lists.groupby("user_id").size().tolist() == [10] * 40
    assert not rated & set(zip(lists["user_id"], lists["item_id"], strict=True))


def test_an_environment_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    def refused(command):
        if "venv" not in command:
            raise environments.NoEnvironment("ERROR: No matching distribution found")
        (tmp_path / "cicerone").mkdir()

    monkeypatch.setattr(environments, "_call", refused)
    for _ in range(2):  # what is half made is made anew
        with pytest.raises(environments.NoEnvironment, match="No matching distribution"):
            environments.python_of("cicerone", folder=tmp_path)


def test_an_environment_is_made_once_for_the_same_versions(tmp_path, monkeypatch):
    calls = []

    def call(command):
        calls.append(command)
        (tmp_path / "spark").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "_call", call)
    for _ in range(2):
        assert environments.python_of("spark", folder=tmp_path) == tmp_path / "spark" / "bin" / "python"
    assert [command[1:3] for command in calls] == [["-m", "venv"], ["-m", "pip"]]
    assert calls[-1][-2:] == environments.pins("spark")
    monkeypatch.setattr(environments, "pins", lambda name: ["pyspark==9.9"])
    environments.python_of("spark", folder=tmp_path)
    assert calls[-1][-1] == "pyspark==9.9"


def test_a_command_that_makes_an_environment_tells_pips_own_words():
    code = "import sys; sys.exit('WARNING: other\\nERROR: no such version\\nWARNING: last')"
    with pytest.raises(environments.NoEnvironment, match=r"^ERROR: no such version$"):
        environments._call([sys.executable, "-c", code])


def test_what_a_command_took_counts_its_children():
    code = "import subprocess, sys; x = bytearray(60 << 20); print(subprocess.run([sys.executable, '-c', 'y = bytearray(90 << 20); import time; time.sleep(0.5)']).returncode)"
    taken = measure([sys.executable, "-c", code], {})
    assert taken.out == "0\n"
    assert taken.peak_mib > 150 > taken.own_peak_mib > 60
    assert taken.private_peak_mib > 150
    assert taken.cpu_seconds > 0


def test_cpu_time_of_a_child_that_nobody_waits_for_counts():
    busy = "import time; [0 for _ in iter(lambda: time.process_time() > 0.5, True)]"
    code = (
        f"import os, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {busy!r}]); time.sleep(0.1); "
    )
    code += "import pathlib\nwhile pathlib.Path(f'/proc/{p.pid}/stat').read_text().split()[2] != 'Z': time.sleep(0.05)\nos._exit(0)"
    assert measure([sys.executable, "-c", code], {}).cpu_seconds > 0.4


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(RuntimeError, match="no memory"):
        measure([sys.executable, "-c", "import sys; sys.exit('no memory')"], {})
