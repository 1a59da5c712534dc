"""Downloads of a store in an object store: each machine finds what another one took, and the last good copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.config import RunConfig
from recsys.download.stage import take_inputs
from recsys.errors import SourceUnavailable
from recsys.objects.failures import DamagedObject
from recsys.objects.folder import ObjectFolder
from recsys.store import open_store

CSV = b"userId,movieId,rating,timestamp\n1,10,4.0,964982703\n2,20,3.5,964981247\n"


@pytest.fixture
def machine(s3: Any, tmp_path: Path) -> Any:
    return lambda name: open_store(f"{s3.uri}/store", str(tmp_path / name))


@pytest.fixture
def address(s3: Any) -> str:
    ObjectFolder.at(s3.uri).put("input/r.csv", CSV)
    return f"{s3.uri}/input/r.csv"


def config(address: str, **sections: Any) -> RunConfig:
    return RunConfig.model_validate({"input": {"ratings": address}, **sections})


def test_another_machine_has_the_last_good_copy(machine: Any, address: str, s3: Any) -> None:
    first, _ = take_inputs(config(address), machine("one"))
    ObjectFolder.at(s3.uri).remove(["input/r.csv"])
    again, _ = take_inputs(config(address), machine("two"))
    assert (again.stale, again.fingerprint, again.origin) == (True, first.fingerprint, address)
    assert Path(again.ratings[0]).read_bytes() == CSV
    assert Path(again.ratings[0]).is_relative_to(machine("two").root)


def test_the_newest_of_an_address_comes_alone(machine: Any, address: str, s3: Any) -> None:
    """Each night other ratings, and ratings of another address: only the newest of this one is brought."""
    objects = ObjectFolder.at(s3.uri)
    for night in range(3):
        objects.put("input/r.csv", CSV + f"{night + 3},10,1,1\n".encode())
        take_inputs(config(address), machine("one"))
    objects.put("input/other.csv", CSV)
    take_inputs(config(f"{s3.uri}/input/other.csv"), machine("one"))
    objects.remove(["input/r.csv", "input/other.csv"])
    taken, _ = take_inputs(config(address), machine("two"))
    assert Path(taken.ratings[0]).read_bytes().endswith(b"5,10,1,1\n")
    assert len(list((machine("two").raw / "ratings").glob("*/source.json"))) == 1


def test_a_hold_out_and_items_come_too(machine: Any, address: str, s3: Any) -> None:
    objects = ObjectFolder.at(s3.uri)
    objects.put("input/test.csv", CSV + b"3,10,1,1\n")
    objects.put("input/items.csv", b"movieId,title\n10,A\n")
    given = config(address, prepare={"test_ratings": f"{s3.uri}/input/test.csv"})
    given = given.model_copy(update={"input": given.input.model_copy(update={"items": f"{s3.uri}/input/items.csv"})})
    take_inputs(given, machine("one"))
    objects.remove(found.path for found in objects.find("input"))
    snapshot, holdout = take_inputs(given, machine("two"))
    assert (snapshot.stale, holdout.stale, len(snapshot.items)) == (True, True, 1)  # type: ignore[union-attr]


def test_a_damaged_copy_is_told(machine: Any, address: str) -> None:
    take_inputs(config(address), machine("one"))
    objects = machine("one").objects
    path = next(found.path for found in objects.find("raw") if found.name == "r.csv")
    objects.put(path, CSV.replace(b"4.0", b"5.0"))
    with pytest.raises(DamagedObject, match=r"r\.csv is not as it was written"):
        take_inputs(config(address), machine("two"))


def test_a_copy_that_names_files_elsewhere_is_none(machine: Any, address: str, s3: Any) -> None:
    take_inputs(config(address), machine("one"))
    objects = machine("one").objects
    path = next(found.path for found in objects.find("raw") if found.name == "source.json")
    objects.put(path, objects.read(path)[0].replace(b'"r.csv"', b'"../../r.csv"'))
    ObjectFolder.at(s3.uri).remove(["input/r.csv"])
    with pytest.raises(SourceUnavailable, match="Nothing is at"):
        take_inputs(config(address), machine("two"))


def test_what_is_generated_is_shown_and_not_brought(machine: Any) -> None:
    demo = RunConfig.model_validate({"demo": {"users": 20, "items": 20, "ratings": 100}})
    first, _ = take_inputs(demo, machine("one"))
    shown = {found.path for found in machine("one").objects.find("raw/demo")}
    assert shown == {f"raw/demo/{Path(first.ratings[0]).parent.name}/{name}" for name in _names(first)}
    again, _ = take_inputs(demo, machine("two"))
    assert again.fingerprint == first.fingerprint


def _names(snapshot: Any) -> set[str]:
    return {path.name for path in Path(snapshot.ratings[0]).parent.iterdir()}
