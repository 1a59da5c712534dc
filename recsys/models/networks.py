"""The Keras models: factorisation, RecommenderNet, masked autoencoder, and its loss. Importing this imports TensorFlow.

Layers and losses are written in `keras.ops`, so that another Keras backend runs them too.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

SERIALIZABLE = keras.saving.register_keras_serializable(package="recsys")


def _table(rows: int, columns: int, name: str, initializer: Any) -> keras.layers.Embedding:
    layer = keras.layers.Embedding(rows, columns, embeddings_initializer=initializer, name=name)
    layer.build()
    return layer


def initial(name: str, scale: float, seed: int) -> Any:
    """An initialiser by Keras' name; `normal` and `uniform` (-scale to scale) take a scale, others have their own."""
    if name == "normal":
        return keras.initializers.RandomNormal(stddev=scale, seed=seed)
    if name == "uniform":
        return keras.initializers.RandomUniform(-scale, scale, seed=seed)
    return keras.initializers.get({"class_name": name, "config": {"seed": seed}})


@SERIALIZABLE
class Factors(keras.Model):
    """rating(u, i) = overall + user_bias[u] + item_bias[i] + user_factors[u] . item_factors[i]

    With `span` the sum x becomes lowest + (highest - lowest) * sigmoid(x). Without biases their terms are left out.
    Source: Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", Computer 42(8), 2009.

    Args:
        n_users, n_items: rows of the tables.
        embedding_size: factors of a user or an item.
        biases: whether the biases are learned.
        overall: a constant, in the ratings' units.
        span: lowest and highest rating of the sigmoid; None is a plain sum.
        initializer, init_scale, seed: of the factors; see `initial`.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        embedding_size: int,
        *,
        biases: bool = True,
        overall: float = 0.0,
        span: tuple[float, float] | None = None,
        initializer: str = "normal",
        init_scale: float = 0.01,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "n_users": n_users, "n_items": n_items, "embedding_size": embedding_size, "biases": biases,
            "overall": overall, "span": span, "initializer": initializer, "init_scale": init_scale, "seed": seed,
        }  # fmt: skip
        self.overall, self.span = overall, span
        self.user_factors = _table(n_users, embedding_size, "user_factors", initial(initializer, init_scale, seed))
        self.item_factors = _table(n_items, embedding_size, "item_factors", initial(initializer, init_scale, seed + 1))
        self.user_bias = _table(n_users, 1, "user_bias", "zeros") if biases else None
        self.item_bias = _table(n_items, 1, "item_bias", "zeros") if biases else None
        self.built = True

    def rows(self, users: Any, items: Any) -> tuple[Any, Any, Any, Any]:
        """(n, size) factors of the users and of the items, (n,) biases of both or 0."""
        if self.user_bias is None or self.item_bias is None:
            return self.user_factors(users), self.item_factors(items), 0.0, 0.0
        user_bias, item_bias = (ops.squeeze(bias, -1) for bias in (self.user_bias(users), self.item_bias(items)))
        return self.user_factors(users), self.item_factors(items), user_bias, item_bias

    def rating(self, user: Any, item: Any, user_bias: Any, item_bias: Any) -> Any:
        """(n,) ratings from what `rows` returns."""
        return scaled(self.overall + user_bias + item_bias + ops.sum(user * item, axis=-1), self.span)

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """(n,) ratings of (users, items), both (n,) int32."""
        return self.rating(*self.rows(*inputs))

    def noise_shapes(self, n: int) -> list[tuple[int, int]]:
        """None: nothing is dropped."""
        return []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.settings}


@SERIALIZABLE
class RecommenderNet(keras.Model):
    """rating(u, i) = a network of one hidden layer on both embeddings side by side, through a scaled sigmoid.

    Embeddings, dropout, dense ReLU, dropout, dense 1; the layout of He et al., "Neural collaborative filtering",
    WWW 2017, with one hidden layer.

    Args:
        n_users, n_items: rows of the tables.
        embedding_size: of a user or an item.
        hidden: units of the hidden layer.
        dropout: shares dropped of the embeddings and of the hidden layer.
        span: lowest and highest rating.
        initializer, init_scale, seed: of tables and kernels; see `initial`.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        embedding_size: int,
        *,
        hidden: int,
        dropout: tuple[float, float],
        span: tuple[float, float],
        initializer: str = "he_normal",
        init_scale: float = 0.01,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "n_users": n_users, "n_items": n_items, "embedding_size": embedding_size, "hidden": hidden,
            "dropout": dropout, "span": span, "initializer": initializer, "init_scale": init_scale, "seed": seed,
        }  # fmt: skip
        self.span = span

        def start(offset: int) -> Any:
            return initial(initializer, init_scale, seed + offset)

        self.user_embedding = _table(n_users, embedding_size, "user_embedding", start(0))
        self.item_embedding = _table(n_items, embedding_size, "item_embedding", start(1))
        self.first_dropout = keras.layers.Dropout(dropout[0], seed=seed + 2)
        self.second_dropout = keras.layers.Dropout(dropout[1], seed=seed + 3)
        self.hidden_layer = keras.layers.Dense(hidden, "relu", kernel_initializer=start(4), name="hidden")
        self.last_layer = keras.layers.Dense(1, kernel_initializer=start(5), name="rating")
        self.hidden_layer.build((None, 2 * embedding_size))
        self.last_layer.build((None, hidden))
        self.built = True

    def call(self, inputs: tuple[Any, Any], training: bool = False) -> Any:
        """(n,) ratings of (users, items), both (n,) int32."""
        hidden = self.hidden_layer(self.first_dropout(self._both(inputs), training=training))
        return self._rating(self.second_dropout(hidden, training=training))

    def with_noise(self, inputs: tuple[Any, Any], draws: tuple[Any, Any]) -> Any:
        """As `call` in training, what is dropped decided by uniform draws of `noise_shapes`."""
        first, second = self.settings["dropout"]
        return self._rating(dropped(self.hidden_layer(dropped(self._both(inputs), draws[0], first)), draws[1], second))

    def noise_shapes(self, n: int) -> list[tuple[int, int]]:
        """Of the draws for n pairs."""
        return [(n, 2 * self.settings["embedding_size"]), (n, self.settings["hidden"])]

    def _both(self, inputs: tuple[Any, Any]) -> Any:
        return ops.concatenate([self.user_embedding(inputs[0]), self.item_embedding(inputs[1])], axis=-1)

    def _rating(self, hidden: Any) -> Any:
        return scaled(ops.squeeze(self.last_layer(hidden), -1), self.span)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.settings}


