"""A disk that is full, closed or broken is told, whichever stage and library meets it."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from recsys.config import RunConfig
from recsys.download.stage import open_run
from recsys.errors import RecsysError, UsageError, disk_told
from recsys.evaluate import stage as evaluate_stage
from recsys.gate.stage import judge
from recsys.prepare.stage import prepare
from recsys.publish.stage import publish
from recsys.score.stage import score, score_shard
from recsys.store import Store
from recsys.train.stage import fit, refit

NIGHT = date(2026, 1, 31)
STAGES = {
    "download": lambda run: open_run(run.config, date(2026, 2, 1)),
    "prepare": prepare,
    "fit the ranker": lambda run: fit(run, "ranker"),
    "fit the rater": lambda run: fit(run, "rater"),
    "evaluate a shard": lambda run: evaluate_stage.evaluate_shard(run, 0),
    "evaluate": evaluate_stage.evaluate,
    "refit the ranker": lambda run: refit(run, "ranker"),
    "refit the rater": lambda run: refit(run, "rater"),
    "score a shard": lambda run: score_shard(run, 0),
    "score": score,
    "judge": judge,
    "publish": publish,
}


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """No file may grow past `n_bytes`: the system itself refuses the write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("rater", ["means", "biased_mf"])
def test_no_room_in_each_stage_and_the_run_goes_on_from_there(tmp_path: Path, rater: str) -> None:
    demo = {"users": 200, "items": 100, "ratings": 6_000}
    config = RunConfig.model_validate(
        {
            "store": str(tmp_path),
            "demo": demo,
            "train": {"rater": rater},
            "models": {"biased_mf": {"epochs": 2}},
            "evaluate": {"bootstrap_samples": 10},
            "gate": {"rater_beats_means": False},
            "compute": {"threads": 1},
        }
    )
    store = Store(tmp_path)
    with store.hold():
        run = open_run(config, NIGHT)
    for name, stage in STAGES.items():
        with pytest.raises(UsageError) as told, store.hold(), room_for(20):
            stage(run)
        assert os.strerror(errno.EFBIG) in told.value.what, name
        assert store.current() is None
        with store.hold():
            stage(run)
    assert store.current() is not None


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), errno.ENOSPC),
        (OSError(errno.EROFS, "Read-only file system"), errno.EROFS),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT),
        (PermissionError(errno.EACCES, "Permission denied"), errno.EACCES),
        (OSError("Can't write data (file write failed: errno = 5, error message = 'Input/output error')"), errno.EIO),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), errno.ENOSPC),
        (OSError("8000 requested and 512 written"), errno.ENOSPC),
    ],
)
def test_every_librarys_words_are_understood(error: OSError, number: int) -> None:
    with pytest.raises(UsageError) as told, disk_told("/data/store"):
        raise error
    assert os.strerror(number) in told.value.what
    assert (error.filename or "/data/store") in told.value.what
    assert told.value.exit_code == 2
    assert "run again" in told.value.todo


def test_a_failure_that_hides_behind_another_is_found() -> None:
    with pytest.raises(UsageError, match="No space left"), disk_told("/data"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it.")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "x"), ValueError("28"), OSError("odd"), KeyError("errno 28")], ids=repr
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as same, disk_told("/data"):
        raise error
    assert same.value is error


def test_a_known_error_passes() -> None:
    known = RecsysError("It broke.")
    with pytest.raises(RecsysError) as same, disk_told("/data"):
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as full:
            raise known from full
    assert same.value is known
