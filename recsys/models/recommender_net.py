"""RecommenderNet: a small network on both embeddings. TensorFlow is imported when it is fitted."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys.compute import one_blas_thread
from recsys.config import Section
from recsys.models.keras_pairs import KerasPairModel, PairSettings, with_table_reg
from recsys.score.formula import Formula
from recsys.train.rated import Rated, span_of
from recsys.train.settings import Initializer


class RecommenderNetSettings(PairSettings):
    """Settings of RecommenderNet; the defaults are the tutorial's, with early stopping."""

    embedding_size: int = Field(50, ge=1, description="numbers that describe a user, and an item")
    hidden: int = Field(10, ge=1, description="units of the hidden layer")
    embedding_dropout: float = Field(0.05, ge=0, lt=1, description="share of the embeddings dropped in training")
    hidden_dropout: float = Field(0.5, ge=0, lt=1, description="share of the hidden units dropped in training")
    initializer: Initializer = Field("he_normal", description="Keras' initialiser of tables and kernels")
    learning_rate: float = Field(1e-3, gt=0, description="the optimiser's, at the first step")
    table_reg: float = Field(
        1e-6, ge=0, description="L2 of the whole tables at each step, as Keras' regularisers count"
    )
    batch: int = Field(64, ge=0, description="examples a step; 0: as many as make about 85 steps an epoch")


class RecommenderNet(KerasPairModel):
    """predicted rating = lowest + span * sigmoid(w . relu(W [user; item] + b) + c)

    The first layer splits into a part of the user and a part of the item, so that all pairs cost one addition each.
    """

    name: ClassVar[str] = "recommender_net"
    summary: ClassVar[str] = "both embeddings through a hidden layer and a scaled sigmoid, Keras on TensorFlow"
    settings: ClassVar[type[Section]] = RecommenderNetSettings
    network: ClassVar[str] = "RecommenderNet"
    user_table: ClassVar[str] = "user_embedding/embeddings"
    item_table: ClassVar[str] = "item_embedding/embeddings"

    @classmethod
    def build(
        cls, shape: tuple[int, int], rated: Rated, settings: RecommenderNetSettings, seed: int
    ) -> tuple[Any, Any]:
        """The network and its losses."""
        from recsys.models import networks
        from recsys.train.pairs import error_of

        network = networks.RecommenderNet(
            *shape, settings.embedding_size, hidden=settings.hidden,
            dropout=(settings.embedding_dropout, settings.hidden_dropout), span=span_of(rated),
            initializer=settings.initializer, init_scale=settings.init_scale, seed=seed, name=cls.name,
        )  # fmt: skip
        error_between = error_of(settings.loss)

        def error(user: Any, item: Any, rating: Any, *draws: Any) -> tuple[Any, Any]:
            found = error_between(rating, network.with_noise((user, item), draws))
            return found, found

        return network, with_table_reg(error, [network.user_embedding, network.item_embedding], settings.table_reg)

    def formula_of(self, users: NDArray[Any] | slice) -> Formula:
        """See `_formula`."""
        return self._formula.of(users)

    @cached_property
    def _formula(self) -> Formula:
        """The first layer's part of each user, its bias with it, and of each item; then the last layer."""
        kernel = self.weights["hidden/kernel"].astype(np.float64)
        size = self.record["embedding_size"]
        with one_blas_thread():
            users = self.weights[self.user_table] @ kernel[:size] + self.weights["hidden/bias"]
            items = self.weights[self.item_table] @ kernel[size:]
        last = self.weights["rating/kernel"][:, 0].astype(np.float64)
        bias = np.full(len(users), float(self.weights["rating/bias"][0]))
        return Formula(users, items, bias, np.zeros(len(items)), last, tuple(self.record["span"]))
