"""Keras on TensorFlow, imported late (seconds) and made deterministic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compute import thread_count
from recsys.config import ComputeConfig


def load_keras() -> Any:
    """Import Keras on TensorFlow, without the lines TensorFlow prints about the processor."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels may sum in another order on another processor
    import keras

    return keras


def save_network(folder: Path, name: str, settings: Mapping[str, Any], weights: Mapping[str, NDArray]) -> None:
    """Write a class of `recsys.models.networks` with its weights to `model.keras`.

    Args:
        settings: the constructor's arguments.
        weights: in Keras' order.
    """
    load_keras()
    from recsys.models import networks

    network = getattr(networks, name)(**settings)
    network.set_weights(list(weights.values()))
    network.save(folder / "model.keras")


def load_network(folder: Path) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """Weights by path, in Keras' order, and the constructor's arguments, from `model.keras`."""
    keras = load_keras()
    from recsys.models import networks  # noqa: F401  (registers the classes with Keras)

    network = keras.saving.load_model(folder / "model.keras", compile=False)
    return weights_of(network), network.settings


def weights_of(network: Any) -> dict[str, NDArray]:
    """The network's weights by path, in the order in which Keras sets them."""
    return {variable.path: np.asarray(variable) for variable in network.weights}


def start_training(seed: int, compute: ComputeConfig) -> None:
    """Seed all generators, ask for deterministic kernels and the declared number of threads."""
    keras = load_keras()
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(thread_count(compute))
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has run before in this process and keeps its first setting
        return
