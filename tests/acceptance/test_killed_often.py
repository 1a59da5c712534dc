"""Two hundred SIGKILLs at random moments of a few nights, then one clean run of each; readers saw whole runs only.

`python -m pytest -m slow tests/acceptance/test_killed_often.py -s` says how far it has come.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

KILLS, SEED, RATINGS = 200, 20261121, 12_000
FIRST = date(2026, 11, 1)
STAGES = ("download", "mend", "prepare", "fit", "evaluate", "refit", "score", "judge", "report", "seal", "publish")


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_kills_at_random_moments(recsys, tmp_path, tables, readers) -> None:
    mark = tmp_path / "mark"

    def attempt(store: Path, night: int, seconds: float | None = None) -> bool:
        """Whether the night was made to its end before it was killed."""
        mark.write_text("download")
        child = recsys.night(str(store), str(FIRST + timedelta(days=night)), RATINGS, mark)
        child.join(seconds)
        if child.is_alive():
            child.kill()
        child.join()
        assert child.exitcode in (0, -9)
        return child.exitcode == 0

    rng, broken, unbroken = random.Random(SEED), tmp_path / "broken", tmp_path / "unbroken"
    assert attempt(broken, 0)  # compiles
    started = time.monotonic()
    assert attempt(broken, 1)
    longest = (time.monotonic() - started) / 4  # so that a night is killed some eight times on its way
    follower = readers.Follower(broken, pause=0.05)  # more often it would take half of the machine
    follower.start()
    kills, before, night, killed = 0, 0, 2, Counter[str]()
    while kills < KILLS:
        if attempt(broken, night, rng.uniform(0.0, longest)):
            longest *= 0.8 if kills < before + 6 else 1.0  # the machine is less busy now than when it was measured
            night, before = night + 1, kills
        else:
            kills += 1
            longest *= 1.1 if kills > before + 8 else 1.0
            killed[mark.read_text() or "between two"] += 1
            print(f"{kills} kills, {night} nights, {longest:.1f} s at most: {dict(killed)}", flush=True)
    assert attempt(broken, night)
    follower.stopped.set()
    follower.join()
    for each in range(night + 1):
        assert attempt(unbroken, each)
        day = str(FIRST + timedelta(days=each))
        assert tables(broken, day) == tables(unbroken, day)
        assert len(tables(broken, day)) >= 3
    print(f"{kills} kills on the way to {night + 1} nights, of which a reader saw {len(follower.seen)}: {dict(killed)}")
    assert follower.wrong == []
    assert len(follower.seen) > night / 2
    assert not list(broken.glob("work/*"))
    missed = set(STAGES) - killed.keys()
    assert len(missed) <= 3, f"no kill came in {sorted(missed)}: too few stages to show anything"
