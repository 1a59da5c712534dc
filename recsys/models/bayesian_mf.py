"""The most exact rater: Bayesian matrix factorisation that leans on who rated what. No TensorFlow in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import MIB, check_budget, one_blas_thread, thread_count
from recsys.config import ComputeConfig, Section
from recsys.errors import UsageError
from recsys.models.base import Embeddings, FitContext, Rater, load_arrays, predicted_pairs, save_arrays
from recsys.prepare.training_set import TrainingSet
from recsys.train.fold_in import fold_in
from recsys.train.posterior import Posterior, Scale, posterior_mean


class BayesianMFSettings(Section):
    """Settings; the defaults were found on validation slices of the training part of ml-1m."""

    embedding_size: int = Field(
        0, ge=0, description="factors of a user and an item in a sample; 0: a third of the ratings a row, 4 to 32"
    )
    sweeps: int = Field(140, ge=2, description="samples drawn; the error of the mean falls with their number")
    burn_in: int = Field(20, ge=1, description="first samples left out: the chain has not settled yet")
    features: int = Field(512, ge=1, description="features of who rated what; fewer are quicker, more are noise")
    rank: int = Field(128, ge=1, description="of the product that keeps the mean of all samples")
    max_levels: int = Field(
        20, ge=0, le=100, description="ratings of at most that many different values are ordered levels, not numbers"
    )


@dataclass(frozen=True, eq=False)
class BayesianMF(Rater):
    """predicted rating = the mean rating at the score user bias + item bias + user factors . item factors

    Bayesian SVD++ flipped (Rendle, Zhang and Koren 2019, arXiv 1905.01395) with ordered levels, see
    `recsys.train.gibbs` and `recsys.train.thresholds`; the factors are those of the posterior mean.

    Attributes:
        items: (n_columns,) int32.
        learned: (n_users,) bool, users with a rating in training.
        column_of: (n_items,) int32, -1 for items without a rating in training.
        posterior: scores, over all users and columns; rows that were not learned are 0.
    """

    name: ClassVar[str] = "bayesian_mf"
    summary: ClassVar[str] = (
        "Bayesian SVD++ flipped with ordered rating levels, Gibbs sampling in compiled threads; the lowest error"
    )
    settings: ClassVar[type[Section]] = BayesianMFSettings

    items: NDArray[np.int32]
    learned: NDArray[np.bool_]
    column_of: NDArray[np.int32]
    posterior: Posterior

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: BayesianMFSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the samples and keep their mean. Nothing is held back, and nothing found out for a later fit.

        Raises:
            UsageError: the arrays do not fit the memory budget, or all samples are left out.
        """
        if settings.burn_in >= settings.sweeps:
            raise UsageError(
                "No sample would be kept.",
                expected="models.bayesian_mf.burn_in below models.bayesian_mf.sweeps",
                found=f"burn_in {settings.burn_in}, sweeps {settings.sweeps}",
                todo="lower the one or raise the other",
            )
        ratings = training_set.learned
        settings = settings.model_copy(update={"embedding_size": settings.embedding_size or size_for(ratings)})
        check_memory(ratings, settings, context.compute)
        users, columns = np.diff(ratings.indptr) > 0, training_set.learned_columns
        with one_blas_thread():
            posterior = posterior_mean(
                _without_empty(ratings, users, columns), settings, context.seed, thread_count(context.compute)
            )
        return cls(training_set.items, users, training_set.learned_column_of, posterior.spread_over(users, columns))

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        return predicted_pairs(self.posterior.rating, user_index, item_index, self.learned, self.column_of)

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) from a user row that is most probable given the people of the training and the own ratings."""
        known_item = np.zeros(len(self.items), dtype=bool)
        known_item[self.column_of[self.column_of >= 0]] = True
        with one_blas_thread():
            return fold_in(self.posterior, self.learned, known_item, ratings, columns)

    def embeddings(self) -> Embeddings:
        """The factors of the posterior mean, biases left out."""
        return Embeddings(
            self.posterior.user_factors, self.learned, self.posterior.item_factors, self.column_of[self.items] >= 0
        )

    def _save_state(self, folder: Path) -> dict[str, Any]:
        parts = vars(self.posterior).copy()
        scale: Scale = parts.pop("scale")
        save_arrays(
            folder, items=self.items, learned=self.learned, column_of=self.column_of,
            thresholds=scale.thresholds, values=scale.values, **parts,
        )  # fmt: skip
        return {"variance": scale.variance, "noise": scale.noise, "centre": scale.centre, "unit": scale.unit}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        arrays = load_arrays(folder)
        scale = Scale(
            arrays.pop("thresholds"), arrays.pop("values"),
            **{name: record[name] for name in ("variance", "noise", "centre", "unit")},
        )  # fmt: skip
        own = {name: arrays.pop(name) for name in ("items", "learned", "column_of")}
        return cls(**own, posterior=Posterior(**arrays, scale=scale))


def size_for(ratings: csr_matrix) -> int:
    """Factors for that many ratings: a third of the mean over users and items, 4 to 32.

    That is 10 for 80% of ml-100k and 31 for 90% of ml-1m. On validation slices of the training parts 8 and 16 beat 32
    on the former, and 32 beat 16 on the latter.
    """
    return int(np.clip(ratings.nnz / sum(ratings.shape) / 3, 4, 32))


def check_memory(ratings: csr_matrix, settings: BayesianMFSettings, compute: ComputeConfig) -> None:
    """Refuse what does not fit the budget, before anything is allocated.

    A row of either side holds, in float64: its features and two copies while they are found, the samples that wait
    to be averaged and two copies, its factors, their prior and noise. A rating is held twice, with a score, a chance
    and a place: 64 bytes.
    """
    numbers = (
        3 * (settings.features + 64) + 3 * (2 * settings.rank + settings.embedding_size) + 4 * settings.embedding_size
    )
    need = (8 * numbers * sum(ratings.shape) + 64 * ratings.nnz) / MIB
    check_budget(
        need,
        compute,
        "The Bayesian factorisation does not fit the memory budget.",
        found=f"{need:,.0f} MiB: {ratings.shape[0]:,} users, {ratings.shape[1]:,} items, {ratings.nnz:,} ratings",
        todo="raise compute.memory_mib, or lower models.bayesian_mf.features and rank",
    )


def _without_empty(ratings: csr_matrix, users: NDArray[np.bool_], columns: NDArray[np.bool_]) -> csr_matrix:
    """The same entries, a stored 0 too, in a matrix of the rows and columns named."""
    place = np.cumsum(columns, dtype=np.int32) - np.int32(1)
    indptr = np.concatenate((ratings.indptr[:1], ratings.indptr[1:][users]))
    return csr_matrix((ratings.data, place[ratings.indices], indptr), shape=(int(users.sum()), int(columns.sum())))
