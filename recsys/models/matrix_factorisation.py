"""Matrix factorisation in Keras: the nightly rater `biased_mf`, and the dot products of the tutorials as presets.

TensorFlow is imported when a model is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import one_blas_thread
from recsys.config import Section, Tunable
from recsys.models.pairs import PairModel, PairSettings, with_table_reg
from recsys.score.formula import NO_UNITS, Formula

if TYPE_CHECKING:
    from recsys.train.pairs import Pairs, Rated


class MatrixFactorisationSettings(PairSettings):
    """Settings of matrix factorisation; the defaults were found on validation slices of MovieLens data."""

    biases: bool = Field(True, description="learn a bias of each user and item")
    start: Literal["means", "zero"] = Field("means", description="means: the overall mean and damped biases; zero: 0")
    damping: Annotated[float, Tunable(0, 50)] = Field(
        10.0, ge=0, description="biases start at means damped by that many ratings of the mean"
    )
    output: Literal["linear", "sigmoid"] = Field("linear", description="sigmoid: between the lowest and highest rating")
    reg: Annotated[float, Tunable(0.01, 0.3, log=True)] = Field(
        0.075, ge=0, description="L2 of the factors of each rating's user and item, for average counts"
    )
    reg_power: Annotated[float, Tunable(0, 1)] = Field(
        0.5, ge=0, description="L2 is reg * (count / mean count) ** -power: rare rows are held tighter"
    )
    bias_reg: Annotated[float, Tunable(1e-3, 0.3, log=True)] = Field(
        0.03, ge=0, description="L2 of the biases, a rating"
    )


class MatrixFactorisation(PairModel):
    """predicted rating = overall + user bias + item bias + user factors . item factors

    With `output` sigmoid the sum goes through a sigmoid scaled to the ratings' range.
    """

    name: ClassVar[str] = "matrix_factorisation"
    summary: ClassVar[str] = "matrix factorisation, Keras on TensorFlow: biases, loss, start and output can be set"
    settings: ClassVar[type[Section]] = MatrixFactorisationSettings
    network: ClassVar[str] = "Factors"
    user_table: ClassVar[str] = "user_factors/embeddings"
    item_table: ClassVar[str] = "item_factors/embeddings"

    @classmethod
    def build(
        cls, shape: tuple[int, int], rated: Rated, settings: MatrixFactorisationSettings, seed: int
    ) -> tuple[Any, Any]:
        """The network, its biases at damped means or 0, and its losses."""
        from recsys.models.networks import Factors

        means = damped_means(rated, shape, settings.damping) if settings.start == "means" else None
        network = Factors(
            *shape, settings.embedding_size, biases=settings.biases, overall=means[0] if means else 0.0,
            span=span_of(rated) if settings.output == "sigmoid" else None,
            initializer=settings.initializer, init_scale=settings.init_scale, seed=seed, name=cls.name,
        )  # fmt: skip
        tables = [network.user_factors, network.item_factors]
        if network.user_bias is not None and network.item_bias is not None and means is not None:
            network.user_bias.set_weights([means[1][:, None]])
            network.item_bias.set_weights([means[2][:, None]])
        return network, with_table_reg(_losses(network, rated, shape, settings), tables, settings.table_reg)

    @cached_property
    def formula(self) -> Formula:
        """Factors, with the biases as offsets."""
        users, items = self.weights[self.user_table], self.weights[self.item_table]
        return Formula(
            users, items, self.record["overall"] + self._bias("user", slice(None)), self._bias("item", slice(None)),
            NO_UNITS, self.span,
        )  # fmt: skip

    @property
    def folds_in(self) -> bool:
        """A linear output has a closed form for new people, a sigmoid has none."""
        return self.span is None

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) float32; NaN for an item, or a person, without a rating that was learned from, and with a sigmoid.

        A person's bias b and factors p minimise the training loss with all else held fast: with y what a rating r of
        item i leaves beyond the overall mean and the item's bias,

            sum over the ratings (y - b - p . q(i))^2 + penalty . (b, p)^2,   penalty as `_penalty` has it,

        a ridge regression of y on (1, q(i)): the user's half-step of alternating least squares (Koren, Bell and
        Volinsky 2009). Training starts elsewhere and stops early: a trained user's factors are near, not equal.
        """
        predicted = np.full(columns.shape, np.nan, dtype=np.float32)
        if not self.folds_in:
            return predicted
        row = self.row_of[self.items]
        learned = row >= 0
        design = self.item_vectors.astype(np.float64)
        if self.record["biases"]:
            design = np.hstack([np.ones((len(design), 1)), design])
        offset = self.record["overall"] + self._bias("item", row)
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
        penalty = self._penalty(len(design))
        gram[np.diag_indices_from(gram)] += penalty
        if not penalty.all():  # then few ratings have many solutions: the shortest
            return np.asarray(np.linalg.lstsq(gram, moment)[0], dtype=np.float64)
        return np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)

    def _penalty(self, count: int) -> NDArray[np.float64]:
        """What the squares of the bias and factors of a user with `count` ratings cost beside the squared errors.

        The training loss is a mean over ratings, and each carries the L2 of its user: so that counts `count` times.
        """
        was = self.trained_with
        factors = was["reg"] * (count / was["mean_count"]) ** -was["reg_power"]
        biases = [was["bias_reg"]] if self.record["biases"] else []
        return count * np.concatenate((biases, np.full(self.record["embedding_size"], factors)))

    @property
    def span(self) -> tuple[float, float] | None:
        """Lowest and highest rating of the sigmoid; None without one."""
        return None if self.record["span"] is None else tuple(self.record["span"])

    def _bias(self, side: str, index: Any) -> NDArray[np.float64]:
        if not self.record["biases"]:
            return np.zeros(len(self.weights[f"{side}_factors/embeddings"]))[index]
        return self.weights[f"{side}_bias/embeddings"][:, 0].astype(np.float64)[index]


