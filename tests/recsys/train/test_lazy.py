"""Adam and AdaMax on gathered rows only, against a NumPy twin; and when they are chosen."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from recsys.models.keras_backend import load_keras
from recsys.models.registry import settings_of

keras = load_keras()

import tensorflow as tf  # noqa: E402

from recsys.models.networks import Factors  # noqa: E402
from recsys.train.epochs import Schedule, train_epochs  # noqa: E402
from recsys.train.lazy import LAZY  # noqa: E402
from recsys.train.pairs import is_lazy  # noqa: E402


def naive(name, table, steps, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Row by row: only rows with a gradient in a step change, by the optimiser's rule with the step's number."""
    table = table.astype(float)
    first, second = np.zeros_like(table), np.zeros_like(table)
    for number, (rows, gradients) in enumerate(steps, start=1):
        for row in set(rows):
            summed = sum(gradient for index, gradient in zip(rows, gradients, strict=True) if index == row)
            first[row] = beta_1 * first[row] + (1 - beta_1) * summed
            scale = rate / (1 - beta_1**number)
            if name == "adam":
                second[row] = beta_2 * second[row] + (1 - beta_2) * summed**2
                table[row] -= scale * np.sqrt(1 - beta_2**number) * first[row] / (np.sqrt(second[row]) + epsilon)
            else:
                second[row] = np.maximum(beta_2 * second[row], abs(summed))
                table[row] -= scale * first[row] / (second[row] + epsilon)
    return table


@pytest.mark.parametrize("name", LAZY)
def test_as_a_naive_loop_does_it(name):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 3)).astype(np.float32)
    steps = [([1, 4, 1], rng.normal(size=(3, 3))), ([4], rng.normal(size=(1, 3))), ([0, 1], rng.normal(size=(2, 3)))]
    variable, optimizer = keras.Variable(start), LAZY[name](0.1)
    optimizer.build([variable])
    for rows, gradients in steps:
        slices = tf.IndexedSlices(tf.constant(gradients, tf.float32), tf.constant(rows), tf.constant([7, 3]))
        optimizer.apply([slices], [variable])
    assert_allclose(np.asarray(variable), naive(name, start, steps, 0.1), rtol=1e-5, atol=1e-6)
    assert_array_equal(np.asarray(variable)[[2, 3, 5, 6]], start[[2, 3, 5, 6]])  # never gathered


@pytest.mark.parametrize("name", LAZY)
def test_a_dense_gradient_is_kerass(name):
    start, gradient = np.float32([[1, 2]]), tf.constant([[0.5, -1.0]])
    results = []
    for kind in (LAZY[name], keras.optimizers.get(name).__class__):
        variable, optimizer = keras.Variable(start), kind(0.1)
        optimizer.build([variable])
        optimizer.apply([gradient], [variable])
        results.append(np.asarray(variable))
    assert_array_equal(*results)


def train(lazy):
    rng = np.random.default_rng(1)
    user, item = rng.integers(0, 400, 3000).astype(np.int32), rng.integers(0, 300, 3000).astype(np.int32)
    rating = (1 + user % 3 + item % 2).astype(np.float32)
    model = Factors(500, 400, 4, overall=3.0, initializer="normal", init_scale=0.1, seed=1, name="small")
    untouched = [np.asarray(weight)[450:] for weight in (model.user_factors.embeddings, model.user_bias.embeddings)]

    def losses(user, item, rating):
        error = keras.ops.mean(keras.ops.square(rating - model((user, item))))
        return error, error

    trained = train_epochs(model, (user, item, rating), losses, Schedule(25, 2, 64, 0.03, 0.1, 25, lazy=lazy), 3, None)
    for weight, before in zip((model.user_factors.embeddings, model.user_bias.embeddings), untouched, strict=True):
        assert_array_equal(np.asarray(weight)[450:], before)
    return model, trained


def test_it_learns_what_dense_updates_learn():
    dense, lazy = (train(lazy)[1].history for lazy in (False, True))
    assert dense[0]["loss"] > 0.5
    assert lazy[-1]["loss"] < 0.05
    assert dense[-1]["loss"] < 0.05


def test_the_same_seed_gives_the_same_bytes():
    for one, other in zip(train(True)[0].get_weights(), train(True)[0].get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("preset", "given", "batch", "lazy"),
    [
        ("matrix_factorisation", {}, 8192, False),  # ml-1m: few rows
        ("matrix_factorisation", {}, 256, True),
        ("matrix_factorisation", {"updates": "dense"}, 256, False),
        ("matrix_factorisation", {"optimizer": "adamax"}, 256, True),
        ("matrix_factorisation", {"optimizer": "nadam"}, 256, False),  # has no such variant
        ("matrix_factorisation", {"table_reg": 1e-6}, 256, False),  # its gradient is of all rows
        ("matrix_factorisation", {"updates": "lazy"}, 8192, True),
        ("tutorial_e5", {}, 64, False),  # a tutorial's optimiser stays its own
        ("tutorial_b", {}, 32, True),
    ],
)
def test_when_it_is_chosen(preset, given, batch, lazy):
    settings = settings_of(preset, given)
    model = Factors(6040, 3706, 2, biases=settings.biases)
    assert is_lazy(model, settings, batch) == lazy
