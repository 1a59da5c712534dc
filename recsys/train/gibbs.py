"""Samples from the posterior of a matrix factorisation, a row at a time (Gibbs sampling), in compiled threads.

    score(u, i) = p[u] . q[i] + a[u] + b[i]
    (p[u], a[u]) ~ Normal(m + G^T x[u], L^-1)     x[u] the features of user u, G and L and m drawn too; items likewise

The rating is the score and normal noise, or the level that the score and normal noise of variance 1 fall into.

Sources: R. Salakhutdinov and A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo",
ICML 2008 (rows, normal-Wishart); J. Simm et al., "Macau: scalable Bayesian factorization with high-dimensional side
information using MCMC", MLSP 2017 (features in the mean of the prior); S. Rendle, L. Zhang and Y. Koren, "On the
difficulty of evaluating baselines", arXiv 1905.01395 (Bayesian SVD++ flipped: the features are who rated what).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import over_ranges
from recsys.train.gibbs_rows import draw_rows, score_rows
from recsys.train.rated_features import RatedFeatures
from recsys.train.thresholds import N_BINS, closed, count_scores, draw_thresholds, first_thresholds

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

FIRST_SCALE = 0.1  # standard deviation of the first factors
# Weak priors, each worth about as much as one row.
MEAN_WEIGHT = 1.0
PRIOR_VARIANCE = 0.1  # of a row's entries, in units of the noise's; 0.01 is no better on a validation slice of ml-100k


@dataclass(frozen=True, eq=False)
class Ratings:
    """The ratings by user, and the same by item.

    Attributes:
        by_user: (n_users, n_columns) CSR, values or levels (from 0) as float64.
        by_item: (n_columns, n_users) CSR, the transposed one.
        n_levels: of levels; 0: the entries are values, of mean 0 and variance 1.
    """

    by_user: csr_matrix
    by_item: csr_matrix
    n_levels: int


@dataclass(frozen=True, eq=False)
class Prior:
    """What is believed of one side's rows.

    Attributes:
        mean: (size,), m.     precision: (size, size), L.
        weights: (n_features, size), G in the units of the decomposed features.
        ridge: G's entries have precision `ridge` times L.
    """

    mean: Vector
    precision: Matrix
    weights: Matrix
    ridge: float

    def centres(self, features: RatedFeatures) -> Matrix:
        """(n, size) each row's prior mean."""
        return self.mean + features.vectors @ (features.values[:, None] * self.weights)


@dataclass(frozen=True, eq=False)
class Sample:
    """One state of the chain.

    Attributes:
        users: (n_users, size + 1), items: (n_columns, size + 1); the bias stands last.
        noise_precision: of the ratings; 1 for levels.
        thresholds: (n_levels - 1,), empty for values.
        scores: (n_ratings,) of the given ratings, by user.
        levels: whether the ratings are levels.
    """

    users: Matrix
    items: Matrix
    noise_precision: float
    thresholds: Vector
    scores: Vector
    levels: bool


def chain(
    ratings: Ratings, features: tuple[RatedFeatures, RatedFeatures], size: int, seed: int, threads: int
) -> Iterator[Sample]:
    """The endless chain. Its arrays are overwritten by the next sample. Equal for any number of threads.

    Call within `one_blas_thread`.
    """
    rng = np.random.default_rng(seed)
    users, items = (_first_rows(len(side.vectors), size + 1, rng) for side in features)
    user_prior, item_prior = (_first_prior(side, size + 1) for side in features)
    given, n_levels = ratings.by_user.data, ratings.n_levels
    level = given.astype(np.int8) if n_levels else np.empty(0, np.int8)
    start = first_thresholds(level, n_levels) if n_levels else np.empty(0)
    sample = Sample(users, items, 1.0, start, np.empty(len(given)), n_levels > 0)
    while True:
        user_prior = _draw_side(ratings.by_user, users, items, features[0], user_prior, sample, rng, threads)
        item_prior = _draw_side(ratings.by_item, items, users, features[1], item_prior, sample, rng, threads)
        _score_all(ratings.by_user, users, items, sample.scores, threads)
        if n_levels:
            counts = np.zeros((n_levels, N_BINS))
            count_scores(sample.scores, level, counts)
            sample = replace(sample, thresholds=draw_thresholds(sample.thresholds, start, counts, rng))
        else:
            error = float(np.sum((given - sample.scores) ** 2))
            sample = replace(sample, noise_precision=rng.gamma(1 + len(given) / 2) / (1 + error / 2))
        yield sample


