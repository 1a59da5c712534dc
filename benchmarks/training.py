"""The nightly rater's compiled training, beside Keras' compiled epochs and plain Keras `fit` of the same model.

    python -m benchmarks.training --mirror DIR

Biases and 64 factors. On 90% of ml-1m: seconds an epoch, and until the other 10% are predicted with an RMSE of
`TARGET`. On random ratings of ml-25m's shape: seconds an epoch; Keras' are taken on a sample of the ratings, with
tables of full size, and multiplied. Compilation is in the seconds until the target and not in those of an epoch, which
are a median.
Each runs in a process of its own; prediction of the held-out part is taken out of all times.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.kept import Figures
from benchmarks.measured import Clock
from benchmarks.page import Given
from benchmarks.sooner import alone
from benchmarks.tutorials import ratings_of
from recsys.compute import peak_memory_mib, thread_count
from recsys.config import ComputeConfig
from recsys.models.keras_backend import start_training
from recsys.models.matrix_factorisation import MatrixFactorisation
from recsys.models.registry import settings_of
from recsys.prepare.split import random_split
from recsys.train.descent import Descent, first_tables, mean_square
from recsys.train.rated import Pairs
from recsys.train.strata import strata_of

TARGET = 0.845
SHAPE, RATINGS, SAMPLE = (162_541, 59_047), 25_000_095, 500_000  # ml-25m's, and how many of them Keras is timed on
PLAIN_BATCH = 1_024
TRAINERS = ("compiled", "keras epochs", "keras fit")

Row = dict[str, Any]
Curve = list[dict[str, float]]


def main() -> None:
    """Measure, and print a line a row and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", required=True, help="folder or base URL that holds ml-1m.zip")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    given = parser.parse_args()
    found: list[Row] = []
    for row in rows(given.mirror, ComputeConfig(threads=given.threads)):
        found.append(row)
        print(lines(found)[-1], flush=True)


def rows(mirror: str, compute: ComputeConfig) -> Iterator[Row]:
    """A row for each data and trainer.

    Yields:
        data, trainer, seconds_an_epoch, seconds_to_target (None: not reached, or nothing held out), rmse of the last
        epoch (None likewise), epochs, peak_mib.
    """
    trainers: dict[str, tuple[Callable[..., Row], int]] = {
        "compiled": (compiled, 20), "keras epochs": (keras_epochs, 10), "keras fit": (keras_fit, 6)
    }  # fmt: skip
    for data in ("ml-1m", "ml-25m shape"):
        for name, (train, epochs) in trainers.items():
            row = alone(train, data, mirror, compute, epochs if data == "ml-1m" else 3)
            yield {"data": data, "trainer": name, **row}


def for_page(given: Given) -> Figures:
    """For the page."""
    found = list(rows(str(given.mirror), ComputeConfig()))
    return {"rows": found, "notes": lines(found)}


def lines(found: Sequence[Row]) -> list[str]:
    """The rows for people, with how many times faster the compiled trainer is."""
    ours = {row["data"]: row for row in found if row["trainer"] == TRAINERS[0]}
    told = []
    for row in found:
        own = ours[row["data"]]
        ratio = row["seconds_an_epoch"] / own["seconds_an_epoch"]
        line = f"{row['data']}, {row['trainer']}: {row['seconds_an_epoch']:.3f} s an epoch ({ratio:,.1f} times ours)"
        if row["rmse"] is not None:
            line += f", RMSE {row['rmse']:.4f} after {row['epochs']} epochs, {TARGET} "
            line += "not reached" if row["seconds_to_target"] is None else f"after {row['seconds_to_target']:.1f} s"
        if row["seconds_to_target"] and own["seconds_to_target"]:
            line += f" ({row['seconds_to_target'] / own['seconds_to_target']:,.1f} times ours)"
        told.append(f"{line}, peak {row['peak_mib']:,} MiB")
    return told


def data_of(name: str, mirror: str) -> tuple[csr_matrix, Pairs | None]:
    """The ratings to train on, and those held out."""
    if name != "ml-1m":
        return random_ratings(SHAPE, RATINGS), None
    ratings = ratings_of(name, mirror)
    pairs = Pairs(ratings.user_index, ratings.item_index, ratings.rating)
    held_out = random_split(len(pairs), 0.1, 0)
    train = pairs.where(~held_out)
    matrix = csr_matrix((train.rating, (train.user, train.item)), shape=(ratings.n_users, ratings.n_items))
    return matrix, pairs.where(held_out)


