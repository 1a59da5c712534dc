"""The store: sealed stages, the pointer, the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pytest

from recsys.store import MANIFEST, BrokenPointer, Pointer, Store, files, sealed_stage, write_record, write_whole

DAY = date(2024, 5, 6)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def pointer_to(store, run_id, day=DAY):
    """A pointer to a run that is there, as far as a pointer looks."""
    folder = store.run_folder(day, run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).touch()
    return Pointer(day, run_id, folder.relative_to(store.root).as_posix())


def python(code, *arguments, **options):
    """Another process that runs `code` with the store's names at hand."""
    head = (
        "import os, sys, time\nfrom pathlib import Path\nfrom recsys.store import *\n"
        "from recsys.store import sealed_stage\n"
    )
    root = Path(files.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}, **options,
    )  # fmt: skip


def everything(folder):
    """Files and folders below, relative."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# the layout


def test_the_layout_of_the_contract(store):
    assert store.run_folder(DAY, "ab12") == store.root / "runs" / "run_date=2024-05-06" / "run_id=ab12"
    assert store.raw == store.root / "raw"
    assert store.pointer_file == store.root / "published" / "CURRENT.json"


def test_runs_come_by_date_and_id_and_nothing_else_does(store):
    assert store.runs() == []
    for day, run_id in ((date(2024, 10, 1), "a"), (date(2024, 9, 30), "b"), (date(2024, 9, 30), "a")):
        store.run_folder(day, run_id).mkdir(parents=True)
    (store.root / "runs" / "run_date=2024-09-30" / "notes").mkdir()
    assert [f"{run.parent.name[9:]} {run.name[7:]}" for run in store.runs()] == [
        "2024-09-30 a", "2024-09-30 b", "2024-10-01 a",
    ]  # fmt: skip


# stages


def test_a_stage_appears_whole_and_leaves_its_record(tmp_path):
    folder, record = tmp_path / "run" / "model", tmp_path / "work" / "stages" / "train.json"
    with sealed_stage(folder, record) as work:
        (work / "deep").mkdir()
        (work / "deep" / "weights").write_text("1")
        assert not folder.exists()
        assert not record.exists()
    assert everything(tmp_path / "run") == ["model", "model/deep", "model/deep/weights"]
    written = json.loads(record.read_text())
    assert 0 <= written["seconds"] < 60
    assert 1 < written["peak_memory_mib"] < 1_000_000


def test_a_sealed_stage_is_not_done_again(tmp_path):
    folder, record = tmp_path / "model", tmp_path / "record.json"
    with sealed_stage(folder, record) as work:
        (work / "weights").write_text("first")
    before = record.read_bytes(), (folder / "weights").stat().st_mtime_ns
    with sealed_stage(folder, record) as work:
        assert work is None
    assert (record.read_bytes(), (folder / "weights").stat().st_mtime_ns) == before
    assert everything(tmp_path) == ["model", "model/weights", "record.json"]


def test_a_stage_that_fails_is_not_sealed_and_the_next_starts_clean(tmp_path):
    folder, record = tmp_path / "model", tmp_path / "record.json"

    def half_of_it():
        with sealed_stage(folder, record) as work:
            (work / "half").write_text("1")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        half_of_it()
    assert not folder.exists()
    assert not record.exists()
    with sealed_stage(folder, record) as work:
        assert list(work.iterdir()) == []
        (work / "whole").write_text("1")
    assert everything(folder) == ["whole"]


@pytest.mark.parametrize("end", ["os._exit(9)", "os.kill(os.getpid(), 9)"])
def test_a_stage_killed_in_the_middle_is_not_sealed_and_the_next_starts_clean(tmp_path, end):
    folder, record = tmp_path / "model", tmp_path / "record.json"
    code = f"""
with sealed_stage(Path(sys.argv[1]), Path(sys.argv[2])) as work:
    (work / "deep").mkdir()
    (work / "deep" / "half").write_text("1")
    {end}
"""
    with python(code, folder, record) as child:
        assert child.wait(30) in (9, -signal.SIGKILL)
    assert (tmp_path / "model.partial" / "deep" / "half").exists()  # it was killed in the middle, not before
    assert not folder.exists()
    assert not record.exists()
    with sealed_stage(folder, record) as work:
        assert list(work.iterdir()) == []
        (work / "whole").write_text("1")
    assert everything(tmp_path) == ["model", "model/whole", "record.json"]


def test_a_stage_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Flushed after the rename, a power cut could leave a sealed folder with empty files."""
    steps = []
    monkeypatch.setattr(files, "_sync", lambda path: steps.append(path.name))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(f"-> {Path(b).name}"), replace(a, b)))
    with sealed_stage(tmp_path / "model", tmp_path / "record.json") as work:
        (work / "deep").mkdir()
        (work / "deep" / "weights").write_text("1")
    seal = steps.index("-> model")
    assert {"weights", "deep", "model.partial"} <= set(steps[:seal])
    assert steps.index("-> record.json") < seal
    assert tmp_path.name in steps[seal:]


def test_a_record_can_be_written_again(tmp_path):
    write_record(tmp_path / "stages" / "a.json", 1.23456)
    write_record(tmp_path / "stages" / "a.json", 2.0)
    assert json.loads((tmp_path / "stages" / "a.json").read_text())["seconds"] == 2.0
    assert everything(tmp_path / "stages") == ["a.json"]