def draw_prior(rows: Matrix, features: RatedFeatures, before: Prior, rng: np.random.Generator) -> Prior:
    """Weights of the features given the rows, then their ridge, then mean and precision of what is left of the rows.

    The decomposed features do not touch each other, so each one's weights are drawn alone: with s the singular value,
    w the vector and R = rows - mean, they are Normal(s w^T R / (s^2 + ridge), L^-1 / (s^2 + ridge)).
    """
    n, size = rows.shape
    spread = features.values**2 + before.ridge
    centre = features.values[:, None] * (features.vectors.T @ (rows - before.mean)) / spread[:, None]
    weights = centre + normal(len(spread), before.precision, rng) / np.sqrt(spread)[:, None]
    square = float(np.einsum("td,de,te->", weights, before.precision, weights))
    ridge = rng.gamma(1 + weights.size / 2) / (1 + square / 2)
    rest = rows - features.vectors @ (features.values[:, None] * weights)
    own = rest.mean(axis=0)
    scatter = (
        PRIOR_VARIANCE * (size + 1) * np.eye(size)
        + (rest - own).T @ (rest - own)
        + MEAN_WEIGHT * n / (MEAN_WEIGHT + n) * np.outer(own, own)
        + ridge * weights.T @ weights
    )
    precision = wishart(scatter, size + 1 + n + len(weights), rng)
    mean = n * own / (MEAN_WEIGHT + n) + normal(1, precision, rng)[0] / np.sqrt(MEAN_WEIGHT + n)
    return Prior(mean, precision, weights, ridge)


def normal(n: int, precision: Matrix, rng: np.random.Generator) -> Matrix:
    """(n, size) rows of Normal(0, precision^-1)."""
    return np.linalg.solve(np.linalg.cholesky(precision).T, rng.standard_normal((len(precision), n))).T


def wishart(scatter: Matrix, freedom: float, rng: np.random.Generator) -> Matrix:
    """(size, size) Wishart(scatter^-1, freedom), by Bartlett's decomposition."""
    size = len(scatter)
    lower = np.tril(rng.standard_normal((size, size)), -1)
    lower[np.diag_indices(size)] = np.sqrt(rng.chisquare(freedom - np.arange(size)))
    root = np.linalg.solve(np.linalg.cholesky(scatter).T, lower)
    return root @ root.T


def _first_rows(n: int, size: int, rng: np.random.Generator) -> Matrix:
    rows = FIRST_SCALE * rng.standard_normal((n, size))
    rows[:, -1] = 0.0
    return rows


def _first_prior(features: RatedFeatures, size: int) -> Prior:
    return Prior(np.zeros(size), np.eye(size) / PRIOR_VARIANCE, np.zeros((len(features.values), size)), 1.0)


def _draw_side(
    given: csr_matrix,
    rows: Matrix,
    others: Matrix,
    features: RatedFeatures,
    prior: Prior,
    sample: Sample,
    rng: np.random.Generator,
    threads: int,
) -> Prior:
    """Draw the prior, and overwrite `rows`. All random numbers are drawn before the threads share the work."""
    prior = draw_prior(rows, features, prior, rng)
    centres, noise = prior.centres(features), rng.standard_normal(rows.shape)
    cuts = closed(sample.thresholds) if sample.levels else np.empty(0)
    chance = rng.random(given.nnz) if sample.levels else np.empty(0)

    def work(start: int, stop: int) -> None:
        draw_rows(
            start, stop, given.indptr, given.indices, given.data, rows, others, centres, prior.precision,
            sample.noise_precision, cuts, chance, noise,
        )  # fmt: skip

    over_ranges(work, len(rows), threads)
    return prior


def _score_all(given: csr_matrix, users: Matrix, items: Matrix, scores: Vector, threads: int) -> None:
    over_ranges(
        lambda start, stop: score_rows(start, stop, given.indptr, given.indices, users, items, scores),
        len(users),
        threads,
    )
