"""The upper triangle of a symmetric matrix of whole numbers: what a Gram matrix is summed in, kept in, and made of.

Row after row, each from the diagonal on. Whole numbers of 32 bits take a quarter of the memory of a float64 matrix, and
so of the time that a pass over them takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges

PIECES_A_THREAD = 64  # rows differ in length, and the first hold the most pairs

Matrix = NDArray[np.float64]
Sums = NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class Triangle:
    """Sums at the beginning of memory that has room for the float64 matrix that they become in the end.

    Attributes:
        room: (n, n) float64, C-contiguous; memory, not numbers, until `as_matrix`.
        kind: uint32 or uint64.
    """

    room: Matrix
    kind: np.dtype

    @classmethod
    def zeros(cls, n: int, largest: int) -> Triangle:
        """An n x n matrix of zeros, of the smaller type that holds sums up to `largest`.

        Memory that nothing is written to is not taken from the system.
        """
        return cls(np.zeros((n, n)), sum_type(largest))

    def __len__(self) -> int:
        """Rows of the matrix."""
        return len(self.room)

    @property
    def sums(self) -> Sums:
        """(n (n + 1) / 2,) of `kind`, to read and to write."""
        return self.room.reshape(-1).view(self.kind)[: entries(len(self))]

    def as_matrix(self, threads: int) -> Matrix:
        """(n, n) float64 in the memory of the sums, which are gone then; below the diagonal stands nothing of use."""
        n, sums, size = len(self), self.sums, self.kind.itemsize
        stop = n
        while stop > 0:
            # Where the matrix' row begins behind the last sum that is still to be read, rows go in any order.
            start = -(-(row_start(stop, n) + stop) * size // (8 * n))
            if start < stop:
                over_ranges(partial(_spread, sums, self.room, start), stop - start, threads, pieces_a_thread=8)
            else:
                start = stop - 1
                row = row_start(start, n)
                self.room[start, start:] = sums[row + start : row + n].copy()
            stop = start
        return self.room


def sum_type(largest: int) -> np.dtype:
    """The smaller unsigned type that holds sums up to `largest`."""
    return np.dtype(np.uint32 if largest < 1 << 32 else np.uint64)


def entries(n: int) -> int:
    """Of an upper triangle of n rows."""
    return n * (n + 1) // 2


@compiled
def row_start(row, n):  # type: ignore[no-untyped-def]
    """Column c of a row stands at `row_start` + c: at row x n - (0 + 1 + ... + row) + c."""
    return row * n - row * (row + 1) // 2


@compiled
def _spread(sums, room, top, start, stop):  # type: ignore[no-untyped-def]
    n = len(room)
    for row in range(top + start, top + stop):
        begin = row_start(row, n)
        values, target = sums[begin + row : begin + n], room[row, row:]
        for place in range(len(values)):
            target[place] = values[place]
