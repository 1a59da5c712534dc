"""EDLAE: the linear autoencoder with a zero diagonal, trained under dropout, solved in closed form.

Source: H. Steck, "Autoencoders that don't overfit towards the identity", NeurIPS 2020, eq. for the emphasised denoising
case with a zero diagonal; dropout 0 is EASE (H. Steck, WWW 2019, arXiv 1905.03375). Where inputs are not scaled up by
1 / (1 - dropout) in training, all weights carry that factor; it changes no list and is left out here.

Two powers go past it, both 0 in the papers. The squared errors of a user with many ratings are many and large, so that
a few such users decide the weights, while a ranking is judged by user: `user_power` weighs each user's row in the Gram
matrix by ratings ^ -power, the ratings rounded down to a power of two (`user_weights`). And the penalty draws the
weights towards a rare item, with less data behind them, nearer to 0 than those towards a popular one: `item_power`
multiplies an item's scores by count ^ -power to make up for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.linalg import cholesky, lapack, solve_triangular
from scipy.sparse import csr_matrix

from recsys.compute import MIB, check_budget, one_blas_thread, over_tiles, thread_count
from recsys.config import ComputeConfig, Section, Tunable
from recsys.errors import UsageError
from recsys.models.base import FitContext, TopN, load_arrays, save_arrays
from recsys.models.cooccurrence import WeightedRows, Whole, upper_gram
from recsys.models.linear import LinearRanker
from recsys.prepare.training_set import TrainingSet
from recsys.score.linear import largest_of_rows

log = logging.getLogger("recsys")

# One float64 matrix: factorised, inverted and made the float32 weights in place. Tiles and rows of it are small.
COPIES = 1.0
USERS_A_COLUMN = 2  # with fewer than half as many users as items, solving by users is the cheaper way
TILE = 512

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


class EdlaeSettings(Section):
    """Settings of EDLAE. The defaults were not chosen on any hold-out that the README reports."""

    reg: Annotated[float, Tunable(10, 10_000, log=True)] = Field(
        500.0, gt=0, description="lambda, the ridge penalty; 500 is usual for data of MovieLens' size"
    )
    dropout: Annotated[float, Tunable(0, 0.9)] = Field(
        0.5, ge=0, lt=1, description="probability that a rating is hidden in training; 0 is EASE"
    )
    user_power: Annotated[float, Tunable(0, 1)] = Field(
        0.0, ge=0, le=2, description="a user's row weighs ratings ^ -power; 0: all rows alike; 1: all users' sums alike"
    )
    item_power: Annotated[float, Tunable(0, 0.5)] = Field(
        0.0, ge=0, le=1, description="an item's scores are divided by its count ^ power; 0 leaves them"
    )


@dataclass(frozen=True, eq=False)
class Edlae(LinearRanker):
    """score(u) = x(u) B with x(u) the user's binary row.

    With G = X^T W X, the users' weights W, the dropout probability p and L = p / (1 - p) diag(G) + reg I:

        C = (G + L)^-1,   B[j, i] = -s[i] C[j, i] / C[i, i] for j != i,   B[i, i] = 0

    where s[i] = (count of i / mean count) ^ -item_power.

    Attributes:
        items: (n_columns,) int32, the item_index of each column.
        weights: (n_columns, n_columns) float32, B; row j is what having rated j adds to every score.
    """

    name: ClassVar[str] = "edlae"
    summary: ClassVar[str] = (
        "linear autoencoder under dropout, closed form (EASE at dropout 0); says because of which item"
    )
    settings: ClassVar[type[Section]] = EdlaeSettings

    items: NDArray[np.int32]
    weights: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: EdlaeSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Solve for the weights.

        Raises:
            UsageError: the matrices do not fit the memory budget; nothing was allocated yet.
        """
        rows, threads = WeightedRows.of(training_set, settings.user_power), thread_count(context.compute)
        few_users = USERS_A_COLUMN * rows.n_learned < rows.n_columns
        check_memory(rows.n_columns, context.compute, users=rows.n_learned if few_users else None)
        count, weighted_count = rows.by_column
        penalty = penalties(settings, count, weighted_count)
        with one_blas_thread():
            if few_users:
                weights = weights_by_users(weighted(rows), penalty, threads)
            else:
                weights = weights_by_items(_gram(training_set, rows, settings, context), penalty, threads)
        weights *= item_scale(count, settings.item_power)
        return cls(training_set.items, weights)

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """What having rated an item speaks for most: the largest weights of its row."""
        return TopN(*largest_of_rows(self.finite_weights, n, thread_count(compute)))

    def similarity(self, column: int) -> NDArray[np.float32]:
        """The weights of the item's row."""
        row: NDArray[np.float32] = self.weights[column]
        return row

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_arrays(folder, items=self.items, weights=self.weights)
        return {}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        return cls(**load_arrays(folder))