# the pointer


def test_nothing_is_published_at_first(store):
    assert store.current() is None


def test_the_pointer_and_the_link_lead_to_the_run(store):
    pointer = pointer_to(store, "ab12")
    store.point_to(pointer)
    assert store.current() == pointer
    assert json.loads(store.pointer_file.read_text()) == {
        "run_date": "2024-05-06", "run_id": "ab12", "path": "runs/run_date=2024-05-06/run_id=ab12", "token": 0,
    }  # fmt: skip
    link = store.root / "published" / "current"
    assert link.is_symlink()
    assert link.resolve() == store.run_folder(DAY, "ab12").resolve()
    assert not Path(os.readlink(link)).is_absolute()  # the store can be moved


def test_the_link_still_leads_to_the_run_when_the_store_is_moved(store):
    store.point_to(pointer_to(store, "ab12"))
    moved = store.root.rename(store.root.with_name("elsewhere"))
    assert (moved / "published" / "current").resolve() == Store(moved).run_folder(DAY, "ab12").resolve()


@pytest.mark.parametrize("broken", ["old", "missing", "dangling", "left over"])
def test_the_link_is_mended(store, broken):
    """What a crash between pointer and link leaves, the next run repairs."""
    store.point_to(pointer_to(store, "old"))
    pointer, link = pointer_to(store, "new"), store.root / "published" / "current"
    write_whole(store.pointer_file, json.dumps({"run_date": str(DAY), "run_id": "new", "path": pointer.path}))
    if broken in ("missing", "dangling"):
        link.unlink()
    if broken == "dangling":
        link.symlink_to("../nowhere")
    if broken == "left over":
        link.with_name("current.new").symlink_to("../nowhere")
    store.point_to(pointer)
    assert link.resolve() == store.run_folder(DAY, "new").resolve()
    assert {path.name for path in store.pointer_file.parent.iterdir()} == {"CURRENT.json", "current"}


def test_a_crash_between_pointer_and_link_leaves_both_on_whole_runs(store, monkeypatch):
    store.point_to(pointer_to(store, "old"))

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "_link", crash)
    with pytest.raises(KeyboardInterrupt):
        store.point_to(pointer_to(store, "new"))
    assert store.current() == pointer_to(store, "new")
    assert (store.root / "published" / "current").resolve() == store.run_folder(DAY, "old").resolve()


def test_a_reader_sees_one_whole_pointer_always(store):
    """Records of very different lengths: half of one, or one after the other, would not fit together."""
    runs = [pointer_to(store, "a"), pointer_to(store, "b" * 200, date(2030, 12, 31))]
    store.point_to(runs[0])
    seen, faults, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                pointer = store.current()
                target = os.readlink(store.root / "published" / "current")
                if pointer not in runs or target not in {f"../{run.path}" for run in runs}:
                    faults.append((pointer, target))
                seen.add(pointer)
            except Exception as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(1, 60):
            store.point_to(runs[turn % 2])
    finally:
        stop.set()
        reader.join()
    assert not faults
    assert seen == set(runs)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "{}", '{"run_date": "2024-05-06", "run_id": "a"}',
             '{"run_date": "yesterday", "run_id": "a", "path": "b"}', '{"run_date": 5, "run_id": "a", "path": "b"}'],
)  # fmt: skip
def test_a_pointer_that_says_nothing_is_refused(store, text):
    store.pointer_file.parent.mkdir(parents=True)
    store.pointer_file.write_text(text)
    with pytest.raises(BrokenPointer, match=r"CURRENT\.json cannot be read") as error:
        store.current()
    assert "`recsys run` mends it" in error.value.todo
    assert error.value.night is None
    assert store.named() is None


def test_a_pointer_to_a_run_that_is_gone_is_refused(store):
    store.point_to(pointer := pointer_to(store, "ab12"))
    (store.root / pointer.path / MANIFEST).unlink()
    with pytest.raises(BrokenPointer, match="leads to a run that is not there") as error:
        store.current()
    assert error.value.night == DAY
    assert store.named() == "ab12"


def test_a_pointer_that_is_right_is_not_written_again(store):
    store.point_to(pointer := pointer_to(store, "ab12"))
    before = store.pointer_file.stat().st_ino
    store.point_to(pointer)
    assert store.pointer_file.stat().st_ino == before


def test_withdrawn_nothing_is_published(store):
    store.point_to(pointer_to(store, "ab12"))
    store.withdraw()
    assert store.current() is None
    assert everything(store.root / "published") == []
    store.withdraw()


def test_a_pointer_that_is_no_file_is_refused(store):
    store.pointer_file.mkdir(parents=True)
    with pytest.raises(BrokenPointer, match=r"CURRENT\.json cannot be read"):
        store.current()


def test_a_file_system_without_links_can_be_published_to(store, monkeypatch):
    """The link is a convenience: the pointer stands, so the night is published."""

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    store.point_to(pointer_to(store, "ab12"))
    assert store.current().run_id == "ab12"


# small files


def test_a_small_file_is_replaced_and_nothing_is_left(tmp_path):
    path = tmp_path / "x.json"
    for text in ("long " * 1000, "é"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert everything(tmp_path) == ["x.json"]


def test_a_small_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("sync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("name"), replace(a, b)))
    write_whole(tmp_path / "x.json", "text")
    assert steps == ["sync", "name", "sync"]
