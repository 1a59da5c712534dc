"""The sampler: each conditional beside a dense solve or SciPy, and the whole chain on planted factors."""

from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from scipy.stats import norm, truncnorm

from recsys.compute import one_blas_thread
from recsys.train import gibbs
from recsys.train.gibbs import Prior, Ratings, chain, draw_prior, normal, wishart
from recsys.train.gibbs_rows import below, between, draw_rows, quantile, score_rows
from recsys.train.rated_features import rated_features

PRECISION = np.array([[2.0, 0.5, 0.1], [0.5, 1.5, -0.2], [0.1, -0.2, 1.0]])


def sparse_ratings(n_users=30, n_items=20, share=0.4, seed=2):
    rng = np.random.default_rng(seed)
    mask = rng.random((n_users, n_items)) < share
    mask[np.arange(n_users), np.arange(n_users) % n_items] = True
    return csr_matrix(np.where(mask, rng.normal(0, 1, mask.shape), 0.0))


def both(by_user, n_levels=0):
    return Ratings(by_user, by_user.T.tocsr(), n_levels)


def features_of(by_user, size=8):
    return rated_features(csr_matrix((np.ones(by_user.nnz), by_user.indices, by_user.indptr), by_user.shape), size, 1)


def test_normal_distribution_beside_scipy():
    for p in [1e-200, 1e-12, 1e-3, 0.02, 0.3, 0.5]:
        assert_allclose(quantile(p), norm.ppf(p), atol=1e-6, rtol=1e-6)
        assert_allclose(below(norm.ppf(p)), p, rtol=1e-9)


@pytest.mark.parametrize(
    ("score", "low", "high"),
    [(0.0, -1.0, 1.0), (0.4, -np.inf, 0.1), (0.4, 0.9, np.inf), (-3.0, 2.0, 3.0), (9.0, -2.0, -1.0), (0.3, 0.29, 5.0)],
)
def test_a_score_is_drawn_between_its_cuts(score, low, high):
    for chance in [0.0, 1e-6, 0.2, 0.5, 0.9, 0.999999]:
        drawn = between(score, low, high, chance)
        assert low <= drawn <= high
        if 0 < chance < 1:
            # a draw from the upper half is mirrored: its chance counts from above
            mirrored = low + high - 2 * score > 0
            expected = truncnorm.ppf(1 - chance if mirrored else chance, low - score, high - score, loc=score)
            assert_allclose(drawn, expected, atol=2e-6)


@pytest.mark.parametrize("far", [60.0, -60.0, 300.0])
def test_a_score_far_outside_its_cuts_is_put_at_the_nearest_one(far):
    assert_allclose(between(far, -1.0, 1.0, 0.5), np.sign(far), atol=0.05)


def test_a_level_without_cuts_is_any_score():
    assert_allclose(between(0.7, -np.inf, np.inf, 0.5), 0.7, atol=1e-6)


def drawn_rows(given, others, centres, noise, noise_precision=1.7):
    rows = np.zeros((given.shape[0], 3))
    draw_rows(
        0, len(rows), given.indptr, given.indices, given.data, rows, others, centres, PRECISION, noise_precision,
        np.empty(0), np.empty(0), noise,
    )  # fmt: skip
    return rows


def test_rows_are_drawn_from_their_conditional_distribution():
    given, rng = sparse_ratings(), np.random.default_rng(0)
    others, centres = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    mean = drawn_rows(given, others, centres, np.zeros((30, 3)))
    noise = rng.normal(size=(30, 3))
    draw = drawn_rows(given, others, centres, noise)
    for row in range(30):
        own = given[row]
        x = np.column_stack((others[own.indices, :2], np.ones(own.nnz)))
        a = PRECISION + 1.7 * x.T @ x
        b = PRECISION @ centres[row] + 1.7 * x.T @ (own.data - others[own.indices, 2])
        assert_allclose(mean[row], np.linalg.solve(a, b), rtol=1e-9)
        off = draw[row] - mean[row]
        assert_allclose(off @ a @ off, noise[row] @ noise[row], rtol=1e-9)


def test_a_row_without_ratings_is_drawn_from_the_prior():
    empty, centre = csr_matrix((1, 20)), np.array([[0.3, -1.0, 2.0]])
    assert_allclose(drawn_rows(empty, np.ones((20, 3)), centre, np.zeros((1, 3))), centre)


def test_scores_are_the_products_and_biases():
    given, rng = sparse_ratings(), np.random.default_rng(0)
    users, items, scores = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), np.empty(given.nnz)
    score_rows(0, 30, given.indptr, given.indices, users, items, scores)
    dense = users[:, :2] @ items[:, :2].T + users[:, 2:] + items[:, 2]
    assert_allclose(scores, dense[given.nonzero()])


