"""Distinct ids of an input whose blocks come one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.read.pieces import Pieces

MOST_WAITING = 1 << 20  # ids: 8 MB of integers, and a look at them takes a few hundredths of a second


class Numbering:
    """Numbers ids in the order in which they first come; a block's numbers lie in `pieces`, only the ids in memory.

    Blocks' ids wait until there are as many of them as there are distinct ones, so that all looks together cost no
    more than twice the last one, and memory stays proportional to the distinct ids.

    Args:
        first: distinct ids that are numbered in any case.
    """

    def __init__(self, pieces: Pieces, first: pa.Array | None = None) -> None:
        self._pieces, self._ids = pieces, first
        self._waiting: list[pa.Array] = []
        self._n_waiting = 0

    def add(self, ids: pa.Array) -> None:
        """Take the ids of the next block; one may stand there twice."""
        self._waiting.append(ids)
        self._n_waiting += len(ids)
        if self._n_waiting > max(MOST_WAITING, 0 if self._ids is None else len(self._ids)):
            self._number()

    def ascending(self) -> tuple[pa.Array, NDArray[np.int32]]:
        """All ids, ascending (strings by UTF-8 bytes), and of each number its position in them."""
        self._number()
        assert self._ids is not None  # an input without a block is refused
        order = pc.sort_indices(self._ids)
        position = np.empty(len(order), np.int32)
        position[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
        return self._ids.take(order), position

    def of_block(self, block: int) -> NDArray[np.int32]:
        """(n,) the numbers of a block's ids, once `ascending` has been asked for."""
        return self._pieces[block]

    def _number(self) -> None:
        if not self._waiting:
            return
        lists = self._waiting if self._ids is None else [self._ids, *self._waiting]
        encoded = pa.chunked_array(lists).dictionary_encode()
        numbers = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
        each = np.split(numbers, np.cumsum([len(ids) for ids in lists])[:-1])  # a list without ids has no chunk
        for block in each[len(lists) - len(self._waiting) :]:
            self._pieces.append(block)
        self._ids = encoded.chunk(0).dictionary  # all chunks share it, and known ids keep their numbers
        self._waiting, self._n_waiting = [], 0
