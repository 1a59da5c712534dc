"""The five tutorials at their own settings and on their own splits, beside what they print.

Predictions are raw, as the tutorials have them: not clipped to the scale, and rows of the tables that were never
trained are used as they started.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Figures
from benchmarks.measured import Clock
from benchmarks.rating_records import snapshot
from recsys.config import ComputeConfig, InputConfig
from recsys.models.base import FitContext
from recsys.models.keras_backend import start_training
from recsys.models.keras_pairs import KerasPairModel
from recsys.models.registry import rater, settings_of
from recsys.prepare.split import random_split
from recsys.prepare.training_set import build_training_set
from recsys.ratings import Ratings
from recsys.read import read_ratings
from recsys.train.rated import Pairs, validation_slice

FORMULAS = {
    "mse_raw": "mean squared error over the held-out ratings, predictions not clipped",
    "rmse_raw": "its square root",
    "mae_raw": "mean absolute error over the held-out ratings, predictions not clipped",
    "hidden_and_shown": "0.8 x mean squared error of the hidden preferences + 0.2 x that of the shown ones, mean of "
    "an epoch's steps",
}

_A = (
    "ml-latest-small of 2016 in file order, `train_test_split(test_size=0.1, random_state=42)`; the seed is the "
    "model's. The tutorial validates on the held-out part and quotes "
)
_E = "ml-100k, 80/20, the seed draws the split and is the model's; after the last of 100 epochs, batch 64."


@dataclass(frozen=True)
class Tutorial:
    """A row of the table.

    Attributes:
        held_out: share of the ratings that is not learned from.
        split_seed: of the split; None: the model's seed draws it too.
        figure: what of `measure` stands beside the tutorial's figure; `formula` is its id.
        published: the tutorial's figure, and `parameters` its count; None where it prints none.
        rerun, their_seconds: of the tutorial's own code on a 2-core machine with Keras 3.15, or as it says itself.
        bar: what is to be reached, at most.
        above: parts whose figure must lie below this one's.
        stops_early: whether its training stops by the held-out part.
        settings: that differ from the preset's.
    """

    preset: str
    dataset: str
    protocol: str
    figure: str
    formula: str
    published: float
    bar: float
    held_out: float = 0.0
    split_seed: int | None = None
    parameters: int | None = None
    rerun: str = "not re-run"
    their_seconds: str = ""
    above: tuple[str, ...] = ()
    stops_early: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


TUTORIALS: Mapping[str, Tutorial] = {
    "A1": Tutorial(
        "tutorial_a1", "ml-latest-small-2016", _A + "the last of 5 epochs.", "last", "mse_raw", 1.2209, 1.26, 0.1, 42,
        486_850, "1.2314", "31",
    ),
    "A2": Tutorial(
        "tutorial_a2", "ml-latest-small-2016", _A + "the best of 5 epochs.", "best", "mse_raw", 0.7646, 0.766, 0.1, 42,
        496_587, "0.7612", "30",
    ),
    "A3": Tutorial(
        "tutorial_a3", "ml-latest-small-2016", _A + "the best of 5 epochs.", "best", "mse_raw", 0.7820, 0.786, 0.1, 42,
        487_871, "0.7763", "25",
    ),
    "B": Tutorial(
        "tutorial_b", "ml-1m", "ml-1m, 10% held out at random, the seed draws the split and is the model's. As in the "
        "tutorial the held-out part stops the training (patience 2) and its best epoch is quoted; batch 32; AdaMax at "
        "2e-3, its rate in the Keras of the tutorial's time, rows that a step does not gather at rest, as in that of "
        "TensorFlow 2. Where they move too, as in Keras 3, seed 0 ends at 0.8654 (batch 128: 0.8583 +- 0.0006).",
        "rmse", "rmse_raw", 0.8616, 0.8616, 0.1, None, None, "0.8612 with batch 128", "10,800; 1,173 with batch 128",
        stops_early=True,
    ),
    "C": Tutorial(
        "tutorial_c", "ml-100k", "ml-100k, `train_test_split(test_size=0.2, random_state=0)`; 10% of the rest is drawn "
        "by the model's seed and not learned from (the tutorial watches it); after the last of 10 epochs.",
        "mae", "mae_raw", 0.75, 0.75, 0.2, 0, None, "0.7416", "30",
    ),
    "D": Tutorial(
        "tutorial_d", "ml-1m", "ml-1m, the 500 most rated items, all users; the training loss of the last of 100 "
        "epochs, no early stopping. Second figure: 10% of the users are watched instead (patience 3), the best epoch's "
        "loss on them.",
        "loss", "hidden_and_shown", 0.6321, 0.6321, parameters=None, rerun="0.6241",
    ),
    "E20": Tutorial("tutorial_e20", "ml-100k", _E, "mse", "mse_raw", 1.6322, np.inf, 0.2, None, 52_540, above=("E10",)),
    "E10": Tutorial("tutorial_e10", "ml-100k", _E, "mse", "mse_raw", 1.1858, np.inf, 0.2, None, above=("E5",)),
    "E5": Tutorial("tutorial_e5", "ml-100k", _E, "mse", "mse_raw", 0.9430, 0.95, 0.2, None),
}  # fmt: skip


def ratings_of(dataset: str, mirror: str) -> Ratings:
    """The ratings of an archive of the mirror, in file order."""
    with tempfile.TemporaryDirectory() as raw:
        return read_ratings(snapshot(dataset, mirror, Path(raw)), InputConfig())


def measure(tutorial: Tutorial, ratings: Ratings, seed: int, compute: ComputeConfig, **changes: Any) -> Figures:
    """Train at the tutorial's own settings, less `changes`, and measure as the tutorial does."""
    changes = {**tutorial.settings, **changes}
    if tutorial.preset == "tutorial_d":
        return _autoencoder(ratings, seed, compute, changes)
    held_out = random_split(
        len(ratings), tutorial.held_out, seed if tutorial.split_seed is None else tutorial.split_seed
    )
    if not tutorial.stops_early:
        changes = {"patience": 1_000, **changes}
    watched = tutorial.figure in ("last", "best", "rmse")
    return trained_pairs(tutorial.preset, changes, ratings, held_out, seed, compute, watched=watched)


