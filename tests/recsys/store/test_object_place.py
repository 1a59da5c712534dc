"""Records that publishers compete for, in a real server: one wins, and an answer that is lost is looked up."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from recsys.errors import SourceUnavailable
from recsys.objects import service
from recsys.objects.folder import ObjectFolder
from recsys.store import object_place
from recsys.store.object_place import ObjectPlace
from recsys.store.place import Taken


@pytest.fixture
def place(s3: Any) -> ObjectPlace:
    return ObjectPlace(ObjectFolder.at(s3.uri))


def test_a_record_from_making_to_removing(place: ObjectPlace) -> None:
    assert place.read("R.json") is None
    first = place.create("R.json", b"1")
    assert (place.read("R.json").data, place.read("R.json").version) == (b"1", first)
    second = place.replace("R.json", b"2", first)
    assert place.read("R.json").version == second != first
    place.remove("R.json", second)
    assert place.read("R.json") is None
    third = place.create("R.json", b"3")
    assert place.read("R.json").version == third


def test_who_comes_late_is_refused(place: ObjectPlace) -> None:
    first = place.create("R.json", b"1")
    with pytest.raises(Taken):
        place.create("R.json", b"other")
    second = place.replace("R.json", b"2", first)
    with pytest.raises(Taken):
        place.replace("R.json", b"late", first)
    with pytest.raises(Taken):
        place.remove("R.json", first)
    place.remove("R.json", second)
    for late in (lambda: place.replace("R.json", b"late", second), lambda: place.replace("N.json", b"late", first)):
        with pytest.raises(Taken):
            late()
    assert place.read("R.json") is None


def test_a_guard_keeps_a_record_from_being_written(place: ObjectPlace) -> None:
    def refuse() -> None:
        raise ValueError("not any more")

    for _ in range(2):  # of a record that never was, and of one that was taken away
        with pytest.raises(ValueError, match="not any more"):
            place.create("R.json", b"1", refuse)
        assert place.read("R.json") is None
        place.remove("R.json", place.create("R.json", b"2"))


def test_of_many_at_once_one_wins_each_round(place: ObjectPlace) -> None:
    """A counter that eight threads raise ends at the number of their successes: none is lost, none counted twice."""
    place.create("N.json", b"0")
    won = []

    def raise_it(who: int) -> None:
        for _ in range(6):
            stamped = place.read("N.json")
            number = json.loads(stamped.data)[0] if stamped.data != b"0" else 0
            try:
                place.replace("N.json", json.dumps([number + 1, who]).encode(), stamped.version)
                won.append(who)
            except Taken:
                continue

    threads = [threading.Thread(target=raise_it, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(place.read("N.json").data)[0] == len(won) >= 6


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RETRIES": 1, "FIRST_PAUSE_S": 0.01, "LONGEST_PAUSE_S": 0.02, "REQUEST_S": 1}.items():
        monkeypatch.setattr(service, name, value)
    service.connect.cache_clear()


@pytest.mark.parametrize("data", [b"2", b"22"])
@pytest.mark.parametrize("fault", ["lost", "silent", "500", "torn"])
def test_an_answer_that_is_lost(faulty: Any, place: ObjectPlace, quick: None, fault: str, data: bytes) -> None:
    """A request for one byte is torn before it: SeaweedFS then has an empty object."""
    faulty.silence_s = 1.2
    version = place.create("R.json", b"1")
    failing = iter([fault])
    faulty.fault = lambda asked: next(failing, None) if asked.method == "PUT" else None
    version = place.replace("R.json", data, version)
    assert (place.read("R.json").data, place.read("R.json").version) == (data, version)
    failing = iter([fault])
    assert place.create("S.json", data) == place.read("S.json").version
    assert faulty.failed == [fault, fault]


def test_an_answer_lost_to_who_comes_late(faulty: Any, place: ObjectPlace, quick: None) -> None:
    first = place.create("R.json", b"1")
    place.replace("R.json", b"2", first)
    failing = iter(["500"])
    faulty.fault = lambda asked: next(failing, None) if asked.method == "PUT" else None
    with pytest.raises(Taken):
        place.replace("R.json", b"late", first)
    assert place.read("R.json").data == b"2"


def test_a_service_that_is_gone(faulty: Any, place: ObjectPlace, quick: None) -> None:
    version = place.create("R.json", b"1")
    faulty.fault = lambda asked: "500"
    for use in (lambda: place.read("R.json"), lambda: place.replace("R.json", b"2", version)):
        with pytest.raises(SourceUnavailable):
            use()
    faulty.fault = lambda asked: None
    assert place.read("R.json").data == b"1"


class Careless:
    """A service that takes no notice of conditions, or does not know them."""

    def __init__(self, bucket: Any, knows: bool) -> None:
        self.bucket, self.knows = bucket, knows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bucket, name)

    def put(self, key: str, data: Any, mode: Any = "overwrite", **more: Any) -> Any:
        from obstore.exceptions import NotSupportedError

        if mode != "overwrite" and not self.knows:
            raise NotSupportedError("Operation not supported")
        return self.bucket.put(key, data, mode="overwrite", **more)


@pytest.mark.parametrize("knows", [True, False])
def test_without_conditional_writes(
    place: ObjectPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, knows: bool
) -> None:
    bucket = Careless(service.connect("s3", "tests"), knows)
    monkeypatch.setattr("recsys.objects.folder.connect", lambda *_: bucket)
    test_a_record_from_making_to_removing(place)
    version = place.create("S.json", b"1")
    with pytest.raises(Taken):
        place.create("S.json", b"other")
    with pytest.raises(Taken):
        place.replace("S.json", b"2", version.replace("e_tag", "e_tagged"))
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "no conditional writes" in caplog.text


def test_a_gone_service_is_not_taken_for_a_careless_one(faulty: Any, place: ObjectPlace, quick: None) -> None:
    faulty.fault = lambda asked: "500"
    with pytest.raises(SourceUnavailable):
        place.create("R.json", b"1")
    faulty.fault = lambda asked: None
    assert object_place.is_conditional(place.folder)
