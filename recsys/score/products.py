"""Inner products of given pairs of rows of two tables, without copies of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled


def pair_products(
    left: NDArray[np.float32], right: NDArray[np.float32], row: NDArray[np.int32], other: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(n,) left[row] . right[other], summed in float64.

    A product of two float32 is exact in float64, and the order of the sum is written down: the result is the same on
    every machine, in whatever company a pair is asked for.

    Args:
        left: (n_left, size).     right: (n_right, size). Only the rows named are touched: they may be memory-mapped.
        row, other: (n,) within the tables; not checked.
    """
    products = np.empty(len(row), np.float64)
    _fill(left, right, row, other, products)
    return products


@compiled
def _fill(left, right, row, other, products):  # type: ignore[no-untyped-def]
    size = left.shape[1]
    for pair in range(len(row)):
        x, y = left[row[pair]], right[other[pair]]
        # Four sums that do not wait for each other.
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for k in range(0, size - 3, 4):
            a += np.float64(x[k]) * np.float64(y[k])
            b += np.float64(x[k + 1]) * np.float64(y[k + 1])
            c += np.float64(x[k + 2]) * np.float64(y[k + 2])
            d += np.float64(x[k + 3]) * np.float64(y[k + 3])
        for k in range(size - size % 4, size):
            a += np.float64(x[k]) * np.float64(y[k])
        products[pair] = (a + b) + (c + d)
