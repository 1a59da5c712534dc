"""The posterior mean of a Bayesian matrix factorisation, from the samples of its chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.prepare.means import rows_of
from recsys.progress import track
from recsys.score.products import pair_products
from recsys.train.gibbs import Ratings, Sample, chain
from recsys.train.mean_product import MeanProduct
from recsys.train.rated_features import rated_features
from recsys.train.thresholds import expected_level

if TYPE_CHECKING:
    from recsys.models.bayesian_mf import BayesianMFSettings

Vector = NDArray[np.float64]

N_PAIRS = 100_000  # on which the variance of a score is measured; its mean is then known to 1%


@dataclass(frozen=True, eq=False)
class Scale:
    """From scores to ratings.

    Attributes:
        thresholds: (n_levels - 1,) between the levels, in units of the noise; empty for numbers.
        values: (n_levels,) the ratings that are the levels, ascending; empty for numbers.
        variance: of a score about its posterior mean, averaged over pairs.
        noise: variance of a rating's score about its own; 1 for levels.
        centre, unit: a number is centre + unit * score.
    """

    thresholds: Vector
    values: Vector
    variance: float
    noise: float
    centre: float
    unit: float

    def rating(self, score: Vector) -> Vector:
        """(n,) the mean rating at each score."""
        if len(self.values):
            return expected_level(score, self.thresholds, self.values, self.variance)
        return self.centre + self.unit * score

    def level(self, rating: NDArray) -> NDArray[np.int64]:
        """(n,) the nearest level of each rating."""
        return np.searchsorted((self.values[1:] + self.values[:-1]) / 2, rating)


@dataclass(frozen=True, eq=False)
class Posterior:
    """score(u, i) = user_bias[u] + item_bias[i] + user_factors[u] . item_factors[i]

    Attributes:
        user_bias: (n_users,) float32.     item_bias: (n_columns,) float32.
        user_factors: (n_users, rank) float32.     item_factors: (n_columns, rank) float32.
        scale: from scores to ratings.
    """

    user_bias: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    scale: Scale

    def rating(self, user: NDArray[np.int32], column: NDArray[np.int32]) -> Vector:
        """(n,) predicted ratings of the pairs."""
        product = pair_products(self.user_factors, self.item_factors, user, column)
        return self.scale.rating(product + self.user_bias[user] + self.item_bias[column])

    def spread_over(self, users: NDArray[np.bool_], columns: NDArray[np.bool_]) -> Posterior:
        """With rows of 0 where the masks are False."""
        return Posterior(
            _spread(self.user_bias, users),
            _spread(self.item_bias, columns),
            _spread(self.user_factors, users),
            _spread(self.item_factors, columns),
            self.scale,
        )


@dataclass
class Means:
    """Running sums over the samples.

    Attributes:
        product: of the factors.
        user, column: (n_pairs,) pairs on which the variance of scores is measured.
    """

    product: MeanProduct
    user: NDArray[np.int64]
    column: NDArray[np.int32]
    n: int = 0
    sums: dict[str, NDArray] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Take a sample in."""
        users, items = sample.users, sample.items
        score = users[self.user, -1] + items[self.column, -1]
        score += np.einsum("nk,nk->n", users[self.user, :-1], items[self.column, :-1])
        figures = {
            "user_bias": users[:, -1],
            "item_bias": items[:, -1],
            "thresholds": sample.thresholds,
            "noise": np.asarray(1.0 / sample.noise_precision),
            "score": score,
            "square": score**2,
        }
        self.sums = {name: self.sums.get(name, 0.0) + figure for name, figure in figures.items()}
        self.product.add(users[:, :-1], items[:, :-1])
        self.n += 1

    def posterior(self, values: Vector, centre: float, unit: float) -> Posterior:
        """The mean of what was taken in."""
        mean = {name: total / self.n for name, total in self.sums.items()}
        variance = float(np.mean(mean["square"] - mean["score"] ** 2))
        scale = Scale(mean["thresholds"], values, variance, float(mean["noise"]), centre, unit)
        user, item = self.product.factors()
        return Posterior(
            mean["user_bias"].astype(np.float32),
            mean["item_bias"].astype(np.float32),
            user.astype(np.float32),
            item.astype(np.float32),
            scale,
        )


def posterior_mean(given: csr_matrix, settings: BayesianMFSettings, seed: int, threads: int) -> Posterior:
    """Run the chain. Call within `one_blas_thread`.

    Args:
        given: (n_users, n_columns) CSR of ratings without an empty row or column.
    """
    values = np.unique(given.data).astype(np.float64)
    binary = csr_matrix((np.ones(given.nnz), given.indices, given.indptr), shape=given.shape)
    features = rated_features(binary, settings.features, threads)
    means = Means(MeanProduct(settings.rank), *_pairs(given, seed))
    if len(values) <= settings.max_levels:
        ratings, centre, unit = _ratings(given, np.searchsorted(values, given.data), len(values)), 0.0, 1.0
    else:
        number = given.data.astype(np.float64)
        values, centre, unit = np.empty(0), float(number.mean()), float(number.std())
        ratings = _ratings(given, (number - centre) / unit, 0)
    samples = chain(ratings, features, settings.embedding_size, seed, threads)
    with track("train bayesian_mf", settings.sweeps, "sweeps") as bar:
        for place, sample in enumerate(islice(samples, settings.sweeps)):
            if place >= settings.burn_in:
                means.add(sample)
            bar.advance(1)
    return means.posterior(values, centre, unit)


def _ratings(given: csr_matrix, data: NDArray, n_levels: int) -> Ratings:
    by_user = csr_matrix((data.astype(np.float64), given.indices, given.indptr), shape=given.shape)
    return Ratings(by_user, by_user.T.tocsr(), n_levels)


def _pairs(given: csr_matrix, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Users and columns as often as they stand in the ratings, but paired anew: as pairs to be predicted are."""
    rng = np.random.default_rng(seed)
    n = min(given.nnz, N_PAIRS)
    return rows_of(given)[rng.permutation(given.nnz)[:n]], given.indices[rng.permutation(given.nnz)[:n]]


def _spread(rows: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    whole = np.zeros((len(mask), *rows.shape[1:]), dtype=np.float32)
    whole[mask] = rows
    return whole
