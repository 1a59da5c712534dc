"""The generated dataset as a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

import recsys.demo
from recsys.config import DemoConfig, DownloadConfig, InputConfig
from recsys.download.snapshot import take_snapshot
from recsys.ratings import Snapshot

SMALL = DemoConfig(users=40, items=30, ratings=400)


def take(raw: Path, demo: DemoConfig = SMALL) -> Snapshot:
    return take_snapshot(InputConfig(), DownloadConfig(), demo, raw)


def test_it_is_generated_once_for_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take(tmp_path)
    monkeypatch.setattr(recsys.demo, "generate", None)  # would fail if it were called
    assert take(tmp_path) == first
    assert (first.trust, first.dataset) == ("generated", "demo")
    assert first.ratings
    assert first.items
    assert sum(len(Path(path).read_text().splitlines()) - 1 for path in first.ratings) == 400


def test_another_seed_is_another_snapshot(tmp_path: Path) -> None:
    other = take(tmp_path, SMALL.model_copy(update={"seed": 8}))
    assert other.fingerprint != take(tmp_path).fingerprint
    assert other.ratings != take(tmp_path).ratings


def test_the_fingerprint_does_not_know_the_place(tmp_path: Path) -> None:
    assert take(tmp_path / "a").fingerprint == take(tmp_path / "b").fingerprint


def test_a_generator_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(config: DemoConfig, folder: Path) -> None:
        (folder / "ratings-00000.csv").write_text("userId,movieId")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(recsys.demo, "generate", half)
        take(tmp_path)
    assert [path.name for path in (tmp_path / "demo").iterdir() if path.name != ".lock"] == []
    assert take(tmp_path).ratings
