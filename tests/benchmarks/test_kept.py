"""What has been measured stays, until it is asked for anew."""

import pytest

from benchmarks.kept import keep, records
from recsys.identity import code_version


def counted(calls):
    return lambda: calls.append(1) or {"figure": len(calls)}


def test_a_kept_piece_is_not_measured_again(tmp_path):
    calls = []
    first = keep(tmp_path / "kept", "A1-0", counted(calls), threads=1)
    assert keep(tmp_path / "kept", "A1-0", counted(calls), threads=2) == first
    assert calls == [1]
    assert first["figures"] == {"figure": 1}
    assert (first["name"], first["threads"], first["code"]) == ("A1-0", 1, code_version())
    assert "numpy" in first["versions"]


def test_fresh_measures_again(tmp_path):
    calls = []
    keep(tmp_path, "A1-0", counted(calls), threads=1)
    assert keep(tmp_path, "A1-0", counted(calls), threads=1, fresh=True)["figures"] == {"figure": 2}
    assert [record["figures"] for record in records(tmp_path)] == [{"figure": 2}]


def test_a_broken_off_piece_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        keep(tmp_path, "A1-0", lambda: 1 / 0, threads=1)
    assert records(tmp_path) == []
    assert records(tmp_path / "none") == []
