"""The table of a search on terminals of several widths, and where there is none."""

from pathlib import Path

import pytest

from deployments.cli import console as terminal
from deployments.cli import tune
from recsys.tune.search import Trial
from recsys.tune.tuning import Tuned

NAMES = ("reg", "dropout", "user_power", "item_power")
TRIALS = (
    *(Trial(number, dict.fromkeys(NAMES, number + 0.123456789), 0.5 - abs(number - 13) / 100, "") for number in range(1, 15)),
    Trial(15, dict.fromkeys(NAMES, 0.0), None, "too small"),
)  # fmt: skip
TUNED = Tuned("key", "edlae", "ranker", "ndcg@10", Path("best.toml"), {}, TRIALS[12], TRIALS)


@pytest.fixture
def told(monkeypatch, capsys):
    """told(width) -> the lines on standard output; width None: it is no terminal."""

    def tell(width):
        monkeypatch.setattr(terminal, "width", lambda: width)
        tune._show(TUNED)
        return capsys.readouterr().out.splitlines()

    return tell


@pytest.mark.parametrize(("width", "shown"), [(120, NAMES), (48, NAMES[:2])])
def test_as_many_settings_as_there_is_room_for(told, width, shown):
    lines = told(width)
    head = next(line for line in lines if "trial " in line and "┃" in line)
    assert [cell.strip() for cell in head.strip("┃").split("┃")] == ["trial", "ndcg@10", *shown]
    assert max(map(len, lines)) <= width
    assert any("not shown" in line for line in lines) == (shown != NAMES)


def test_elsewhere_a_trial_is_a_line_the_best_first_and_the_first_last(told):
    title, head, *rows = told(None)
    assert title.startswith("edlae: the best of 15 trials")
    assert title.endswith("; 1 had no figure")
    assert head.split() == ["trial", "ndcg@10", *NAMES]
    assert [row.split()[0] for row in rows] == ["13", "12", "14", "11", "10", "9", "8", "7", "6", "5", "1"]
    assert rows[0].split()[1:3] == ["0.5000", "13.123"]


def test_the_best_trial_is_marked():
    assert [cell.style for cell in tune._cells([13, 0.5, 1.0], best=True)] == ["bold green"] * 3
    assert [cell.style for cell in tune._cells([12, 0.4, 1.0], best=False)] == [""] * 3