def largest_catalogue(compute: ComputeConfig) -> int:
    """How many items fit: the largest n with 8 n^2 COPIES bytes within the budget."""
    return int((compute.memory_mib * MIB / (8 * COPIES)) ** 0.5)


def check_memory(n_columns: int, compute: ComputeConfig, *, users: int | None = None) -> None:
    """Refuse before the work starts what would not fit the declared budget.

    Args:
        users: where the weights are solved for by users: float32 weights, and two float64 rows a user.
    """
    copies = COPIES if users is None else 0.5 + 2 * users / n_columns
    need = 8 * n_columns**2 * copies / MIB
    check_budget(
        need,
        compute,
        f"edlae needs {need:,.0f} MiB for {n_columns:,} items (8 bytes x items^2 x {copies:.2f} copies).",
        found=f"{n_columns:,} items",
        todo=f"keep at most {largest_catalogue(compute):,} items (--top-items), or raise --set compute.memory_mib",
    )


def _gram(training_set: TrainingSet, rows: WeightedRows, settings: EdlaeSettings, context: FitContext) -> Matrix:
    threads = thread_count(context.compute)
    if context.kept_gram is None:
        gram = upper_gram(rows, threads)
    else:
        gram = context.kept_gram.gram(training_set, rows, settings.user_power, threads)
    return gram.as_matrix(threads)


def penalties(settings: EdlaeSettings, count: Whole, weighted_count: Whole) -> Vector:
    """(n_columns,) the diagonal of L, in the steps that the users' weights are counted in.

    `reg` is in units of the mean weight of a rating, so that it means the same for any power. That scales G and L
    alike, which leaves B as it is: the whole numbers of G need no scaling.

    Args:
        count, weighted_count: (n_columns,) users of each column, and the sum of their weights.
    """
    unit = float(np.sum(weighted_count)) / max(int(np.sum(count)), 1)
    odds = settings.dropout / (1.0 - settings.dropout)
    return np.asarray(odds * weighted_count + settings.reg * (unit or 1.0), np.float64)


def item_scale(count: Whole, power: float) -> NDArray[np.float32]:
    """(n_columns,) (count / mean count) ^ -power; an item that no learned user has rated counts as rated once."""
    count = np.maximum(count, 1)
    return ((count / count.mean()) ** -power).astype(np.float32)


def weighted(rows: WeightedRows) -> csr_matrix:
    """(n_learned, n_columns) float64 rows times the root of their weight: their Gram matrix is the weighted one."""
    learned = np.repeat(rows.weight > 0, np.diff(rows.indptr))
    count = np.diff(rows.indptr)[rows.weight > 0]
    data = np.repeat(np.sqrt(rows.weight[rows.weight > 0]), count)
    columns = rows.columns[learned].view(np.int32)
    return csr_matrix((data, columns, np.append(0, np.cumsum(count))), shape=(len(count), rows.n_columns))


