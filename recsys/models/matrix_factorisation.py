"""Matrix factorisation as a Keras model. Importing this module imports TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="recsys")
class BiasedFactors(keras.Model):
    """rating(u, i) = overall + user_bias[u] + item_bias[i] + user_factors[u] . item_factors[i]

    Source: Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", Computer 42(8), 2009.

    Args:
        n_users, n_items: rows of the tables.
        embedding_size: factors of a user or an item.
        overall: mean rating, in the ratings' units.
        init_scale: standard deviation of the initial factors.
        seed: of the initial factors.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        embedding_size: int,
        overall: float,
        init_scale: float,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = {"n_users": n_users, "n_items": n_items, "embedding_size": embedding_size}
        self.start = {"overall": overall, "init_scale": init_scale, "seed": seed}

        def table(rows: int, columns: int, name: str, initializer: Any) -> keras.layers.Embedding:
            layer = keras.layers.Embedding(rows, columns, embeddings_initializer=initializer, name=name)
            layer.build()
            return layer

        def normal(offset: int) -> Any:
            return keras.initializers.RandomNormal(stddev=init_scale, seed=seed + offset)

        self.user_factors = table(n_users, embedding_size, "user_factors", normal(0))
        self.item_factors = table(n_items, embedding_size, "item_factors", normal(1))
        self.user_bias = table(n_users, 1, "user_bias", "zeros")
        self.item_bias = table(n_items, 1, "item_bias", "zeros")
        self.built = True

    def rows(self, users: Any, items: Any) -> tuple[Any, Any, Any, Any]:
        """(n, size) factors of the users and of the items, (n,) biases of both."""
        return (
            self.user_factors(users),
            self.item_factors(items),
            ops.squeeze(self.user_bias(users), -1),
            ops.squeeze(self.item_bias(items), -1),
        )

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """(n,) ratings of (users, items), both (n,) int32."""
        user, item, user_bias, item_bias = self.rows(*inputs)
        return self.start["overall"] + user_bias + item_bias + ops.sum(user * item, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.sizes, **self.start}
