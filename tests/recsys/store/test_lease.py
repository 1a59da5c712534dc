"""Who may work on a store and publish: the lease, its token, and what a change of a record needs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from filelock import Timeout

from recsys.errors import StoreBusy, UsageError
from recsys.store import MANIFEST, LeaseLost, Pointer, Store, lease
from recsys.store.place import LocalPlace, Taken

DAY = date(2024, 5, 6)
HOLD = """
import sys, time
from pathlib import Path
from recsys.store import *
with Store(Path(sys.argv[1])).hold(float(sys.argv[2])) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    Store(Path(sys.argv[1])).point_to(Pointer.read(sys.argv[3].encode()), lease.token)
    print("published", flush=True)
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def pointer_to(store, run_id):
    folder = store.run_folder(DAY, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).touch()
    return Pointer(DAY, run_id, folder.relative_to(store.root).as_posix())


def holder(store, seconds, pointer=None):
    """Another process that holds the store, and publishes when it is told to."""
    given = [str(store.root), str(seconds), pointer.write(0).decode() if pointer else "{}"]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": str(Path(lease.__file__).parents[2])},
    )  # fmt: skip
    assert child.stdout.readline() == "held\n", child.stderr.read()
    return child


def token_of(store):
    return json.loads((store.root / lease.NAME).read_text())["token"]


# records


def test_a_change_needs_the_version_it_was_made_from(tmp_path):
    place = LocalPlace(tmp_path)
    assert place.read("deep/x.json") is None
    first = place.create("deep/x.json", b"1")
    assert place.read("deep/x.json").version == first
    with pytest.raises(Taken):
        place.create("deep/x.json", b"2")
    second = place.replace("deep/x.json", b"2", first)
    with pytest.raises(Taken):
        place.replace("deep/x.json", b"3", first)
    with pytest.raises(Taken):
        place.remove("deep/x.json", first)
    assert place.read("deep/x.json").data == b"2"
    place.remove("deep/x.json", second)
    assert place.read("deep/x.json") is None
    with pytest.raises(Taken):
        place.replace("deep/x.json", b"3", second)


def test_of_many_changes_from_one_version_one_succeeds(tmp_path):
    place = LocalPlace(tmp_path)
    version, done = place.create("x", b"0"), []

    def change(number):
        with suppress(Taken):
            done.append(place.replace("x", str(number).encode(), version))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [place.read("x").version] == done


# the lease


def test_the_lease_is_given_back_when_the_block_ends(store):
    for _ in range(2):
        with store.hold():
            assert store.root.is_dir()
    with pytest.raises(ValueError, match="broken"), store.hold():
        raise ValueError("broken")
    with store.hold() as held:
        assert held.token == token_of(store) == 4
    assert json.loads((store.root / lease.NAME).read_text())["holder"] is None


def test_a_store_held_by_another_process_names_it_and_is_free_once_that_is_killed(store):
    started = datetime.now(UTC)
    with holder(store, 300) as child:
        try:
            with pytest.raises(StoreBusy, match="holds the store") as busy, store.hold():
                pass
            with pytest.raises(StoreBusy, match="holds the store"):
                store.require_free()
        finally:
            child.kill()
        child.wait(30)
    assert busy.value.exit_code == 6
    who, _, rest = busy.value.found.partition(", since ")
    assert who == f"process {child.pid} on {socket.gethostname()}"
    assert abs(datetime.fromisoformat(rest.partition(";")[0]) - started) < timedelta(seconds=60)
    store.require_free()
    with store.hold() as held:
        assert json.loads((store.root / lease.NAME).read_text())["holder"]["pid"] == os.getpid()
        assert held.token == 2


def test_a_silent_holder_of_another_machine_is_waited_for_until_its_lease_runs_out(store):
    with store.hold():
        record = json.loads((store.root / lease.NAME).read_text())
    record["holder"] = {"host": "elsewhere", "pid": 1, "started": "1", "machine": "other", "since": "yesterday"}
    for left, free in ((30, False), (-1, True)):
        record["expires_at"] = (datetime.now(UTC) + timedelta(seconds=left)).isoformat()
        (store.root / lease.NAME).write_text(json.dumps(record))
        if free:
            store.require_free()
        else:
            with pytest.raises(StoreBusy, match="process 1 on elsewhere, since yesterday; its lease lasts for"):
                store.require_free()


def test_a_later_process_of_the_same_number_is_another_one(store):
    with holder(store, 300) as child:
        record = json.loads((store.root / lease.NAME).read_text())
        child.kill()
    record["holder"]["pid"] = os.getpid()  # as though this process had been given the number
    (store.root / lease.NAME).write_text(json.dumps(record))
    store.require_free()


