"""The mean of many products of thin matrices, kept as one product of thin matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class MeanProduct:
    """(left_1 right_1^T + ... + left_s right_s^T) / s, but for what lies beyond the largest `rank` singular values.

    A posterior mean of a factorisation is such a mean over the samples of a chain. All samples together are hundreds
    of times as large as one; their mean is smooth, and a product of a rank of the order of 100 is as good.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._waiting: list[tuple[Matrix, Matrix]] = []
        self._samples = 0

    def add(self, left: Matrix, right: Matrix) -> None:
        """Add the product of (n, size) and (m, size)."""
        self._waiting.append((left.copy(), right.copy()))
        self._samples += 1
        if sum(one.shape[1] for one, _ in self._waiting) >= 2 * self._rank + left.shape[1]:
            self._waiting = [self._largest()]

    def factors(self) -> tuple[Matrix, Matrix]:
        """(n, r) and (m, r), r <= rank, whose product is the mean; columns by descending size, equal on both sides."""
        left, right = self._largest()
        return left / np.sqrt(self._samples), right / np.sqrt(self._samples)

    def _largest(self) -> tuple[Matrix, Matrix]:
        left, left_rest = np.linalg.qr(np.hstack([one for one, _ in self._waiting]))
        right, right_rest = np.linalg.qr(np.hstack([other for _, other in self._waiting]))
        turn, values, back = np.linalg.svd(left_rest @ right_rest.T)
        root = np.sqrt(values[: self._rank])
        return left @ (turn[:, : len(root)] * root), right @ (back[: len(root)].T * root)
