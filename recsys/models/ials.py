"""Implicit ALS: factors of users and items for which a rating, of whatever height, is a 1 and everything else a 0.

Sources: Y. Hu, Y. Koren and C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008 (the
alternating solutions, and that the zeros are summed through one Gram matrix); S. Rendle, W. Krichene, L. Zhang and
Y. Koren, "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022, arXiv 2110.14037 (the
unobserved weight and the regularisation that grows with how often a user or an item occurs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import MIB, check_budget, compiled, one_blas_thread, over_ranges, thread_count
from recsys.config import ComputeConfig, Section, Tunable
from recsys.models.base import Embeddings, FitContext, Histories, Ranker, TopN, load_arrays, save_arrays
from recsys.prepare.training_set import TrainingSet
from recsys.score.cosine import nearest_by_cosine
from recsys.score.engine import top_n
from recsys.score.formula import all_scores, product

Factors = NDArray[np.float64]


class IalsSettings(Section):
    """Settings of implicit ALS; the defaults were found on validation slices of MovieLens data."""

    embedding_size: Annotated[int, Tunable(8, 256, log=True)] = Field(
        64, ge=1, description="factors of a user and of an item"
    )
    iterations: int = Field(15, ge=1, description="times that users, then items are solved")
    unobserved_weight: Annotated[float, Tunable(0.02, 2, log=True)] = Field(
        0.2, gt=0, description="alpha0, what a pair without a rating weighs beside one"
    )
    reg: Annotated[float, Tunable(1e-3, 0.3, log=True)] = Field(
        0.012, gt=0, description="lambda, the ridge penalty before it is scaled"
    )
    reg_power: float = Field(
        1.0, ge=0, le=1, description="nu: a row's penalty is reg * (ratings + alpha0 * other side) ^ nu; 0: all alike"
    )
    init_scale: float = Field(0.1, gt=0, description="initial factors are normal, deviation init_scale / root of size")


@dataclass(frozen=True, eq=False)
class Ials(Ranker):
    """score(u, i) = p(u) . q(i), the solution by alternation of

        min  sum over ratings (p.q - 1)^2 + alpha0 sum over all pairs (p.q)^2
             + sum over users r(u) |p(u)|^2 + sum over items r(i) |q(i)|^2
        r(u) = reg (ratings of u + alpha0 n_columns)^nu,     r(i) = reg (ratings of i + alpha0 n_users)^nu

    A user's vector is always solved from the history that is scored (one exact half step), so that a person the model
    was not fitted on is served as one that it was.

    Attributes:
        items: (n_columns,) int32, the item_index of each column.
        item_factors: (n_columns, size) float32.
        user_factors: (n_users, size) float32, from the histories that were learned; only published, never scored with.
        users_learned: (n_users,) bool.     items_learned: (n_columns,) bool.
        unobserved_weight, reg, reg_power: the settings, that a half step needs.
    """

    name: ClassVar[str] = "ials"
    summary: ClassVar[str] = "implicit ALS: factors by alternating least squares, regularised by frequency; embeddings"
    settings: ClassVar[type[Section]] = IalsSettings

    items: NDArray[np.int32]
    item_factors: NDArray[np.float32]
    user_factors: NDArray[np.float32]
    users_learned: NDArray[np.bool_]
    items_learned: NDArray[np.bool_]
    unobserved_weight: float
    reg: float
    reg_power: float

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: IalsSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Alternate from small random factors; the items are solved last, and then the users once more.

        Raises:
            UsageError: the factors do not fit the memory budget; nothing was allocated yet.
        """
        rows, threads = training_set.binary, thread_count(context.compute)
        check_memory(rows.shape, settings.embedding_size, context.compute)
        half = _HalfStep(settings.unobserved_weight, settings.reg, settings.reg_power, threads)
        columns = csr_matrix(rows.T)
        n_learned = int(training_set.trained.sum())
        scale = settings.init_scale / np.sqrt(settings.embedding_size)
        shape = (rows.shape[1], settings.embedding_size)
        item_factors = np.random.default_rng(context.seed).normal(0.0, scale, shape)
        for _ in range(settings.iterations):
            user_factors = half.solve(rows, item_factors)
            item_factors = half.solve(columns, user_factors, others=n_learned)
        published = item_factors.astype(np.float32)
        return cls(
            items=training_set.items,
            item_factors=published,
            user_factors=half.solve(rows, published.astype(np.float64)).astype(np.float32),
            users_learned=training_set.trained & (np.diff(rows.indptr) > 0),
            items_learned=np.diff(columns.indptr) > 0,
            unobserved_weight=settings.unobserved_weight,
            reg=settings.reg,
            reg_power=settings.reg_power,
        )

    def user_vectors(self, ratings: csr_matrix, threads: int = 1) -> NDArray[np.float32]:
        """(n, size) the vectors of people with these histories, an empty one's is 0."""
        half = _HalfStep(self.unobserved_weight, self.reg, self.reg_power, threads)
        return half.solve(ratings, self.item_factors.astype(np.float64)).astype(np.float32)

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) float32."""
        return all_scores(product(self.user_vectors(histories.ratings), self.item_factors), threads=1)

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n best columns of each user."""
        threads = thread_count(compute)
        users = self.user_vectors(histories.ratings, threads)
        formula = product(users, self.item_factors)
        return TopN(*top_n(formula, histories.seen, n, threads, allowed=histories.allowed))

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The largest cosines of item vectors."""
        return TopN(*nearest_by_cosine(self.item_factors, self.items_learned, n, thread_count(compute)))

    def embeddings(self) -> Embeddings:
        """The factors."""
        return Embeddings(self.user_factors, self.users_learned, self.item_factors, self.items_learned)

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_arrays(
            folder,
            items=self.items,
            item_factors=self.item_factors,
            user_factors=self.user_factors,
            users_learned=self.users_learned,
            items_learned=self.items_learned,
        )
        return {"half_step": [self.unobserved_weight, self.reg, self.reg_power]}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        weight, reg, power = record["half_step"]
        return cls(**load_arrays(folder), unobserved_weight=weight, reg=reg, reg_power=power)


def check_memory(shape: tuple[int, int], size: int, compute: ComputeConfig) -> None:
    """Refuse before the work starts what would not fit the declared budget: float64 factors and their float32 copy."""
    need = 12 * sum(shape) * size / MIB
    check_budget(
        need,
        compute,
        f"ials needs {need:,.0f} MiB: 12 bytes x {size} factors x {sum(shape):,} users and items.",
        found=f"{shape[0]:,} users, {shape[1]:,} items",
        todo="lower models.ials.embedding_size, keep fewer items (--top-items), or raise --set compute.memory_mib",
    )


@dataclass(frozen=True)
class _HalfStep:
    """The exact solution of one side, the other held fixed.

    Row by row, with Q the fixed vectors and Q(u) those that occur in the row:

        p(u) = (alpha0 Q^T Q + Q(u)^T Q(u) + r(u) I)^-1  Q(u)^T 1
    """

    unobserved_weight: float
    reg: float
    reg_power: float
    threads: int

    def solve(self, rows: csr_matrix, fixed: Factors, *, others: int | None = None) -> Factors:
        """(n_rows, size) the solution; a row without entries is 0.

        Args:
            rows: (n_rows, n_fixed) CSR; a stored entry is a rating, whatever its value.
            fixed: (n_fixed, size) float64.
            others: rows of `fixed` that the regularisation counts; unset: all.
        """
        solved = np.zeros((rows.shape[0], fixed.shape[1]))
        count = np.diff(rows.indptr) + self.unobserved_weight * (len(fixed) if others is None else others)
        penalty = self.reg * count**self.reg_power

        def work(start: int, stop: int) -> None:
            _solve_rows(start, stop, rows.indptr, rows.indices, fixed, shared, penalty, solved)

        with one_blas_thread():
            shared = self.unobserved_weight * (fixed.T @ fixed)
            over_ranges(work, len(solved), self.threads)
        return solved


@compiled
def _solve_rows(start, stop, indptr, indices, fixed, shared, penalty, solved):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        if indptr[row] == indptr[row + 1]:
            continue
        own = fixed[indices[indptr[row] : indptr[row + 1]]]
        matrix = shared + own.T @ own
        for factor in range(len(matrix)):
            matrix[factor, factor] += penalty[row]
        solved[row] = np.linalg.solve(matrix, own.sum(axis=0))
