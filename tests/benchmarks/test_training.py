"""What the comparison of trainers says of what it measured."""

import numpy as np
import pytest

from benchmarks.measured import Clock
from benchmarks.training import TARGET, figures, lines, look, random_ratings, sampled


def row(trainer, seconds, there, rmse=0.84, data="ml-1m"):
    return {
        "data": data, "trainer": trainer, "seconds_an_epoch": seconds, "seconds_to_target": there, "rmse": rmse,
        "epochs": 3, "peak_mib": 1_000,
    }  # fmt: skip


def test_lines_tell_the_ratios():
    told = lines([row("compiled", 0.1, 2.0), row("keras epochs", 2.0, 30.0), row("keras fit", 25.0, None, 0.9)])
    assert told[0].startswith("ml-1m, compiled: 0.100 s an epoch (1.0 times ours), RMSE 0.8400 after 3 epochs")
    assert "(20.0 times ours)" in told[1]
    assert f"{TARGET} after 30.0 s (15.0 times ours)" in told[1]
    assert f"{TARGET} not reached, peak 1,000 MiB" in told[2]


def test_lines_without_a_held_out_part():
    assert lines([row("compiled", 1.0, None, None, "ml-25m shape")]) == [
        "ml-25m shape, compiled: 1.000 s an epoch (1.0 times ours), peak 1,000 MiB"
    ]


def test_an_epoch_is_the_median_without_the_first_of_the_share_that_was_trained():
    curve = [{"seconds": at, "rmse": rmse} for at, rmse in ((9.0, 0.9), (10.0, 0.85), (11.0, TARGET), (19.0, 0.8))]
    found = figures(curve, 0.5)
    assert (found["seconds_an_epoch"], found["seconds_to_target"]) == (2.0, 11.0)
    assert (found["rmse"], found["epochs"]) == (0.8, 4)


def test_what_looking_takes_is_left_out():
    curve, clock = [], Clock()
    look(curve, clock, lambda: 4.0)
    look(curve, clock, None)
    assert curve[0]["rmse"] == 2.0
    assert "rmse" not in curve[1]


def test_random_ratings_have_the_shape_and_nearly_the_number():
    matrix = random_ratings((300, 200), 6_000)
    assert matrix.shape == (300, 200)
    assert matrix.nnz == pytest.approx(6_000, rel=0.06)
    assert set(np.unique(matrix.data)) <= set(np.arange(1, 11) / 2)
    counts = np.sort(np.bincount(matrix.indices, minlength=200))
    assert counts[-20:].sum() > 2 * counts[:20].sum()


def test_a_sample_is_drawn_where_nothing_is_held_out(monkeypatch):
    monkeypatch.setattr("benchmarks.training.SAMPLE", 600)
    pairs, share = sampled(random_ratings((300, 200), 6_000), None)
    assert len(pairs) == 600
    assert share == pytest.approx(0.1, rel=0.1)
