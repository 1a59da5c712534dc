"""Keras on TensorFlow, imported late (seconds) and made deterministic."""

from __future__ import annotations

import os
from typing import Any

from recsys.compute import thread_count
from recsys.config import ComputeConfig


def load_keras() -> Any:
    """Import Keras on TensorFlow, without the lines TensorFlow prints about the processor."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels may sum in another order on another processor
    import keras

    return keras


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
