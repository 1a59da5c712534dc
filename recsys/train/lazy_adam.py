"""Adam that touches only the rows a step has seen. Importing this module imports TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class LazyAdam(keras.optimizers.Adam):
    """Adam for tables of many rows: moments and weights of rows that a step does not gather stay as they are.

    Adam itself lets every row's moments decay at every step, and so reads and writes all tables at each of them. For
    162,541 users and 59,047 items of 64 factors and steps of 8,192 ratings that is 59 ms a step, against 12 ms for the
    rows that are gathered. The rule for a gathered row is Adam's (Kingma and Ba, ICLR 2015).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update the rows that a sparse gradient names, or the whole variable."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, place = tf.unique(gradient.indices)
        summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.shape(rows)[0])
        step = tf.cast(self.iterations.value + 1, summed.dtype)
        rate = tf.cast(learning_rate, summed.dtype) * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        number = self._get_variable_index(variable)
        table, first, second = map(_of_tensorflow, (variable, self._momentums[number], self._velocities[number]))
        momentum = tf.gather(first, rows) * self.beta_1 + (1 - self.beta_1) * summed
        velocity = tf.gather(second, rows) * self.beta_2 + (1 - self.beta_2) * tf.square(summed)
        first.scatter_update(tf.IndexedSlices(momentum, rows))
        second.scatter_update(tf.IndexedSlices(velocity, rows))
        change = rate * momentum / (tf.sqrt(velocity) + self.epsilon)
        table.scatter_sub(tf.IndexedSlices(change, rows))


def _of_tensorflow(variable: Any) -> tf.Variable:
    return variable if isinstance(variable, tf.Variable) else variable.value
