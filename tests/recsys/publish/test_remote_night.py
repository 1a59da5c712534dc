"""Nights published to a real object store: read elsewhere, found done, broken off at any request, damaged and mended."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import date

import pyarrow.parquet as pq
import pytest
from nights import NIGHT, config_of, make_run, score_run

from recsys.errors import GateRefused, SourceUnavailable, UsageError
from recsys.history.prune import prune
from recsys.history.shown import promote, roll_back
from recsys.objects import service
from recsys.objects.failures import DamagedObject
from recsys.publish.damage import DamagedRun, find_damage
from recsys.publish.mend import mend
from recsys.publish.stage import publish
from recsys.published import PublishedRun, complete_runs, find_run
from recsys.states import state_of
from recsys.store import MANIFEST, REFUSED, BrokenPointer, LeaseLost, open_store
from recsys.store.lease import hold
from recsys.store.manifest import read_manifest

BEFORE = date(2026, 1, 30)


@pytest.fixture
def machine(s3, tmp_path):
    """machine("one") -> the store as that machine has it."""
    return lambda name: open_store(s3.uri, str(tmp_path / name))


@pytest.fixture
def quick(monkeypatch):
    for name, value in {"RETRIES": 1, "FIRST_PAUSE_S": 0.001, "LONGEST_PAUSE_S": 0.002, "REQUEST_S": 2}.items():
        monkeypatch.setattr(service, name, value)
    service.connect.cache_clear()


def made(store, night=NIGHT, **given):
    """A run with all its tables, and nothing published."""
    return score_run(make_run(store.root, night=night, uri=store.name, **given))


def published(store, night=NIGHT):
    run = made(store, night)
    return run, publish(run)


def again(store, night=NIGHT):
    """What the flow does from the beginning, on a machine that knows what the service says."""
    run = Handle(store, night)
    store.has_manifest(run.folder)
    mend(run)
    if not run.complete:
        run = made(store, night)
    return run, publish(run)


def Handle(store, night):
    run = make_run(store.root.with_name("aside"), night=night, uri=store.name)
    return replace(run, store=store.root)


def tables(run):
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name in run.tables
        for path in sorted(run.table(name).glob("*.parquet"))
    }


def flip(objects, path):
    raw, _ = objects.read(path)
    objects.put(path, raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :])


def below(run):
    return f"runs/run_date={run.run_date}/run_id={run.run_id}"


def test_a_night_is_read_on_another_machine(machine):
    run, said = published(machine("one"))
    assert (said.outcome, said.address) == ("published", f"{machine('one').name}/{below(run)}")
    there = {found.path for found in machine("one").objects.find()}
    local = {path.relative_to(run.store).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    row = f"nights/part-{NIGHT}-{run.run_id}.parquet"
    assert there - {".conditional-writes"} == local | {"published/CURRENT.json", row}
    other = PublishedRun.open(machine("two"))
    assert other.address_of("recommendations") == f"{said.address}/recommendations"
    assert [path.name for path in other.folder.iterdir()] == [MANIFEST], "nothing is fetched before it is read"
    lists = other.table("recommendations")
    assert pq.read_table(lists).equals(pq.read_table(run.folder / "recommendations"))
    assert {path.name for path in other.folder.iterdir()} == {MANIFEST, "recommendations"}
    assert other.recommendations_of(101)
    assert other.ratings_of(101)
    assert other.ranker().name == "edlae"
    assert other.verify() == len(read_manifest(run.folder)["files"])
    assert not find_damage(other.folder).changed
    assert [found.run_id for found in complete_runs(machine("three"))] == [run.run_id]
    assert find_run(machine("three"), run.run_id[:6]).run_id == run.run_id


def test_what_was_fetched_is_not_fetched_again(machine, faulty):
    published(machine("one"))
    PublishedRun.open(machine("two")).table("recommendations")
    before = len(faulty.asked)
    PublishedRun.open(machine("two")).table("recommendations")
    asked = [asked.path for asked in faulty.asked[before:]]
    assert not any(path.endswith(".parquet") for path in asked)
    assert len(asked) == 3, "the pointer, the manifest, and one listing for the sizes"


def test_the_same_night_elsewhere_is_found_done(machine):
    run, _ = published(machine("one"))
    pointer = machine("one").place.read("published/CURRENT.json")
    there = machine("one").objects.find()
    found, said = again(machine("two"))
    assert (said.outcome, found.run_id) == ("unchanged", run.run_id)
    assert machine("one").objects.find() == there
    assert machine("one").place.read("published/CURRENT.json") == pointer


def test_a_run_killed_before_its_manifest_came_back_is_found_done(machine, monkeypatch):
    store = machine("one")
    run = made(store)
    with monkeypatch.context() as patch:
        patch.setattr("recsys.store.layout.write_whole", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            publish(run)
    assert not run.complete
    assert store.current() is None
    assert again(store)[1].outcome == "published"
    assert PublishedRun.open(machine("two")).run_id == run.run_id


@pytest.mark.parametrize("fault", ["500", "torn"])
def test_broken_off_at_any_write(machine, faulty, quick, fault):
    """Each time the service takes eight writes and then no more: readers have the night before, until the end."""
    before, _ = published(machine("one"), BEFORE)
    run = made(machine("one"))
    told = []
    while True:
        left = iter(range(8))
        faulty.fault = lambda asked, left=left: fault if asked.method == "PUT" and next(left, None) is None else None
        try:
            said = publish(run)
            break
        except SourceUnavailable as error:
            told.append(str(error))
            faulty.fault = lambda asked: None
            assert PublishedRun.open(machine("reader")).run_id == before.run_id
    assert said.outcome == "published"
    assert len(told) >= 3
    faulty.fault = lambda asked: None
    assert PublishedRun.open(machine("reader")).run_id == run.run_id
    assert PublishedRun.open(machine("reader")).verify()


@pytest.mark.parametrize("last", ["manifest.json", "CURRENT.json"])
def test_broken_off_at_the_last_writes(machine, faulty, quick, last):
    before, _ = published(machine("one"), BEFORE)
    run = made(machine("one"))
    faulty.fault = lambda asked: "503" if asked.method == "PUT" and asked.path.endswith(last) else None
    with pytest.raises(SourceUnavailable):
        publish(run)
    faulty.fault = lambda asked: None
    assert PublishedRun.open(machine("reader")).run_id == before.run_id
    assert again(machine("one"))[1].outcome == "published"
    assert PublishedRun.open(machine("reader")).run_id == run.run_id


def test_the_working_copy_goes_on_where_it_broke_off(machine, faulty, quick):
    run = made(machine("one"))
    faulty.fault = lambda asked: "500" if asked.method == "PUT" and "recommendations" in asked.path else None
    with pytest.raises(SourceUnavailable):
        publish(run)
    faulty.fault = lambda asked: None
    there = {found.path: found.etag for found in machine("one").objects.find()}
    before = len(faulty.asked)
    publish(run)
    sent = {asked.path.partition("/runs/")[2] for asked in faulty.asked[before:] if asked.method == "PUT"}
    assert sent.isdisjoint(path.removeprefix("runs/") for path in there)


def test_a_flipped_byte_is_named(machine):
    run, _ = published(machine("one"))
    for path in ("recommendations/part-00000.parquet", "prepared/rating.npy", "evaluation.json"):
        flip(machine("one").objects, f"{below(run)}/{path}")
    machine("one").objects.put(f"{below(run)}/recommendations/part-00001.parquet", b"")
    machine("one").objects.remove([f"{below(run)}/prepared/items.parquet"])
    for store in (machine("one"), machine("two")):
        with pytest.raises(DamagedRun) as error:
            PublishedRun.open(store).verify()
        for path in ("part-00000.parquet", "rating.npy", "evaluation.json", "part-00001.parquet", "items.parquet"):
            assert path in str(error.value)
        assert f"{store.name}/{below(run)}/{MANIFEST}" in str(error.value)
    with pytest.raises(DamagedObject, match=r"recommendations/part-00000\.parquet is not as it was written"):
        PublishedRun.open(machine("two")).table("recommendations")
    assert not list((machine("two").root / below(run)).rglob("*.parquet")), "nothing of it is kept"
    with pytest.raises(DamagedRun, match=r"missing: 'prepared/items\.parquet'"):
        PublishedRun.open(machine("two")).verify()


def test_a_damaged_manifest_is_named(machine):
    run, _ = published(machine("one"))
    flip(machine("one").objects, f"{below(run)}/{MANIFEST}")
    with pytest.raises(DamagedRun, match=f"changed: '{MANIFEST}'"):
        PublishedRun.open(machine("one")).verify()


def test_damage_is_mended_from_the_copy_here(machine, caplog):
    run, _ = published(machine("one"))
    objects, path = machine("one").objects, f"{below(run)}/recommendations/part-00000.parquet"
    flip(objects, path)
    objects.put(f"{below(run)}/stray", b"")
    objects.remove([f"{below(run)}/prepared/rating.npy"])
    manifest = objects.read(f"{below(run)}/{MANIFEST}")
    assert again(machine("one"))[1].outcome == "unchanged"
    assert "mended from this machine's copy" in caplog.text
    assert PublishedRun.open(machine("two")).verify()
    assert objects.read(f"{below(run)}/{MANIFEST}") == manifest


@pytest.mark.parametrize("what", ["recommendations/part-00000.parquet", MANIFEST])
def test_damage_is_rebuilt_where_there_is_no_copy(machine, what, monkeypatch):
    before, _ = published(machine("one"), BEFORE)
    run, _ = published(machine("one"))
    whole = tables(PublishedRun.open(machine("reader")))
    flip(machine("one").objects, f"{below(run)}/{what}")
    seen = []
    remove = type(machine("two")).hide
    monkeypatch.setattr(
        type(machine("two")),
        "hide",
        lambda store, path: (seen.append(PublishedRun.open(machine("reader")).run_id), remove(store, path)),
    )
    rebuilt, said = again(machine("two"))
    assert seen == [before.run_id], "the pointer leaves the run before anything of it is changed"
    assert (said.outcome, rebuilt.run_id) == ("published", run.run_id)
    assert PublishedRun.open(machine("reader")).verify()
    assert tables(PublishedRun.open(machine("reader"))) == whole


def test_the_manifest_gone_is_told_and_mended(machine):
    published(machine("one"), BEFORE)
    run, _ = published(machine("one"))
    machine("one").objects.remove([f"{below(run)}/{MANIFEST}"])
    with pytest.raises(BrokenPointer, match="leads to a run that is not there"):
        PublishedRun.open(machine("two"))
    assert again(machine("two"))[1].outcome == "published"
    assert PublishedRun.open(machine("three")).run_id == run.run_id


def test_who_lost_the_lease_cannot_publish(machine):
    early, late = machine("early"), machine("late")
    with pytest.raises(LeaseLost), early.hold(seconds=0.5) as lease:
        run = replace(made(early), token=lease.token)
        lease._ended.set()  # a process that is paused renews nothing
        lease._beat.join()
        while True:
            try:
                with late.hold() as other:
                    assert other.token == lease.token + 1
                    after = replace(made(late, BEFORE), token=other.token)
                    publish(after)
                break
            except Exception as error:
                if "holds the store" not in str(error):
                    raise
        publish(run)
    assert PublishedRun.open(machine("reader")).run_id == after.run_id
    pointer = json.loads(late.place.read("published/CURRENT.json").data)
    assert (pointer["run_id"], pointer["token"]) == (after.run_id, 2)


def test_a_pointer_that_changed_meanwhile_is_not_swapped(machine, monkeypatch):
    store = machine("one")
    first, second = made(store, BEFORE), made(store)
    publish(first)
    place = type(store.place)
    replace_record, raced = place.replace, []

    def race(self, name, data, version):
        if not raced:
            raced.append(name)
            stamped = self.read(name)
            replace_record(self, name, stamped.data + b" ", stamped.version)
        return replace_record(self, name, data, version)

    monkeypatch.setattr(place, "replace", race)
    with pytest.raises(LeaseLost, match="changed at the same moment"):
        publish(second)
    assert PublishedRun.open(machine("two")).run_id == first.run_id


def test_a_manifest_of_another_making_is_not_replaced(machine):
    one, two = made(machine("one")), made(machine("two"))
    publish(one)
    with pytest.raises(LeaseLost, match="written by another"):
        publish(two)
    assert read_manifest(PublishedRun.open(machine("three")).folder) == read_manifest(one.folder)


def test_states_of_runs(machine):
    complete, _ = published(machine("one"), BEFORE)
    unfinished = make_run(machine("one").root, uri=machine("one").name)
    states = {folder.name: state_of(folder).name for folder in machine("one").runs()}
    assert states == {f"run_id={complete.run_id}": "complete", f"run_id={unfinished.run_id}": "unfinished"}
    assert [folder.name for folder in machine("two").runs()] == [f"run_id={complete.run_id}"]
    machine("one").objects.remove(found.path for found in machine("one").objects.find("runs"))
    assert machine("two").runs() == [], "what was pruned elsewhere is gone here too"


@pytest.mark.parametrize("path", ["../../../etc", "/etc", "runs/../../x"])
def test_a_pointer_or_a_manifest_does_not_lead_out(machine, path, tmp_path):
    store = machine("one")
    store.place.create(
        "published/CURRENT.json", json.dumps({"run_date": "2026-01-31", "run_id": "a", "path": path}).encode()
    )
    with pytest.raises(BrokenPointer, match="leads out of the store"):
        PublishedRun.open(store)
    run, _ = published(machine("two"), BEFORE)
    manifest = read_manifest(run.folder)
    manifest["files"].append({"path": f"recommendations/{path}", "bytes": 1, "sha256": ""})
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    from recsys.store.remote import _files

    assert not [entry for entry in _files(tmp_path / MANIFEST) if ".." in entry["path"]]


def test_older_copies_leave_the_workspace(machine, monkeypatch):
    monkeypatch.setattr("recsys.store.remote.IN_USE_S", 0.0)
    store = machine("one")
    nights = [published(store, date(2026, 1, day))[0] for day in (28, 29, 30)]
    left = [len(list(run.folder.iterdir())) for run in nights]
    assert left[0] == 1
    assert min(left[1:]) > 5
    assert len(complete_runs(store)) == 3
    oldest = PublishedRun.open(store, date(2026, 1, 28))
    assert len(tables(oldest)) == len(oldest.tables), "and come back where they are read"


def test_a_refused_night_is_promoted_from_another_machine(machine):
    run = made(machine("one"), config=config_of(gate={"min_ndcg": 2.0}))
    with pytest.raises(GateRefused):
        publish(run)
    assert [state_of(folder).name for folder in machine("two").runs()] == ["refused by the gate"]
    with pytest.raises(UsageError, match="Nothing is published"):
        PublishedRun.open(machine("two"))
    elsewhere = replace(run, store=machine("three").root)
    machine("three").has_manifest(elsewhere.folder)
    with pytest.raises(GateRefused):  # found made, and refused again
        publish(elsewhere)
    assert promote(machine("two"), run.run_id, by="an operator", reason="looked at").outcome == "published"
    assert PublishedRun.open(machine("reader")).verify()
    assert PublishedRun.open(machine("reader")).manifest["gate"]["promoted_by"]["by"] == "an operator"
    assert machine("reader").objects.look(f"{below(run)}/{REFUSED}") is None
    assert promote(machine("one"), run.run_id, by="an operator", reason="looked at").outcome == "unchanged"


def test_history_from_another_machine(machine):
    nights = [published(machine("one"), date(2026, 1, day))[0] for day in (28, 29, 30)]
    assert roll_back(machine("two"), nights[1].run_id).outcome == "published"
    assert PublishedRun.open(machine("reader")).run_id == nights[1].run_id
    assert roll_back(machine("one"), nights[1].run_id).outcome == "unchanged"
    before = {found.path for found in machine("one").objects.find()}
    assert prune(machine("two"), 1, dry_run=True).runs == (nights[0].run_id,)
    assert {found.path for found in machine("one").objects.find()} == before
    for machine_again in ("two", "one"):
        prune(machine(machine_again), 1)
        left = {found.path.split("/")[2] for found in machine("one").objects.find("runs")}
        assert left == {f"run_id={run.run_id}" for run in nights[1:]}
    assert PublishedRun.open(machine("reader")).verify()


def test_what_is_left_of_a_kill_goes_with_the_next_pruning(machine, monkeypatch):
    """Killed after the manifest was removed, with the other objects still there."""
    nights = [published(machine("one"), date(2026, 1, day))[0] for day in (28, 29)]
    with monkeypatch.context() as patch:
        patch.setattr(type(machine("one").objects), "remove", _only_first(type(machine("one").objects).remove))
        with pytest.raises(KeyboardInterrupt):
            prune(machine("one"), 1)
    left = machine("one").objects.find(below(nights[0]))
    assert left
    assert MANIFEST not in [found.name for found in left]
    for name in ("two", "one"):
        states = {folder.name: state_of(folder).name for folder in machine(name).runs()}
        assert states == {f"run_id={nights[0].run_id}": "unfinished", f"run_id={nights[1].run_id}": "complete"}
    assert prune(machine("two"), 1).runs == (nights[0].run_id,)
    assert machine("one").objects.find(below(nights[0])) == []
    assert [folder.name for folder in machine("one").runs()] == [f"run_id={nights[1].run_id}"]


def _only_first(remove):
    def first(self, paths):
        remove(self, list(paths)[:1])
        raise KeyboardInterrupt

    return first


def test_a_lease_lies_in_the_object_store(machine):
    with hold(machine("one").place, "s3://x"), pytest.raises(Exception, match="Another run holds the store s3://"):
        machine("two").require_free()


def test_a_store_on_a_disk_imports_no_client(tmp_path):
    code = (
        "import sys, deployments.cli.app, flows.nightly\n"
        "from recsys.store import open_store\n"
        f"with open_store({str(tmp_path)!r}).hold(): pass\n"
        "print(sorted({'obstore', 'botocore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout == "[]\n"
