"""The table of a comparison on terminals of several widths."""

import pytest

from deployments.cli import compare

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


@pytest.fixture
def drawn(monkeypatch):
    """(width) -> the titles of the columns drawn, and the cells by title."""

    def draw(width):
        found = {}
        monkeypatch.setattr(compare, "width", lambda: width)
        monkeypatch.setattr(compare.typer, "echo", lambda line: None)
        monkeypatch.setattr(
            compare, "table", lambda _, heads, rows: found.update(zip(heads, zip(*rows, strict=True), strict=True))
        )
        compare._show(RECORDS, 10)
        assert sum(max(len(head), *(cell.cell_len for cell in cells)) + 3 for head, cells in found.items()) < width
        return found

    return draw


def test_a_wide_terminal_shows_all_that_was_measured(drawn):
    heads = ["model", "as", "ndcg@10", "recall@10", "gini@10", "rmse", "fit s", "score s", "MiB"]
    assert list(drawn(120)) == heads


def test_a_narrow_one_shows_what_is_wanted_most(drawn):
    assert list(drawn(52)) == ["model", "as", "ndcg@10", "rmse", "fit s"]


def test_the_best_of_each_column_is_marked(drawn):
    best = {head: [cell.plain for cell in cells if cell.style] for head, cells in drawn(120).items()}
    assert best["ndcg@10"] == ["0.4000"]
    assert best["recall@10"] == ["0.3000"]
    assert best["gini@10"] == ["0.5000"]
    assert best["rmse"] == ["0.8000"]
    assert best["model"] == []