def weights_by_items(upper: Matrix, penalty: Vector, threads: int) -> NDArray[np.float32]:
    """B from the upper triangle of G, which is overwritten: Cholesky factor and inverse in the same memory.

    Args:
        upper: (n_columns, n_columns) float64.
        penalty: (n_columns,) the diagonal of L.
    """
    upper[np.diag_indices_from(upper)] += penalty
    # LAPACK reads columns first: our upper triangle by rows is its lower triangle by columns.
    factor, failed = lapack.dpotrf(upper.T, lower=1, overwrite_a=1, clean=0)
    if not failed:
        inverse, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise UsageError("edlae's matrix is singular.", expected="edlae.reg above 0", todo="raise models.edlae.reg")
    if not np.shares_memory(inverse, upper):  # LAPACK may give a copy back
        upper[:] = inverse.T
    del factor, inverse
    return _weights_in_place(upper, threads)


def _weights_in_place(upper: Matrix, threads: int) -> NDArray[np.float32]:
    """B in the memory of C, of which the upper triangle is given; half of that memory is given back.

    The float32 row r ends at byte 4 n (r + 1) and the float64 rows after it begin there or later: none is overwritten
    before it is read.
    """
    n, diagonal = len(upper), upper.diagonal().copy()

    def mirror(rows: slice, columns: slice) -> None:
        tile = upper[rows, columns]
        upper[columns, rows] = np.triu(tile).T + np.triu(tile, 1) if rows == columns else tile.T

    over_tiles(mirror, n, TILE, threads)
    packed = upper.reshape(-1).view(np.float32)
    for start in range(0, n, TILE):
        rows = upper[start : start + TILE]
        packed[start * n : start * n + rows.size] = (-rows / diagonal).astype(np.float32).reshape(-1)
    del packed, rows
    if upper.flags.owndata:
        upper.resize((n * n + 1) // 2, refcheck=False)  # no view of it is left here
    weights = upper.reshape(-1).view(np.float32)[: n * n].reshape(n, n)
    np.fill_diagonal(weights, 0.0)
    return weights


def weights_by_users(rows: csr_matrix, penalty: Vector, threads: int) -> NDArray[np.float32]:
    """The same B where users are few, by the matrix inversion lemma: a users x users matrix is factorised instead.

    X are `rows`, (n_users, n_columns) float64, with G = X^T X.

        C = L^-1 - Z^T Z   with   K K^T = I + X L^-1 X^T (Cholesky)   and   Z = K^-1 X L^-1

    Cost: users^2 x items + users x items^2, against items^3.
    """
    scaled = csr_matrix(rows.multiply(1.0 / penalty))
    inner = (scaled @ rows.T).toarray()
    inner[np.diag_indices_from(inner)] += 1.0
    z = solve_triangular(cholesky(inner, lower=True), scaled.toarray(), lower=True, overwrite_b=True)

    def block(rows: slice, columns: slice) -> Matrix:
        return z[:, rows].T @ z[:, columns]

    return _weights(block, 1.0 / penalty - np.einsum("ui,ui->i", z, z), threads)


def _weights(block: Callable[[slice, slice], Matrix], diagonal: Vector, threads: int) -> NDArray[np.float32]:
    """B tile by tile: `block` gives -C of the upper triangle (of a diagonal tile, only its upper half is read).

    512 x 512 float64 is 2 MB, the size of a cache.
    """
    n = len(diagonal)
    weights = np.empty((n, n), dtype=np.float32)

    def work(rows: slice, columns: slice) -> None:
        tile = block(rows, columns)
        if rows == columns:
            tile = np.triu(tile) + np.triu(tile, 1).T
        weights[rows, columns] = tile / diagonal[columns]
        weights[columns, rows] = tile.T / diagonal[rows]

    over_tiles(work, n, TILE, threads)
    np.fill_diagonal(weights, 0.0)
    return weights
