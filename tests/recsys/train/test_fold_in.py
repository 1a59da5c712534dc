"""A new person's row, beside a dense Gaussian formula and SciPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import truncnorm

from recsys.train.fold_in import expected_score, new_row
from recsys.train.posterior import Scale

NUMBERS = Scale(np.empty(0), np.empty(0), variance=0.1, noise=0.5, centre=3.0, unit=2.0)
LEVELS = Scale(np.array([-1.0, 0.0, 1.2]), np.array([1.0, 2.0, 3.0, 5.0]), 0.1, noise=1.0, centre=0.0, unit=1.0)


@pytest.fixture
def known():
    """Factors and biases of 9 rated items, and the mean and covariance of a row of 4."""
    rng = np.random.default_rng(2)
    items, root = rng.normal(size=(9, 4)), rng.normal(size=(4, 3))  # a covariance that has no inverse
    return items, rng.normal(size=9).astype(np.float32), rng.normal(size=4), root @ root.T


def test_numbers_are_answered_by_the_gaussian_formula(known):
    items, bias, mean, covariance = known
    given = np.random.default_rng(3).uniform(1, 5, 9).astype(np.float32)
    spread = items @ covariance @ items.T + 0.5 * np.eye(9)
    expected = mean + covariance @ items.T @ np.linalg.solve(spread, (given - 3.0) / 2.0 - bias - items @ mean)
    assert_allclose(new_row(items, bias, given, NUMBERS, mean, covariance), expected, rtol=1e-6, atol=1e-6)


def test_levels_are_answered_by_the_row_that_explains_its_own_expected_scores(known):
    items, bias, mean, covariance = known
    given = np.float32([1, 2, 2, 5, 3, 3, 5, 1, 2])
    row = new_row(items, bias, given, LEVELS, mean, covariance)
    cuts, level = np.array([-np.inf, -1.0, 0.0, 1.2, np.inf]), LEVELS.level(given)
    scores = expected_score(items @ row + bias, cuts[level], cuts[level + 1])
    spread = items @ covariance @ items.T + np.eye(9)
    again = mean + covariance @ items.T @ np.linalg.solve(spread, scores - bias - items @ mean)
    assert_allclose(row, again, atol=0.01)


def test_one_level_says_nothing(known):
    items, bias, mean, covariance = known
    one = Scale(np.empty(0), np.array([4.0]), 0.0, 1.0, 0.0, 1.0)
    assert_allclose(new_row(items, bias, np.full(9, 4.0, np.float32), one, mean, covariance), mean)


def test_a_rating_between_levels_is_the_nearest_one():
    assert LEVELS.level(np.array([0.0, 1.4, 1.6, 3.9, 4.1, 9.0])).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize(("low", "high"), [(-np.inf, -1.0), (-1.0, 0.5), (0.5, np.inf), (7.0, 9.0), (-9.0, -8.0)])
def test_expected_scores_are_scipys(low, high):
    score = np.array([-2.0, 0.0, 0.3, 4.0])
    found = expected_score(score, np.full(4, low), np.full(4, high))
    assert_allclose(found, truncnorm.mean(low - score, high - score, loc=score), rtol=1e-5)


@pytest.mark.parametrize("far", [-90.0, 90.0])
def test_a_score_far_away_is_expected_at_the_nearest_cut(far):
    assert_allclose(expected_score(np.array([far]), np.array([-1.0]), np.array([1.0])), [np.sign(far)], atol=0.1)
