"""The table of a comparison on terminals of several widths, and where there is none."""

from pathlib import Path

import pytest
from rich.text import Text

from deployments.cli import compare
from deployments.cli import console as terminal
from recsys.compare.comparison import Comparison
from recsys.prepare.prepared import Counts

COUNTS = Counts(1000, 0, 0, 1000, 30, 20, 200, 30, 20, 1000, 1.0, 5.0, -4.0, 4.0)
RECORDS = [
    {
        "model": model, "role": role, "failed": None, "fit_seconds": 1.0, "score_seconds": 2.0, "peak_memory_mib": 300,
        "metrics": {name: {"value": value} for name, value in metrics.items()},
    }
    for model, role, metrics in (
        ("popular", "ranker", {"ndcg@10": 0.2, "recall@10": 0.3, "gini@10": 0.9}),
        ("edlae", "ranker", {"ndcg@10": 0.4, "recall@10": 0.1, "gini@10": 0.5}),
        ("means", "rater", {"rmse": 0.9}),
        ("biased_mf", "rater", {"rmse": 0.8}),
    )
]  # fmt: skip


FAILED = {
    "model": "ials", "role": "ranker", "failed": "no memory", "fit_seconds": None, "score_seconds": None,
    "peak_memory_mib": None, "metrics": {},
}  # fmt: skip


@pytest.fixture
def told(monkeypatch, capsys):
    """told(width, records) -> the lines on standard output; width None: it is no terminal."""

    def tell(width, records=RECORDS):
        monkeypatch.setattr(terminal, "width", lambda: width)
        compare._show(Comparison("key", Path("file"), COUNTS, tuple(records)), 10)
        return capsys.readouterr().out.splitlines()

    return tell


def heads(line):
    return [cell.strip() for cell in line.strip("┃").split("┃")]


def test_a_wide_terminal_shows_all_that_was_measured(told):
    title, _, head, *rows = told(120)
    assert title.strip() == "Models on one split: 1,000 ratings, 200 of them held out"
    assert heads(head) == ["model", "as", "ndcg@10", "recall@10", "gini@10", "rmse", "fit s", "score s", "MiB"]
    assert "not shown" not in rows[-1]


@pytest.mark.parametrize(
    ("width", "shown"),
    [(80, ["ndcg@10", "recall@10", "rmse", "fit s", "score s", "MiB"]), (52, ["ndcg@10", "rmse", "fit s"])],
)
def test_a_narrow_one_shows_what_is_wanted_most(told, width, shown):
    lines = told(width)
    assert heads(next(line for line in lines if " model " in line)) == ["model", "as", *shown]
    assert max(map(len, lines)) <= width
    assert "not shown: gini@10" in lines[-1 if width == 80 else -2]


def test_elsewhere_a_model_is_a_line_without_a_frame(told):
    _, head, *rows = told(None)
    assert head.split("  ")[0] == "model"
    assert "gini@10" in head
    assert rows[1].split() == ["edlae", "ranker", "0.4000", "0.1000", "0.5000", "1.0", "2.0", "300"]
    assert len(rows) == 4
    assert not set("┃│━─") & set("".join(rows))


def test_who_failed_is_told_beside_the_others(told):
    *_, last = told(None, [*RECORDS, FAILED])
    assert last == "ials       ranker, failed"


@pytest.mark.parametrize(
    ("column", "values", "best"),
    [
        ("ndcg@{k}", [0.2, 0.4, None], "0.4000"),
        ("gini@{k}", [0.9, None, 0.5], "0.5000"),
        ("rmse", [0.9, 0.8], "0.8000"),
    ],
)
def test_the_best_of_each_column_is_marked(column, values, best):
    assert [cell.plain for cell in compare._cells(column, values) if cell.style] == [best]


def test_no_model_is_marked():
    assert compare._role(RECORDS[0]) == Text("ranker")