def span_of(rated: Rated) -> tuple[float, float]:
    """Lowest and highest rating learned from."""
    lowest, highest = zip(*((np.min(block.rating), np.max(block.rating)) for block in rated.blocks()), strict=True)
    return float(min(lowest)), float(max(highest))


def damped_means(
    rated: Rated, shape: tuple[int, int], damping: float
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Overall mean, then user and item biases: sum of what the ones before leave / (count + damping)."""
    overall = sum(float(block.rating.sum(dtype=np.float64)) for block in rated.blocks()) / len(rated)

    def biases(side: str, rest: Callable[[Pairs], NDArray[np.float64]]) -> NDArray[np.float64]:
        size = shape[side == "item"]
        total = sum(np.bincount(getattr(block, side), rest(block), size) for block in rated.blocks())
        return np.asarray(total) / np.maximum(counts(rated, side, size) + damping, 1.0)

    item_bias = biases("item", lambda block: block.rating.astype(np.float64) - overall)
    user_bias = biases("user", lambda block: block.rating.astype(np.float64) - overall - item_bias[block.item])
    return overall, user_bias.astype(np.float32), item_bias.astype(np.float32)


def counts(rated: Rated, side: str, size: int) -> NDArray[np.int64]:
    """(size,) ratings of each row of the table of that side, `user` or `item`."""
    return np.asarray(sum(np.bincount(getattr(block, side), minlength=size) for block in rated.blocks()))


def strength(count: NDArray[np.int64], settings: MatrixFactorisationSettings) -> NDArray[np.float32]:
    """(size,) L2 of each row: reg * (count / mean count) ** -reg_power."""
    relative = np.maximum(count, 1) * (len(count) / count.sum())
    return (settings.reg * relative**-settings.reg_power).astype(np.float32)


def _losses(network: Any, rated: Rated, shape: tuple[int, int], settings: MatrixFactorisationSettings) -> Any:
    """The error, and the same plus the L2 of the rows that the batch touches."""
    from keras import ops

    from recsys.train.pairs import error_of

    error_between = error_of(settings.loss)
    user_strength = ops.convert_to_tensor(strength(counts(rated, "user", shape[0]), settings))
    item_strength = ops.convert_to_tensor(strength(counts(rated, "item", shape[1]), settings))

    def losses(user: Any, item: Any, rating: Any) -> tuple[Any, Any]:
        parts = user_row, item_row, user_bias, item_bias = network.rows(user, item)
        error = error_between(rating, network.rating(*parts))
        penalty = 0.0
        if settings.reg:
            penalty += ops.take(user_strength, user) * ops.sum(ops.square(user_row), axis=-1)
            penalty += ops.take(item_strength, item) * ops.sum(ops.square(item_row), axis=-1)
        if settings.biases and settings.bias_reg:
            penalty += settings.bias_reg * (ops.square(user_bias) + ops.square(item_bias))
        return (error + ops.mean(penalty) if settings.reg or settings.bias_reg else error), error

    return losses
