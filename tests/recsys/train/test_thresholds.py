"""Ordered levels: probabilities, thresholds and expectations, beside SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm

from recsys.train.thresholds import (
    MIDDLES,
    N_BINS,
    _log_posterior,
    _mode,
    _slope,
    count_scores,
    draw_thresholds,
    expected_level,
    first_thresholds,
)

START = np.array([-1.0, 0.2, 0.9])


def counts_of(score, level, n_levels):
    counts = np.zeros((n_levels, N_BINS))
    count_scores(np.asarray(score, float), np.asarray(level, np.int8), counts)
    return counts


@pytest.fixture(scope="module")
def counts():
    """3,000 ratings of four levels, cut at -1.3, 0 and 1.1."""
    rng = np.random.default_rng(4)
    score = rng.normal(0, 0.8, 3_000)
    return counts_of(score, np.searchsorted([-1.3, 0.0, 1.1], score + rng.normal(size=3_000)), 4)


def test_first_thresholds_give_the_levels_shares():
    level = np.repeat(np.arange(3, dtype=np.int8), [20, 50, 30])
    below = norm.cdf(first_thresholds(level, 3), scale=1.3)
    assert_allclose(below, [0.2, 0.7])


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.floats(-20, 20), st.integers(0, 2)), max_size=30))
def test_every_rating_is_counted_once_in_its_level_and_bin(ratings):
    counts = counts_of([score for score, _ in ratings], [level for _, level in ratings], 3)
    assert_array_equal(counts.sum(axis=1), np.bincount([level for _, level in ratings], minlength=3))
    for score, level in ratings:
        nearest = np.argmin(np.abs(MIDDLES - score))
        assert counts[level, max(nearest - 1, 0) : nearest + 2].sum() > 0


def test_the_slope_is_the_derivative_of_the_log_posterior(counts):
    at = np.array([-1.1, 0.1, 1.3])
    numeric = approx_fprime(at, lambda cuts: _log_posterior(cuts, START, counts), 1e-6)
    assert_allclose(_slope(at, START, counts)[0], numeric, rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("first", [[-1.0, 0.2, 0.9], [-2.5, -2.4, 2.5], [3.0, 3.1, 3.2]])
def test_the_mode_is_found_from_anywhere(counts, first):
    mode, information = _mode(np.array(first), START, counts)
    assert_allclose(_slope(mode, START, counts)[0], 0, atol=1e-2)
    assert_allclose(mode, [-1.3, 0.0, 1.1], atol=0.1)
    assert (np.linalg.eigvalsh(information) > 0).all()


def test_draws_have_the_mean_and_spread_of_the_posterior():
    counts = counts_of([-1.0, 0.5, 0.3, 1.0, -0.4], [0, 1, 0, 1, 1], 2)
    grid = np.linspace(-6, 6, 4_001)
    weight = np.exp([_log_posterior(np.array([cut]), np.zeros(1), counts) for cut in grid])
    weight /= weight.sum()
    rng, cut, drawn = np.random.default_rng(0), np.zeros(1), []
    for _ in range(2_000):
        cut = draw_thresholds(cut, np.zeros(1), counts, rng)
        drawn.append(cut[0])
    mean = weight @ grid
    assert_allclose(np.mean(drawn), mean, atol=0.07)
    assert_allclose(np.std(drawn), np.sqrt(weight @ (grid - mean) ** 2), rtol=0.1)


def test_thresholds_stay_in_order_and_a_single_level_has_none(counts):
    rng, cuts = np.random.default_rng(1), START
    for _ in range(5):
        cuts = draw_thresholds(cuts, START, counts, rng)
        assert (np.diff(cuts) > 0).all()
    assert draw_thresholds(np.empty(0), np.empty(0), np.zeros((1, N_BINS)), rng).shape == (0,)


@pytest.mark.parametrize(("score", "variance"), [(0.3, 0.0), (-2.0, 0.4), (5.0, 1.0)])
def test_the_expected_level_is_the_integral_over_the_score(score, variance):
    thresholds, values = np.array([-1.0, 0.5]), np.array([1.0, 2.0, 4.0])

    def at(latent):
        share = np.diff(norm.cdf(np.array([-np.inf, *thresholds, np.inf]) - latent))
        return values @ share

    spread = np.sqrt(variance)
    integral = at(score)
    if variance:
        integral = quad(lambda x: at(x) * norm.pdf(x, score, spread), score - 9 * spread, score + 9 * spread)[0]
    assert_allclose(expected_level(np.array([score]), thresholds, values, variance), [integral], rtol=1e-6)
