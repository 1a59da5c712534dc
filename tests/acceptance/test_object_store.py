"""Whole nights in a real S3-compatible object store, by the command line, and read as other teams read them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from recsys.objects.folder import ObjectFolder

RECSYS = Path(sys.executable).with_name("recsys")
NIGHT = ("--rater", "means", "--set", "demo.users=200", "--set", "demo.items=150", "--set", "demo.ratings=6000")
TABLES = ("recommendations", "similar_items", "popular_items")


@pytest.fixture
def remote(s3: Any, server_env: dict[str, str]) -> dict[str, str]:
    """The environment of a process that publishes to `s3`."""
    return server_env | s3.env


@pytest.fixture
def arrow(s3: Any, s3_server: Any) -> fs.S3FileSystem:
    """Somebody else's client, past any proxy."""
    return fs.S3FileSystem(
        access_key=s3.env["AWS_ACCESS_KEY_ID"], secret_key=s3.env["AWS_SECRET_ACCESS_KEY"], region="us-east-1",
        scheme="http", endpoint_override=s3_server.url.removeprefix("http://"),
    )  # fmt: skip


def pointed(arrow: fs.S3FileSystem, uri: str) -> str:
    """Where the pointer leads, as a path of bucket and key."""
    root = uri.removeprefix("s3://")
    with arrow.open_input_stream(f"{root}/published/CURRENT.json") as stream:
        return f"{root}/{json.loads(stream.read())['path']}"


def table(arrow: fs.S3FileSystem, uri: str, name: str) -> pd.DataFrame:
    return pq.read_table(f"{pointed(arrow, uri)}/{name}", filesystem=arrow, partitioning=None).to_pandas()


def hashes(arrow: fs.S3FileSystem, uri: str) -> dict[str, str]:
    """Of the files of the tables, by the manifest."""
    with arrow.open_input_stream(f"{pointed(arrow, uri)}/manifest.json") as stream:
        files = json.loads(stream.read())["files"]
    return {file["path"]: file["sha256"] for file in files if file["path"].partition("/")[0] in TABLES}


def test_a_night_and_its_readers(s3: Any, remote: dict[str, str], cli: Any, arrow: Any, tmp_path: Path) -> None:
    local, night = tmp_path / "store", ("run", "--run-date", "2026-11-20", *NIGHT, "--json")
    here = cli(*night, "--store", local).json
    there = cli(*night, "--store", s3.uri, env=s3.env)
    assert there.json["run_id"] == here["run_id"], "where it is published is no part of a run"
    assert f"is published: {s3.uri}/runs/run_date=2026-11-20/run_id={here['run_id']}/recommendations" in there.err
    assert cli(*night, "--store", s3.uri, env=s3.env).json == there.json | {"outcome": "unchanged"}

    lists = table(arrow, s3.uri, "recommendations")
    assert len(lists) == 2_000
    pd.testing.assert_frame_equal(lists, pd.read_parquet(local / "published" / "current" / "recommendations"))
    path = cli("path", "recommendations", "--store", s3.uri, env=s3.env).out.strip()
    options = {"key": s3.env["AWS_ACCESS_KEY_ID"], "secret": s3.env["AWS_SECRET_ACCESS_KEY"]}
    assert path == f"s3://{pointed(arrow, s3.uri)}/recommendations"
    assert options["secret"] not in path

    reader = s3.env | {"XDG_CACHE_HOME": str(tmp_path / "another machine")}
    for command in (("show", "user", "1"), ("similar", "1")):
        told = cli(*command, "--json", "--store", s3.uri, env=reader).json
        expected = cli(*command, "--json", "--store", local).json
        assert told == expected
    runs = cli("runs", "list", "--json", "--store", s3.uri, env=reader).json
    assert [(run["run_id"], run["state"], run["published"]) for run in runs["runs"]] == [
        (here["run_id"], "complete", True)
    ]
    assert cli("runs", "verify", "--json", "--store", s3.uri, env=reader).json["verified"] is True

    pairs = ObjectFolder.at(f"{s3.uri}-input")
    pairs.put("pairs.csv", b"userId,movieId\n1,1\n2,5\n")
    pairs.put("mine.csv", b"movieId,rating\n1,5\n5,4\n")
    out = tmp_path / "predicted.parquet"
    cli("predict", "--pairs", f"{s3.uri}-input/pairs.csv", "--out", out, "--store", s3.uri, env=reader)
    assert pd.read_parquet(out)["predicted_rating"].notna().all()
    mine = cli("recommend", "--ratings", f"{s3.uri}-input/mine.csv", "--json", "--store", s3.uri, env=reader).json
    assert len(mine["users"][0]["recommendations"]) == 10


