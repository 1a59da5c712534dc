"""The command goes on where it was, and writes the page."""

import sys

import pytest

from benchmarks import reproduce
from benchmarks.kept import records
from benchmarks.reproduce import PARTS, main, pieces
from recsys.config import ComputeConfig


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Call it; what would be measured only says how often it was."""
    calls = []
    figures = {
        "parameters": 486_850,
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "mse": 1.0,
        "mae": 1.0,
        "best": 1.0,
        "last": 1.0,
        "curve": [1.0],
    }
    monkeypatch.setattr(
        reproduce, "_tutorial", lambda name, mirror, seed, compute: calls.append((name, seed)) or figures
    )

    def call(*words):
        places = ["--mirror", "none", "--kept", str(tmp_path / "kept"), "--out", str(tmp_path / "page.md")]
        monkeypatch.setattr(sys, "argv", ["reproduce", *places, *words])
        main()
        return (tmp_path / "page.md").read_text()

    return call, calls, tmp_path / "kept"


def test_more_seeds_later_measure_those_alone(command):
    call, calls, _ = command
    assert "| 1.0000 |" in call("--only", "A1", "--seeds", "1")
    assert "1.0000 +- 0.0000" in call("--only", "A1,A2", "--seeds", "2")
    assert calls == [("A1", 0), ("A1", 1), ("A2", 0), ("A2", 1)]
    call("--only", "A1", "--seeds", "1", "--fresh")
    assert calls[4:] == [("A1", 0)]


def test_page_only_measures_nothing(command):
    call, calls, kept = command
    assert "# Reproduction" in call("--page-only")
    assert not calls
    assert not records(kept)


def test_an_unknown_part_is_refused_by_name(command, capsys):
    with pytest.raises(SystemExit):
        command[0]("--only", "A1,A9")
    assert "no part A9; there are A1, A2" in capsys.readouterr().err


def test_a_missing_archive_is_a_message(monkeypatch, tmp_path, capsys):
    words = ["--mirror", str(tmp_path), "--kept", str(tmp_path / "kept"), "--out", str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", ["reproduce", *words, "--only", "C"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code > 1
    assert "ml-100k" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "n"), [(part, 20 if part == "rmse" else 6 if part == "sooner" else 5) for part in PARTS]
)
def test_every_part_has_pieces_by_seed(part, n):
    names = list(pieces(part, 5, "none", ComputeConfig()))
    assert len(names) == n
    assert all(name.rpartition("-")[2].isdigit() for name in names)
    assert part.partition("-")[0] in names[0]