def trained_pairs(
    preset: str, changes: Mapping[str, Any], ratings: Ratings, held_out: np.ndarray, seed: int, compute: ComputeConfig,
    *, watched: bool,
) -> Figures:  # fmt: skip
    """Train a model of pairs on what is not held out; `watched`: the held-out part is predicted after each epoch.

    Returns:
        parameters; seconds and cpu_seconds from before the model is built to the end of the training; mse, mae and
        rmse on the held-out part by the weights that are kept: the best epoch's if watched, else the last one's;
        if watched also best_epoch, and the squared errors best, last and by epoch (curve).
    """
    start_training(seed, compute)
    from recsys.train.pairs import train_pairs, validation  # imports TensorFlow

    model, settings = rater(preset), settings_of(preset, changes)
    assert issubclass(model, KerasPairModel)
    pairs = Pairs(ratings.user_index, ratings.item_index, ratings.rating)
    train, test = pairs.where(~held_out), pairs.where(held_out)
    if not watched:
        train = train.where(~validation_slice(len(train), settings.validation_fraction, seed))
    shape = (ratings.n_users + settings.spare_rows, ratings.n_items + settings.spare_rows)
    clock = Clock()
    network, losses = model.build(shape, train, settings, seed)
    trained = train_pairs(
        network, train, losses, settings, epochs=settings.epochs, seed=seed, watched=test if watched else None,
        noise=network.noise_shapes,
    )  # fmt: skip
    figures: Figures = dict(clock.read())
    mse, mae = (validation(network, test, loss)() for loss in ("mse", "mae"))
    figures |= {"parameters": network.count_params(), "mse": mse, "rmse": mse**0.5, "mae": mae}
    curve = [each["validation_loss"] for each in trained.history if watched]
    if watched:
        figures |= {"best_epoch": trained.best_epoch, "best": min(curve), "last": curve[-1], "curve": curve}
    return figures


def _autoencoder(ratings: Ratings, seed: int, compute: ComputeConfig, changes: Mapping[str, Any]) -> Figures:
    """D: range of the preferences, loss at the last epoch; and the best on users that are watched instead."""
    columns = (ratings.user_index, ratings.item_index, ratings.rating)
    shape = (ratings.n_users, ratings.n_items)
    training_set = build_training_set(*columns, shape, top_items=500, min_user_ratings=1)
    context = FitContext(seed, compute)
    clock = Clock()
    plain: Any = rater("tutorial_d").fit(
        training_set, settings_of("tutorial_d", {"validation_fraction": 0.0, **changes}), context
    )
    took = clock.read()
    watched: Any = rater("tutorial_d").fit(training_set, settings_of("tutorial_d", changes), context)
    preferences = training_set.preferences.data
    return {
        **took, "parameters": sum(weight.size for weight in plain.weights.values()),
        "loss": plain.epochs[-1]["loss"], "curve": [each["loss"] for each in plain.epochs],
        "watched_loss": min(each["validation_loss"] for each in watched.epochs), "watched_epoch": watched.best_epoch,
        "lowest": float(preferences.min()), "highest": float(preferences.max()),
    }  # fmt: skip
