"""Training of a matrix factorisation with biases by stochastic gradient descent, in compiled threads.

    min  sum over ratings (rating - overall - a[u] - b[i] - p[u] . q[i])^2
         + reg(u) |p[u]|^2 + reg(i) |q[i]|^2 + bias_reg (a[u]^2 + b[i]^2)

one rating after the other (Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems",
Computer 42(8), 2009), in strata of blocks that touch disjoint rows (`recsys.train.strata`): equal for any number of
threads. Strata are done in an order of the epoch's own.

Settings are for ratings of standard deviation 1. With s the one that there is, factors grow as sqrt(s), so that steps
are divided by it and the factors' regularisation multiplied: ratings times ten are learned as well, ten times as large.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled_fast, over_ranges
from recsys.train.checkpoint import Arrays, Checkpoints
from recsys.train.loop import Trained, run_epochs
from recsys.train.rated import Pairs, counts, damped_means, strength
from recsys.train.strata import SIDE, Strata

if TYPE_CHECKING:
    from recsys.models.biased_mf import BiasedMFSettings

WATCHED = 1 << 14  # pairs of the validation slice summed at once

Table = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tables:
    """What is learned; a training changes the arrays in place.

    Attributes:
        overall: mean rating, which stays.
        unit: standard deviation of the ratings; 1 where they are all alike.
        users: (n_users, size) float32.     items: (n_columns, size) float32.
        user_bias: (n_users,) float32.     item_bias: (n_columns,) float32.
    """

    overall: float
    unit: float
    users: Table
    items: Table
    user_bias: Table
    item_bias: Table

    @property
    def arrays(self) -> tuple[Table, Table, Table, Table]:
        """All that is learned."""
        return self.users, self.items, self.user_bias, self.item_bias


def first_tables(strata: Strata, shape: tuple[int, int], settings: BiasedMFSettings, seed: int) -> Tables:
    """Small random factors, and biases at damped means."""
    overall, user_bias, item_bias = damped_means(strata, shape, settings.damping)
    squares = sum(float(np.sum((block.rating - np.float64(overall)) ** 2)) for block in strata.blocks())
    unit = (squares / len(strata)) ** 0.5 or 1.0
    draw, scale = np.random.default_rng(seed), np.float32(settings.init_scale * unit**0.5)
    users, items = (draw.standard_normal((rows, settings.embedding_size), np.float32) * scale for rows in shape)
    return Tables(overall, unit, users, items, user_bias, item_bias)


def descend(
    tables: Tables,
    strata: Strata,
    watched: Pairs,
    settings: BiasedMFSettings,
    *,
    epochs: int,
    seed: int,
    threads: int,
    checkpoints: Path | None = None,
) -> Trained:
    """Train; in the end `tables` are those of the best epoch.

    Args:
        epochs: at most; `settings.epochs` is the horizon of the learning rate.
        watched: pairs whose squared error decides which epoch is the best; where there are none, all epochs are done.
        checkpoints: a folder for the training's state.

    Raises:
        UsageError: the loss is no longer a finite number.
    """
    training = Descent(tables, strata, settings, seed, threads)
    validate: Callable[[], float] | None = (lambda: mean_square(tables, watched, threads)) if len(watched) else None
    parts = [settings.model_dump(), epochs, seed, len(strata), len(watched), [each.shape for each in tables.arrays]]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return run_epochs(training, epochs, settings.patience, validate, Checkpoints(checkpoints, key))


def mean_square(tables: Tables, pairs: Pairs, threads: int) -> float:
    """Mean squared error of some pairs, summed in float64 in pieces that are the same for any number of threads."""
    sums = np.zeros(-(-len(pairs) // WATCHED))

    def work(start: int, stop: int) -> None:
        for piece in range(start, stop):
            own = slice(piece * WATCHED, (piece + 1) * WATCHED)
            sums[piece] = _squares(
                pairs.user[own], pairs.item[own], pairs.rating[own], np.float32(tables.overall), *tables.arrays
            )

    over_ranges(work, len(sums), threads)
    return float(sums.sum() / len(pairs))


class Descent:
    """A training under way."""

    name = "biased_mf"

    def __init__(self, tables: Tables, strata: Strata, settings: BiasedMFSettings, seed: int, threads: int) -> None:
        self.tables, self.strata, self.settings, self.seed, self.threads = tables, strata, settings, seed, threads
        self.user_reg, self.item_reg = (
            strength(counts(strata, side, len(rows)), settings.reg * tables.unit, settings.reg_power)
            for side, rows in (("user", tables.users), ("item", tables.items))
        )

    def epoch(self, number: int) -> float:
        """One pass over all ratings; returns their mean squared error, each as it was before its step."""
        rate = self.rate(number)
        losses = np.zeros(SIDE * SIDE)
        for stratum in np.random.default_rng([self.seed, number]).permutation(SIDE):
            first = int(stratum) * SIDE

            def work(start: int, stop: int, first: int = first) -> None:
                step_blocks(
                    first + start, first + stop, self.strata.edges, self.strata.user, self.strata.item,
                    self.strata.rating, np.float32(self.tables.overall), *self.tables.arrays,
                    np.float32(rate / self.tables.unit), np.float32(rate * self.settings.bias_rate),
                    self.user_reg, self.item_reg, np.float32(self.settings.bias_reg), losses,
                )  # fmt: skip

            over_ranges(work, SIDE, self.threads)
        return float(losses.sum() / len(self.strata))

    def rate(self, number: int) -> float:
        """The learning rate of an epoch: it falls by equal factors, to `final_rate` times the first at the horizon."""
        settings = self.settings
        return settings.learning_rate * settings.final_rate ** ((number - 1) / max(settings.epochs - 1, 1))

    def weights(self) -> Arrays:
        """Copies."""
        return [array.copy() for array in self.tables.arrays]

    def optimizer_state(self) -> Arrays:
        """None: the next epoch follows from its number and the tables."""
        return []

    def restore(self, weights: Arrays, optimizer_state: Arrays | None) -> None:
        """Into the tables."""
        for array, value in zip(self.tables.arrays, weights, strict=True):
            array[:] = value


@compiled_fast
def step_blocks(  # type: ignore[no-untyped-def]
    first, last, edges, user, item, rating, overall, users, items, user_bias, item_bias,
    rate, bias_rate, user_reg, item_reg, bias_reg, losses,
):  # fmt: skip
    """A step down the gradient for each rating of blocks first..last; the sums of their squared errors to `losses`."""
    size = users.shape[1]
    one = np.float32(1.0)
    for block in range(first, last):
        squares = 0.0
        for place in range(edges[block], edges[block + 1]):
            u, i = user[place], item[place]
            p, q = users[u], items[i]
            product = np.float32(0.0)
            for k in range(size):
                product += p[k] * q[k]
            error = rating[place] - overall - user_bias[u] - item_bias[i] - product
            squares += np.float64(error) * np.float64(error)
            step = rate * error
            keep_p, keep_q = one - rate * user_reg[u], one - rate * item_reg[i]
            for k in range(size):
                was = p[k]
                p[k] = keep_p * was + step * q[k]
                q[k] = keep_q * q[k] + step * was
            user_bias[u] += bias_rate * (error - bias_reg * user_bias[u])
            item_bias[i] += bias_rate * (error - bias_reg * item_bias[i])
        losses[block] = squares


@compiled_fast
def _squares(user, item, rating, overall, users, items, user_bias, item_bias):  # type: ignore[no-untyped-def]
    size = users.shape[1]
    total = 0.0
    for place in range(len(user)):
        p, q = users[user[place]], items[item[place]]
        product = np.float32(0.0)
        for k in range(size):
            product += p[k] * q[k]
        error = rating[place] - overall - user_bias[user[place]] - item_bias[item[place]] - product
        total += np.float64(error) * np.float64(error)
    return total