def random_ratings(shape: tuple[int, int], n: int) -> csr_matrix:
    """About n ratings 0.5 to 5; users' activity is log-normal, items' popularity falls with their rank."""
    draw = np.random.default_rng(0)
    activity = draw.lognormal(0, 1.2, shape[0])
    user = np.repeat(np.arange(shape[0], dtype=np.int32), np.ceil(activity * n / activity.sum()).astype(np.int64))
    popularity = np.cumsum((np.arange(shape[1]) + 50.0) ** -1.1)
    item = np.searchsorted(popularity, draw.random(len(user)) * popularity[-1]).astype(np.int32)
    item = draw.permutation(shape[1]).astype(np.int32)[item]
    rating = (draw.integers(1, 11, len(user)) / 2).astype(np.float32)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(user, minlength=shape[0]))))
    return csr_matrix((rating, item, indptr), shape=shape)


def compiled(data: str, mirror: str, compute: ComputeConfig, epochs: int) -> Row:
    """Ours, as a refit trains: on all ratings, at the model's settings."""
    matrix, held_out = data_of(data, mirror)
    settings, threads, clock = settings_of("biased_mf", {}), thread_count(compute), Clock()
    with strata_of(matrix, 0.0, 0, compute.memory_mib, None) as (strata, _):
        tables = first_tables(strata, matrix.shape, settings, 0)  # type: ignore[arg-type]
        training = Descent(tables, strata, settings, 0, threads)  # type: ignore[arg-type]
        curve: Curve = []
        for number in range(1, epochs + 1):
            training.epoch(number)
            look(curve, clock, None if held_out is None else lambda: mean_square(tables, held_out, threads))
    return figures(curve, 1.0)


def keras_epochs(data: str, mirror: str, compute: ComputeConfig, epochs: int) -> Row:
    """`matrix_factorisation` at its own settings."""
    matrix, held_out = data_of(data, mirror)
    rated, share = sampled(matrix, held_out)
    settings = settings_of("matrix_factorisation", {})
    clock = Clock()
    start_training(0, compute)
    from recsys.train.epochs import Schedule, train_epochs
    from recsys.train.pairs import batch_for, is_lazy, validation

    network, losses = MatrixFactorisation.build(matrix.shape, rated, settings, 0)  # type: ignore[arg-type]
    batch = batch_for(matrix.nnz)
    schedule = Schedule(
        epochs, epochs, batch, settings.learning_rate, settings.final_rate, settings.epochs,  # type: ignore[attr-defined]
        lazy=is_lazy(network, settings, batch),  # type: ignore[arg-type]
    )  # fmt: skip
    curve: Curve = []
    error = None if held_out is None else validation(network, held_out, "mse")

    def validate() -> float:
        look(curve, clock, error)
        return 1.0 / len(curve)

    train_epochs(network, rated.examples, losses, schedule, 0, validate)
    return figures(curve, share)


def keras_fit(data: str, mirror: str, compute: ComputeConfig, epochs: int) -> Row:
    """The same network, started alike, through `compile` and `fit` with Adam, without regularisation."""
    matrix, held_out = data_of(data, mirror)
    rated, share = sampled(matrix, held_out)
    settings = settings_of("matrix_factorisation", {})
    clock = Clock()
    start_training(0, compute)
    import keras

    from recsys.train.pairs import validation

    network, _ = MatrixFactorisation.build(matrix.shape, rated, settings, 0)  # type: ignore[arg-type]
    network.compile(optimizer="adam", loss="mse")
    error = None if held_out is None else validation(network, held_out, "mse")
    curve: Curve = []
    done = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: look(curve, clock, error))
    inputs = (rated.user, rated.item)
    network.fit(inputs, rated.rating, batch_size=PLAIN_BATCH, epochs=epochs, verbose=0, callbacks=[done])
    return figures(curve, share)


def sampled(matrix: csr_matrix, held_out: Pairs | None) -> tuple[Pairs, float]:
    """The ratings, or a sample where nothing is held out, and which share of all that is."""
    whole = matrix.tocoo()
    pairs = Pairs(whole.row.astype(np.int32), whole.col.astype(np.int32), matrix.data)
    if held_out is not None:
        return pairs, 1.0
    chosen = np.sort(np.random.default_rng(1).permutation(len(pairs))[:SAMPLE])
    return Pairs(pairs.user[chosen], pairs.item[chosen], pairs.rating[chosen]), len(chosen) / len(pairs)


def look(curve: Curve, clock: Clock, error: Callable[[], float] | None) -> None:
    """Note the time after an epoch, and the RMSE, whose own time is left out."""
    took = clock.read()
    curve.append(took if error is None else {**took, "rmse": error() ** 0.5})
    clock.leave_out(took)


def figures(curve: Curve, share: float) -> Row:
    """What a row says of a curve; the first epoch has compilation in it."""
    each = np.diff([epoch["seconds"] for epoch in curve])
    there = [epoch["seconds"] for epoch in curve if epoch.get("rmse", np.inf) <= TARGET]
    return {
        "seconds_an_epoch": float(np.median(each)) / share, "seconds_to_target": there[0] if there else None,
        "rmse": curve[-1].get("rmse"), "epochs": len(curve), "peak_mib": peak_memory_mib(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