def test_a_flipped_byte_is_found_and_named(s3: Any, remote: dict[str, str], cli: Any) -> None:
    run = cli("run", "--store", s3.uri, *NIGHT, "--json", env=s3.env).json
    objects = ObjectFolder.at(f"{s3.uri}/runs/run_date={run['run_date']}/run_id={run['run_id']}")
    path = next(file["path"] for file in run["files"] if file["path"].startswith("recommendations/"))
    data = objects.read(path)[0]  # type: ignore[index]
    objects.put(path, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    told = cli("runs", "verify", "--json", "--store", s3.uri, env=s3.env, code=1)
    assert told.json["changed"] == [path]


class Reader(threading.Thread):
    """Follows the pointer all the time, as other teams do, and notes whatever is not whole."""

    def __init__(self, arrow: fs.S3FileSystem, uri: str) -> None:
        super().__init__(daemon=True)
        self.arrow, self.uri, self.stopped = arrow, uri, threading.Event()
        self.wrong: list[str] = []
        self.seen: set[str] = set()

    def run(self) -> None:
        while not self.stopped.wait(0.02):
            try:
                self._look()
            except (OSError, ValueError, KeyError) as error:
                self.wrong.append(repr(error))

    def _look(self) -> None:
        folder = pointed(self.arrow, self.uri)
        with self.arrow.open_input_stream(f"{folder}/manifest.json") as stream:
            manifest = json.loads(stream.read())
        self.seen.add(manifest["run_id"])
        there = self.arrow.get_file_info(fs.FileSelector(folder, recursive=True))
        sizes = {info.path.removeprefix(f"{folder}/"): info.size for info in there}
        self.wrong += [file["path"] for file in manifest["files"] if sizes.get(file["path"]) != file["bytes"]]


@pytest.fixture
def reader(arrow: fs.S3FileSystem, s3: Any) -> Iterator[Reader]:
    reader = Reader(arrow, s3.uri)
    yield reader
    reader.stopped.set()


class Killing:
    """One request in five fails, in one of three ways, and after some writes of the run the process is killed."""

    def __init__(self, process: subprocess.Popen[str], writes: int, draw: random.Random) -> None:
        self.process, self.left, self.draw = process, writes, draw

    def __call__(self, asked: Any) -> str | None:
        self.left -= asked.method in ("PUT", "POST") and "run_date=2026-11-21" in asked.path
        if self.left <= 0:
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.draw.choice(("500", "torn", "lost", *[None] * 12))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_while_it_publishes(
    s3: Any, faulty: Any, server_env: dict[str, str], cli: Any, arrow: Any, reader: Reader
) -> None:
    """SIGKILL after some writes, again and again, under a service that fails and tears; then one clean run."""
    whole = f"{s3.uri}-unbroken"
    expected = cli("run", "--store", whole, "--run-date", "2026-11-21", *NIGHT, "--json", env=s3.env).json["run_id"]
    before = cli("run", "--store", s3.uri, "--run-date", "2026-11-20", *NIGHT, "--json", env=s3.env).json["run_id"]
    reader.start()
    env = server_env | s3.env
    killed = 0
    for writes in (3, 12, 30, 44):
        command = [str(RECSYS), "run", "--store", s3.uri, "--run-date", "2026-11-21", *NIGHT]
        process = subprocess.Popen(command, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True)
        faulty.fault = Killing(process, writes, random.Random(writes))
        _, told = process.communicate(timeout=240)
        assert process.returncode in (0, -signal.SIGKILL), told
        killed += process.returncode != 0
        faulty.fault = lambda asked: None
    done = cli("run", "--store", s3.uri, "--run-date", "2026-11-21", *NIGHT, "--json", env=s3.env).json
    time.sleep(0.2)
    reader.stopped.set()
    reader.join()
    assert killed >= 3
    assert done["run_id"] == expected
    assert hashes(arrow, s3.uri) == hashes(arrow, whole)
    assert reader.wrong == []
    assert reader.seen == {before, expected}
    cli("runs", "verify", "--store", s3.uri, env=s3.env)


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_two_hundred_kills_over_a_service_that_fails(
    recsys: Any, s3: Any, faulty: Any, arrow: Any, reader: Reader, monkeypatch: Any, tmp_path: Path
) -> None:
    """As on a disk, of a few nights; one request in sixteen fails, in one of four ways."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import test_killed_often as often

    draw = random.Random(often.SEED)
    failing = lambda asked: draw.choice(("500", "torn", "lost", "silent", *[None] * 60))  # noqa: E731

    def attempt(store: str, night: int, seconds: float | None = None) -> str:
        day = str(often.FIRST + timedelta(days=night))
        child = recsys.night(store, day, often.RATINGS, tmp_path / "mark", s3.env)
        child.join(seconds)
        if child.is_alive():
            child.kill()
            child.join()
            return "killed"
        return "made" if child.exitcode == 0 else "given up"

    assert attempt(s3.uri, 0) == "made"
    started = time.monotonic()
    assert attempt(s3.uri, 1) == "made"
    longest = time.monotonic() - started
    reader.start()
    faulty.fault = failing
    ends, night = Counter[str](), 2
    while ends["killed"] < often.KILLS:
        end = attempt(s3.uri, night, draw.uniform(0.0, longest))
        ends[end] += 1
        night += end == "made"
    faulty.fault = lambda asked: None
    assert attempt(s3.uri, night) == "made"
    reader.stopped.set()
    reader.join()
    assert reader.wrong == []
    whole = f"{s3.uri}-unbroken"
    for each in range(night + 1):
        assert attempt(whole, each) == "made"
    assert made_tables(s3.uri) == made_tables(whole)
    assert len(made_tables(whole)) >= 3 * (night + 1)
    print(f"{dict(ends)}; {len(faulty.failed)} of {len(faulty.asked)} requests failed")


def made_tables(uri: str) -> dict[str, str]:
    """SHA-256 of every file of the tables of every night, by their manifests."""
    store = ObjectFolder.at(uri)
    found = [store.read(one.path) for one in store.find("runs") if one.name == "manifest.json"]
    manifests = [json.loads(read[0]) for read in found if read is not None]
    return {
        f"{manifest['run_date']}/{file['path']}": file["sha256"]
        for manifest in manifests
        for file in manifest["files"]
        if file["path"].partition("/")[0] in TABLES
    }


def test_no_secret_is_written_anywhere(
    s3: Any, faulty: Any, server_env: dict[str, str], cli: Any, tmp_path: Path
) -> None:
    """Not in a night that works, nor in one that is refused: store, working copy, log, and what Prefect keeps."""
    secret, key = s3.env["AWS_SECRET_ACCESS_KEY"], s3.env["AWS_ACCESS_KEY_ID"]
    token = s3.env | {"AWS_SESSION_TOKEN": "SESSIONTOKENthatnobodymaysee"}
    good = cli("run", "--store", s3.uri, *NIGHT, env=s3.env)
    wrong = cli("run", "--store", s3.uri, *NIGHT, env=token | {"AWS_SECRET_ACCESS_KEY": "WRONGSECRET"}, code=5)
    given = cli("run", "--store", f"s3://{key}:{secret}@tests/x", *NIGHT, env=s3.env, code=2)
    faulty.fault = lambda asked: "403" if asked.method == "PUT" and "/runs/" in asked.path else None
    denied = cli("run", "--store", f"{s3.uri}-denied", *NIGHT, env=s3.env, code=5)
    assert "may not be" in wrong.err
    assert "holds credentials" in given.err or "credentials or settings in the address" in given.err
    assert "may not be written" in denied.err
    texts = [text for called in (good, wrong, given, denied) for text in (called.out, called.err)]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    objects = ObjectFolder.at(s3.uri)
    data = [path.read_bytes() for path in written] + [b"".join(objects.blocks(found)) for found in objects.find()]
    assert len(data) > 60
    for hidden in (secret, key, "WRONGSECRET", "SESSIONTOKENthatnobodymaysee", "X-Amz-Signature"):
        assert not [text for text in texts if hidden in text]
        assert not [each for each in data if hidden.encode() in each]
    logged = _prefect_logs(server_env)
    assert "may not be written" in logged
    for hidden in (secret, key, "WRONGSECRET", "SESSIONTOKENthatnobodymaysee", "X-Amz-Signature"):
        assert hidden not in logged


def _prefect_logs(env: dict[str, str]) -> str:
    """All that the Prefect server has of flow runs, task runs, logs and artifacts."""
    import httpx

    with httpx.Client(base_url=env["PREFECT_API_URL"], timeout=30) as client:
        kinds = ("logs", "flow_runs", "task_runs", "artifacts")
        return "".join(client.post(f"/{kind}/filter", json={"limit": 200}).text for kind in kinds)


def test_a_service_that_is_gone(s3: Any, server_env: dict[str, str], cli: Any) -> None:
    gone = s3.env | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    for command in (("run", *NIGHT), ("path", "recommendations")):
        told = cli(*command, "--store", s3.uri, env=gone, code=5)
        assert "could not be" in told.err
        assert "Traceback" not in told.err


def test_a_service_that_fails_at_the_end_keeps_the_work(s3: Any, faulty: Any, cli: Any, arrow: Any) -> None:
    before = cli("run", "--store", s3.uri, "--run-date", "2026-11-20", *NIGHT, "--json", env=s3.env).json["run_id"]
    faulty.fault = lambda asked: "403" if asked.method == "PUT" and "run_date=2026-11-21" in asked.path else None
    failed = cli("run", "--store", s3.uri, "--run-date", "2026-11-21", *NIGHT, env=s3.env, code=5)
    assert "may not be written" in failed.err
    assert before in pointed(arrow, s3.uri)
    faulty.fault = lambda asked: None
    done = cli("run", "--store", s3.uri, "--run-date", "2026-11-21", *NIGHT, "--json", env=s3.env)
    assert "goes on" in done.err
    assert "train: ranker weighted_edlae is fitted on the training part" in done.err
    assert done.json["run_id"] in pointed(arrow, s3.uri)