def test_a_long_block_keeps_its_lease(store):
    with store.hold(0.4) as held:
        time.sleep(1.0)
        with pytest.raises(StoreBusy):
            store.require_free()
        held.require()


@pytest.mark.parametrize("published_before", [True, False])
def test_two_publishers_one_paused_past_its_lease_and_woken(store, published_before):
    """One published run, one refusal: however late the first wakes, its token is too low."""
    for published_meanwhile in (False, True):
        early = pointer_to(store, f"before-{published_meanwhile}") if published_before else None
        with store.hold() as held:
            store.withdraw(held.token)
            if early:
                store.point_to(early, held.token)
        late, taken = pointer_to(store, "late"), pointer_to(store, "taken")
        with holder(store, 1.0, late) as child:
            os.kill(child.pid, signal.SIGSTOP)
            while True:
                try:
                    store.require_free()
                    break
                except StoreBusy:
                    time.sleep(0.05)
            with store.hold() as held:
                if published_meanwhile:
                    store.point_to(taken, held.token)
                os.kill(child.pid, signal.SIGCONT)
                out, told = child.communicate("now\n", timeout=30)
        assert "published" not in out
        assert "LeaseLost" in told
        assert "token" in told
        assert store.current() == (taken if published_meanwhile else early)
        with store.hold() as held:
            store.point_to(taken, held.token)


def test_a_run_whose_lease_was_taken_over_is_told_so_whatever_fails(store):
    with pytest.raises(LeaseLost, match="no longer holds the store") as lost, store.hold(0.5) as held:
        record = json.loads((store.root / lease.NAME).read_text())
        (store.root / lease.NAME).write_text(json.dumps(record | {"token": held.token + 1}))
        time.sleep(0.2)
        raise FileNotFoundError("removed by the other run")
    assert lost.value.exit_code == 6
    assert token_of(store) == 2  # it is the other's, and stays


def test_a_pointer_is_not_changed_by_a_lower_token(store):
    new, old = pointer_to(store, "new"), pointer_to(store, "old")
    store.point_to(new, 7)
    for change in (partial(store.point_to, old), store.withdraw):
        with pytest.raises(LeaseLost, match="token 7"):
            change(token=6)
    assert store.current() == new
    store.point_to(old, 7)
    assert store.current() == old


def test_a_lease_that_was_deleted_does_not_begin_anew(store):
    with store.hold() as held:
        store.point_to(pointer_to(store, "a"), held.token + 6)
    (store.root / lease.NAME).unlink()
    with store.hold() as held:
        assert held.token == 8
        store.point_to(pointer_to(store, "b"), held.token)
    assert store.current().run_id == "b"


def test_two_leases_in_one_process_exclude_each_other(store):
    with store.hold(), pytest.raises(StoreBusy) as busy, store.hold():
        pass
    assert f"process {os.getpid()} on" in busy.value.found


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"token": "x", "holder": null, "expires_at": ""}'])
def test_a_lease_that_cannot_be_read_closes_the_store(store, text):
    store.root.mkdir()
    (store.root / lease.NAME).write_text(text)
    with pytest.raises(StoreBusy, match="cannot be read") as busy, store.hold():
        pass
    assert f"delete {lease.NAME}" in busy.value.todo


def test_stores_are_locked_one_by_one(tmp_path):
    with Store(tmp_path / "a").hold(), Store(tmp_path / "b").hold():
        pass


def test_a_store_under_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written to") as error, Store(tmp_path / "file" / "store").hold():
        pass
    assert "--store" in error.value.todo


def test_a_store_that_is_a_file_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written to"), Store(tmp_path / "file").hold():
        pass


def test_a_read_only_store_is_refused(store):
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind root")
    store.root.mkdir()
    store.root.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="cannot be written to"), store.hold():
            pass
    finally:
        store.root.chmod(0o700)


def test_a_read_only_file_system_is_refused(store, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UsageError, match="cannot be written to") as error, store.hold():
        pass
    assert "Read-only file system" in error.value.found


def test_a_lock_file_that_cannot_be_opened_is_refused(store):
    """Another user's lock file, or here a folder of that name: no traceback."""
    (store.root / ".lock").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be written to"), store.hold():
        pass


def test_another_locks_time_out_within_the_block_is_not_taken_for_a_busy_store(store):
    with pytest.raises(Timeout), store.hold():
        raise Timeout("another.lock")