@SERIALIZABLE
class Autoencoder(keras.Model):
    """preferences in, preferences out, through a code; encoder and decoder are models of their own.

    Args:
        n_items: width of a row of preferences.
        layers: units of the encoder's layers, the code last; the decoder mirrors them.
        activation: of all layers but the last, by Keras' name.
        biases: whether layers have them.
        seed: of the kernels.
    """

    def __init__(
        self, n_items: int, layers: tuple[int, ...], *, activation: str, biases: bool, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.settings: dict[str, Any] = {
            "n_items": n_items, "layers": layers, "activation": activation, "biases": biases, "seed": seed,
        }  # fmt: skip

        def stack(name: str, widths: list[int], last: str, offset: int) -> keras.Sequential:
            dense = [
                keras.layers.Dense(
                    width, last if place == len(widths) - 1 else activation, use_bias=biases,
                    kernel_initializer=initial("glorot_uniform", 0.0, seed + offset + place),
                )
                for place, width in enumerate(widths)
            ]  # fmt: skip
            return keras.Sequential(dense, name=name)

        self.encoder = stack("encoder", list(layers), activation, 0)
        self.decoder = stack("decoder", [*reversed(layers[:-1]), n_items], "linear", len(layers))
        self.encoder.build((None, n_items))
        self.decoder.build((None, layers[-1]))
        self.built = True

    def call(self, preferences: Any) -> Any:
        """(n, n_items) preferences of all items, from (n, n_items) with 0 where there is none."""
        return self.decoder(self.encoder(preferences))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.settings}


@SERIALIZABLE
class HiddenAndShown(keras.losses.Loss):
    """hidden_weight * MSE over the hidden preferences + (1 - hidden_weight) * MSE over the shown ones.

    Both means run over the batch's entries, not over its users. `y_true` is (n, n_items, 2): the preference, and its
    role: 0 unknown, 1 shown to the model, 2 hidden from it.
    """

    def __init__(self, hidden_weight: float = 0.8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_weight = hidden_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """() the loss."""
        role = y_true[..., 1]
        squares = ops.square(y_true[..., 0] - y_pred)
        return self.hidden_weight * self._mean(squares, role == 2.0) + (1 - self.hidden_weight) * self._mean(
            squares, role == 1.0
        )

    @staticmethod
    def _mean(squares: Any, chosen: Any) -> Any:
        chosen = ops.cast(chosen, squares.dtype)
        return ops.sum(squares * chosen) / ops.maximum(ops.sum(chosen), 1.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "hidden_weight": self.hidden_weight}


def dropped(x: Any, draw: Any, rate: float) -> Any:
    """X with the entries 0 whose uniform draw is below the rate, the others scaled up to keep the mean."""
    return x * ops.cast(draw >= rate, x.dtype) / (1.0 - rate)


def scaled(x: Any, span: tuple[float, float] | None) -> Any:
    """x, or a sigmoid of it between the lowest and the highest rating."""
    return x if span is None else span[0] + (span[1] - span[0]) * ops.sigmoid(x)
