"""Optimisers that touch only the rows a step has seen. Importing this module imports TensorFlow.

Keras' own let every row's moments decay at every step, and so read and write all tables at each of them. For 162,541
users and 59,047 items of 64 factors and steps of 8,192 ratings that is 59 ms a step with Adam, against 12 ms for the
rows that are gathered. Here moments and weights of rows that a step does not gather stay as they are, as they did for
sparse gradients in the Keras of TensorFlow 2. The rules for a gathered row are Adam's and AdaMax' (Kingma and Ba, ICLR
2015, algorithms 1 and 2), with duplicates of a row summed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


class LazyAdam(keras.optimizers.Adam):
    """Adam for tables of many rows."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update the rows that a sparse gradient names, or the whole variable."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, summed = _by_row(gradient)
        step = tf.cast(self.iterations.value + 1, summed.dtype)
        rate = tf.cast(learning_rate, summed.dtype) * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        number = self._get_variable_index(variable)
        first, second = self._momentums[number], self._velocities[number]
        momentum = _rows_of(first, rows) * self.beta_1 + (1 - self.beta_1) * summed
        velocity = _rows_of(second, rows) * self.beta_2 + (1 - self.beta_2) * tf.square(summed)
        _put(first, rows, momentum)
        _put(second, rows, velocity)
        _subtract(variable, rows, rate * momentum / (tf.sqrt(velocity) + self.epsilon))


class LazyAdamax(keras.optimizers.Adamax):
    """AdaMax for tables of many rows."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update the rows that a sparse gradient names, or the whole variable."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, summed = _by_row(gradient)
        step = tf.cast(self.iterations.value + 1, summed.dtype)
        rate = tf.cast(learning_rate, summed.dtype) / (1 - self.beta_1**step)
        number = self._get_variable_index(variable)
        first, norm = self._m[number], self._u[number]
        momentum = _rows_of(first, rows) * self.beta_1 + (1 - self.beta_1) * summed
        largest = tf.maximum(_rows_of(norm, rows) * self.beta_2, tf.abs(summed))
        _put(first, rows, momentum)
        _put(norm, rows, largest)
        _subtract(variable, rows, rate * momentum / (largest + self.epsilon))


LAZY: Mapping[str, type[keras.optimizers.Optimizer]] = {"adam": LazyAdam, "adamax": LazyAdamax}


def _by_row(gradient: tf.IndexedSlices) -> tuple[Any, Any]:
    """The rows it names, each once, and the sum of its values for each."""
    rows, place = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, place, tf.shape(rows)[0])


def _rows_of(table: Any, rows: Any) -> Any:
    return tf.gather(_of_tensorflow(table), rows)


def _put(table: Any, rows: Any, values: Any) -> None:
    _of_tensorflow(table).scatter_update(tf.IndexedSlices(values, rows))


def _subtract(table: Any, rows: Any, values: Any) -> None:
    _of_tensorflow(table).scatter_sub(tf.IndexedSlices(values, rows))


def _of_tensorflow(variable: Any) -> tf.Variable:
    return variable if isinstance(variable, tf.Variable) else variable.value
