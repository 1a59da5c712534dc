"""A search on a function that takes no time: what it tries, and that a kill changes nothing."""

import json

import pytest

from recsys.config import Tunable
from recsys.errors import UsageError
from recsys.tune.search import Limits, Trial, best_of, search

SPACE = {"reg": (Tunable(1, 1000, log=True), False), "size": (Tunable(1, 20), True)}
START = {"reg": 30.0, "size": 7}


def figure(chosen):
    return (chosen["reg"] / 100 - 1) ** 2 + abs(chosen["size"] - 12)


def go(journal, objective=figure, *, trials=14, direction="minimize", seed=1, timeout_s=None):
    return search(
        journal,
        objective,
        SPACE,
        START,
        metric="rmse",
        direction=direction,
        limits=Limits(trials, timeout_s),
        seed=seed,
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return go(tmp_path_factory.mktemp("unbroken") / "study.journal")


def test_it_begins_with_the_models_own_settings_and_stays_within_bounds(unbroken):
    assert [trial.number for trial in unbroken] == list(range(1, 15))
    assert unbroken[0].chosen == START
    assert all(1 <= trial.chosen["reg"] <= 1000 and 1 <= trial.chosen["size"] <= 20 for trial in unbroken)
    assert all(type(trial.chosen["size"]) is int for trial in unbroken)
    assert all(trial.figure == figure(trial.chosen) for trial in unbroken)
    assert best_of(unbroken, "minimize").figure == min(trial.figure for trial in unbroken)
    assert best_of(unbroken, "maximize").figure == max(trial.figure for trial in unbroken)


def test_the_seed_decides(unbroken, tmp_path):
    assert go(tmp_path / "again.journal") == unbroken
    assert go(tmp_path / "other.journal", seed=2) != unbroken


def test_more_trials_go_on_from_the_earlier_ones(unbroken, tmp_path):
    assert go(tmp_path / "study.journal", trials=5) == unbroken[:5]
    assert go(tmp_path / "study.journal") == unbroken
    assert go(tmp_path / "study.journal", trials=3) == unbroken  # nothing is left to do, nothing is lost


@pytest.mark.parametrize("fatal", [1, 4, 12])
def test_a_search_broken_off_within_a_trial_goes_on_with_that_trial(unbroken, tmp_path, fatal):
    calls = []

    def dies(chosen):
        calls.append(chosen)
        if len(calls) == fatal:
            raise KeyboardInterrupt
        return figure(chosen)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "study.journal", dies)
    assert go(tmp_path / "study.journal") == unbroken


def test_a_search_killed_within_a_write_goes_on(unbroken, tmp_path):
    journal = tmp_path / "study.journal"
    go(journal, trials=6)
    text = journal.read_bytes()
    journal.write_bytes(text + text.splitlines()[-1][:20])  # half a line
    (tmp_path / "study.journal.lock").symlink_to(journal)  # Optuna would wait half a minute for it
    assert go(journal) == unbroken
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_refused_settings_are_a_trial_without_a_figure(tmp_path):
    def refuses(chosen):
        if chosen["size"] < 10:
            raise UsageError("too small")
        return figure(chosen)

    found = go(tmp_path / "study.journal", refuses)
    assert len(found) == 14
    assert found[0] == Trial(1, START, None, "too small")
    assert best_of(found, "minimize").chosen["size"] >= 10
    assert go(tmp_path / "study.journal", refuses) == found


def test_no_figure_at_all_is_refused(tmp_path):
    def never(chosen):
        raise UsageError("never")

    with pytest.raises(UsageError, match="No trial has a figure") as error:
        best_of(go(tmp_path / "study.journal", never, trials=2), "minimize")
    assert error.value.found == "never"


def test_no_trial_begins_after_the_timeout(tmp_path):
    assert go(tmp_path / "study.journal", timeout_s=0.0) == []
