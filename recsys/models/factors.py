"""The mathematics of matrix factorisation with biases, whatever trains it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import one_blas_thread
from recsys.config import Tunable
from recsys.models.pairs import PairModel
from recsys.score.formula import NO_UNITS, Formula
from recsys.train.settings import EmbeddingSettings

Vector = NDArray[np.float32]


class FactorSettings(EmbeddingSettings):
    """Settings of all factorisations; the defaults were found on validation slices of MovieLens data."""

    damping: Annotated[float, Tunable(0, 50)] = Field(
        10.0, ge=0, description="biases start at means damped by that many ratings of the mean"
    )
    reg: Annotated[float, Tunable(0.01, 0.3, log=True)] = Field(
        0.075, ge=0, description="L2 of the factors of each rating's user and item, for average counts"
    )
    reg_power: Annotated[float, Tunable(0, 1)] = Field(
        0.5, ge=0, description="L2 is reg * (count / mean count) ** -power: rare rows are held tighter"
    )
    bias_reg: Annotated[float, Tunable(1e-3, 0.3, log=True)] = Field(
        0.03, ge=0, description="L2 of the biases, a rating"
    )


@dataclass(frozen=True, eq=False)
class Factors:
    """rating = overall + user_bias[u] + item_bias[i] + users[u] . items[i], through a sigmoid where there is a span.

    Attributes:
        overall: in the ratings' units.
        users: (user rows, size) float32.     items: (item rows, size) float32.
        user_bias: (user rows,) float32.     item_bias: (item rows,) float32.
        span: lowest and highest rating of the sigmoid; None without one.
    """

    overall: float
    users: NDArray[np.float32]
    items: NDArray[np.float32]
    user_bias: Vector
    item_bias: Vector
    span: tuple[float, float] | None = None

    def of(self, users: NDArray[Any] | slice) -> Factors:
        """With these rows of the users."""
        return replace(self, users=self.users[users], user_bias=self.user_bias[users])

    @property
    def formula(self) -> Formula:
        """The same, in float64."""
        user_offset = self.overall + self.user_bias.astype(np.float64)
        return Formula(self.users, self.items, user_offset, self.item_bias.astype(np.float64), NO_UNITS, self.span)


@dataclass(frozen=True)
class Ridge:
    """What the loss of a training adds for a user: see `FactorSettings`.

    Attributes:
        mean_count: ratings a user in training.
        biases: whether users have one.
    """

    reg: float
    reg_power: float
    bias_reg: float
    mean_count: float
    biases: bool = True

    def penalty(self, count: int, size: int) -> NDArray[np.float64]:
        """What the squares of the bias and factors of a user with `count` ratings cost beside the squared errors.

        The training loss is a mean over ratings, and each carries the L2 of its user: so that counts `count` times.
        """
        factors = self.reg * (count / self.mean_count) ** -self.reg_power
        return count * np.concatenate(([self.bias_reg] if self.biases else [], np.full(size, factors)))


class FactorModel(PairModel):
    """predicted rating = overall + user bias + item bias + user factors . item factors

    With a span the sum goes through a sigmoid scaled to the ratings' range.
    """

    @property
    @abstractmethod
    def factors(self) -> Factors:
        """What was learned."""

    @property
    @abstractmethod
    def ridge(self) -> Ridge:
        """What held the users' rows in training."""

    @property
    def vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The factors of users and of items."""
        return self.factors.users, self.factors.items

    def formula_of(self, users: NDArray[Any] | slice) -> Formula:
        """Factors, with the biases as offsets: of a mapped table only these rows are read."""
        return self.factors.of(users).formula

    @property
    def folds_in(self) -> bool:
        """A linear output has a closed form for new people, a sigmoid has none."""
        return self.factors.span is None

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) float32; NaN for an item, or a person, without a rating that was learned from, and with a sigmoid.

        A person's bias b and factors p minimise the training loss with all else held fast: with y what a rating r of
        item i leaves beyond the overall mean and the item's bias,

            sum over the ratings (y - b - p . q(i))^2 + penalty . (b, p)^2,   penalty as `Ridge` has it,

        a ridge regression of y on (1, q(i)): the user's half-step of alternating least squares (Koren, Bell and
        Volinsky 2009). Training starts elsewhere and stops early: a trained user's factors are near, not equal.
        """
        predicted = np.full(columns.shape, np.nan, dtype=np.float32)
        if not self.folds_in:
            return predicted
        row = self.row_of[self.items]
        learned = row >= 0
        design = self.item_vectors.astype(np.float64)
        if self.ridge.biases:
            design = np.hstack([np.ones((len(design), 1)), design])
        offset = self.factors.overall + self.factors.item_bias[row].astype(np.float64)
        with one_blas_thread():
            for place, (start, stop) in enumerate(pairwise(ratings.indptr)):
                known = learned[ratings.indices[start:stop]]
                if not known.any():
                    continue
                rated, value = ratings.indices[start:stop][known], ratings.data[start:stop][known]
                person = self._half_step(design[rated], value - offset[rated])
                asked = (columns[place] >= 0) & learned[columns[place]]
                chosen = columns[place, asked]
                # An einsum sums each row in one order, however many items are asked for.
                predicted[place, asked] = offset[chosen] + np.einsum("nk,k->n", design[chosen], person)
        return predicted

    def _half_step(self, design: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        """A person's bias, where there are biases, and factors."""
        gram, moment = design.T @ design, design.T @ rest
        penalty = self.ridge.penalty(len(design), self.factors.items.shape[1])
        gram[np.diag_indices_from(gram)] += penalty
        if not penalty.all():  # then few ratings have many solutions: the shortest
            return np.asarray(np.linalg.lstsq(gram, moment)[0], dtype=np.float64)
        return np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)
