"""Matrix factorisation in Keras: the dot products of the tutorials are presets of it.

TensorFlow is imported when a model is fitted.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys.config import Section
from recsys.models.factors import FactorModel, Factors, FactorSettings, Ridge
from recsys.models.keras_pairs import KerasPairModel, PairSettings, with_table_reg
from recsys.train.rated import Rated, counts, damped_means, span_of, strength


class MatrixFactorisationSettings(PairSettings, FactorSettings):
    """Settings of matrix factorisation in Keras."""

    biases: bool = Field(True, description="learn a bias of each user and item")
    start: Literal["means", "zero"] = Field("means", description="means: the overall mean and damped biases; zero: 0")
    output: Literal["linear", "sigmoid"] = Field("linear", description="sigmoid: between the lowest and highest rating")


class MatrixFactorisation(FactorModel, KerasPairModel):
    """Matrix factorisation, see `FactorModel`, trained by Keras; with `output` sigmoid it has a span."""

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
        from recsys.models import networks

        means = damped_means(rated, shape, settings.damping) if settings.start == "means" else None
        network = networks.Factors(
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
    def factors(self) -> Factors:
        """The weights by their roles; without biases those are 0."""
        span = self.record["span"]
        return Factors(
            self.record["overall"], self.weights[self.user_table], self.weights[self.item_table],
            self._bias("user"), self._bias("item"), tuple(span) if span else None,
        )  # fmt: skip

    @property
    def ridge(self) -> Ridge:
        """As the training had it."""
        names = ("reg", "reg_power", "bias_reg", "mean_count")
        return Ridge(**{name: self.trained_with[name] for name in names}, biases=self.record["biases"])

    def _bias(self, side: str) -> NDArray[np.float32]:
        if not self.record["biases"]:
            return np.zeros(len(self.weights[f"{side}_factors/embeddings"]), np.float32)
        return self.weights[f"{side}_bias/embeddings"][:, 0]


def _losses(network: Any, rated: Rated, shape: tuple[int, int], settings: MatrixFactorisationSettings) -> Any:
    """The error, and the same plus the L2 of the rows that the batch touches."""
    from keras import ops

    from recsys.train.pairs import error_of

    error_between = error_of(settings.loss)
    user_strength, item_strength = (
        ops.convert_to_tensor(strength(counts(rated, side, size), settings.reg, settings.reg_power))
        for side, size in zip(("user", "item"), shape, strict=True)
    )

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