def test_a_prior_is_drawn_around_a_ridge_solve_and_the_rest(monkeypatch):
    rng = np.random.default_rng(1)
    users, _ = features_of(sparse_ratings(), size=20)
    rows, before = rng.normal(size=(30, 3)), Prior(np.array([0.1, 0.2, 0.3]), PRECISION, np.zeros((20, 3)), 0.7)
    asked = []
    # A single row of noise, which is the mean's, is 1; the noise of the weights is 0.
    monkeypatch.setattr(gibbs, "normal", lambda n, precision, rng: np.full((n, 3), float(n == 1)))
    monkeypatch.setattr(gibbs, "wishart", lambda scatter, freedom, rng: asked.append((scatter, freedom)) or PRECISION)
    drawn = draw_prior(rows, users, before, rng)

    x = users.vectors * users.values
    weights = np.linalg.solve(x.T @ x + 0.7 * np.eye(20), x.T @ (rows - before.mean))
    assert_allclose(drawn.weights, weights, atol=1e-10)
    rest = rows - x @ weights
    mean = 30 / 31 * rest.mean(axis=0)
    scatter = 0.4 * np.eye(3) + (rest - mean).T @ (rest - mean) + np.outer(mean, mean)
    scatter += drawn.ridge * weights.T @ weights
    assert_allclose(asked[0][0], scatter, atol=1e-9)
    assert asked[0][1] == 4 + 30 + 20
    assert_allclose(drawn.mean, mean + 1 / np.sqrt(31), atol=1e-10)
    assert_allclose(drawn.centres(users), drawn.mean + x @ weights, atol=1e-10)


def test_a_prior_is_learned_from_many_rows():
    rng = np.random.default_rng(6)
    by_user = sparse_ratings(2_000, 20)
    users, _ = features_of(by_user, size=4)
    rows = np.array([1.0, -2.0, 0.5]) + normal(2_000, PRECISION, rng)
    prior = Prior(np.zeros(3), np.eye(3), np.zeros((4, 3)), 1.0)
    drawn = []
    for _ in range(60):
        prior = draw_prior(rows, users, prior, rng)
        drawn.append(prior)
    kept = drawn[20:]
    assert_allclose(np.mean([each.precision for each in kept], axis=0), PRECISION, atol=0.15)
    centres = np.mean([each.centres(users).mean(axis=0) for each in kept], axis=0)
    assert_allclose(centres, rows.mean(axis=0), atol=0.05)


def test_normal_and_wishart_have_their_moments():
    rng = np.random.default_rng(3)
    assert_allclose(np.cov(normal(40_000, PRECISION, rng).T), np.linalg.inv(PRECISION), atol=0.03)
    mean = np.mean([wishart(PRECISION, 7.0, rng) for _ in range(4_000)], axis=0)
    assert_allclose(mean, 7 * np.linalg.inv(PRECISION), rtol=0.05, atol=0.2)


def samples(ratings, features, n, threads=1):
    """The scores and thresholds of the first n states."""
    with one_blas_thread():
        return [
            (sample.scores.copy(), sample.thresholds.copy(), sample.noise_precision)
            for sample in islice(chain(ratings, features, 2, 9, threads), n)
        ]


def planted(levels):
    """Scores of rank 1 with biases for 60% of 150 x 60 pairs, and noise of variance 1 for levels, 0.25 for values."""
    rng = np.random.default_rng(8)
    score = rng.normal(0, 1, (150, 1)) * rng.normal(0, 1, (1, 60)) + rng.normal(0, 0.5, (150, 1))
    given = score + rng.normal(0, 1.0 if levels else 0.5, score.shape)
    if levels:
        given = np.searchsorted([-1.0, 0.0, 1.5], given).astype(float)
    mask = rng.random(score.shape) < 0.6
    indptr = np.concatenate(([0], np.cumsum(mask.sum(axis=1))))
    by_user = csr_matrix((given[mask], np.nonzero(mask)[1].astype(np.int32), indptr), shape=mask.shape)
    return both(by_user, 4 if levels else 0), score[mask]


def test_planted_numbers_and_their_noise_are_found():
    ratings, score = planted(levels=False)
    kept = samples(ratings, features_of(ratings.by_user), 60)[20:]
    mean = np.mean([scores for scores, *_ in kept], axis=0)
    assert np.sqrt(np.mean((mean - score) ** 2)) < 0.2
    assert_allclose(np.mean([precision for *_, precision in kept]), 4.0, rtol=0.1)


def test_planted_levels_and_their_thresholds_are_found():
    ratings, score = planted(levels=True)
    kept = samples(ratings, features_of(ratings.by_user), 80)[30:]
    mean = np.mean([scores for scores, *_ in kept], axis=0)
    assert np.corrcoef(mean, score)[0, 1] > 0.93
    assert_allclose(np.diff(np.mean([cuts for _, cuts, _ in kept], axis=0)), [1.0, 1.5], rtol=0.15)


@pytest.mark.parametrize("levels", [False, True])
def test_any_number_of_threads_gives_equal_bytes(levels):
    ratings, _ = planted(levels)
    features = features_of(ratings.by_user)
    for one, other in zip(samples(ratings, features, 3), samples(ratings, features, 3, threads=3), strict=True):
        assert_array_equal(one[0], other[0])
        assert_array_equal(one[1], other[1])
        assert one[2] == other[2]
