"""Models under names of their own, with settings that differ from the model's defaults.

The tutorials' systems keep their own sizes, losses, optimisers and batches; what a tutorial leaves to Keras is as Keras
has it. Their early stopping, where they have one, watched the held-out ratings; here it watches a validation slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A model with settings.

    Attributes:
        model: its name in the registry.
        about: one line for people.
        settings: those that differ from the model's defaults.
    """

    model: str
    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)


# A plain dot product as Keras' Embedding layers make it: uniform start, no biases, no regularisation, constant rate.
_DOT = {
    "biases": False, "start": "zero", "reg": 0.0, "bias_reg": 0.0, "initializer": "uniform", "init_scale": 0.05,
    "learning_rate": 1e-3, "final_rate": 1.0, "rows": "all", "updates": "dense",
}  # fmt: skip
_A = {**_DOT, "embedding_size": 50, "initializer": "he_normal", "table_reg": 1e-6, "batch": 64, "epochs": 5}
# 2e-3 was AdaMax's own rate before Keras came with TensorFlow (Keras 3: 1e-3), and rows that a step does not gather
# rested in the Keras of TensorFlow 2. Where they do not (`updates` dense) a row's largest gradient is forgotten between
# its steps, 28,000 an epoch at this batch, so that each step is nearly the rate itself: noise that ends at 0.8654.
_B = {
    **_DOT, "embedding_size": 100, "optimizer": "adamax", "learning_rate": 2e-3, "batch": 32, "epochs": 30,
    "validation_fraction": 0.1, "updates": "lazy",
}  # fmt: skip
_E = {**_DOT, "spare_rows": 1, "batch": 64, "epochs": 100, "patience": 100, "validation_fraction": 0.0}


def _tutorial_e(size: int) -> Preset:
    return Preset("matrix_factorisation", f"tutorial E: dot product, {size} factors", {**_E, "embedding_size": size})


PRESETS: Mapping[str, Preset] = {
    "ease": Preset("edlae", "linear autoencoder, closed form (Steck 2019)", {"dropout": 0.0}),
    # Found on validation slices of ml-1m (all ratings, and those of 4 and 5), ml-100k and ml-latest-small.
    "weighted_edlae": Preset(
        "edlae",
        "edlae with active users weighing less and rare items lifted: the best lists here",
        {"reg": 800.0, "dropout": 0.6, "user_power": 0.7, "item_power": 0.2},
    ),
    "tutorial_a1": Preset("matrix_factorisation", "tutorial A1: dot product, 50 factors, weight decay", _A),
    "tutorial_a2": Preset(
        "matrix_factorisation",
        "tutorial A2: A1 with biases through a scaled sigmoid",
        {**_A, "biases": True, "output": "sigmoid"},
    ),
    "tutorial_a3": Preset(
        "recommender_net",
        "tutorial A3: RecommenderNet, 50 numbers, 10 hidden units",
        {"rows": "all", "epochs": 5, "final_rate": 1.0},
    ),
    "tutorial_b": Preset(
        "matrix_factorisation",
        "tutorial B: dot product, 100 factors, AdaMax, early stopping",
        _B,
    ),
    "tutorial_c": Preset(
        "matrix_factorisation",
        "tutorial C: dot product, 64 factors, absolute error",
        {**_DOT, "loss": "mae", "batch": 64, "epochs": 10, "patience": 10, "validation_fraction": 0.1},
    ),
    "tutorial_d": Preset("masked_autoencoder", "tutorial D: linear masked autoencoder; with --top-items 500"),
    **{f"tutorial_e{size}": _tutorial_e(size) for size in (20, 10, 5)},
}
