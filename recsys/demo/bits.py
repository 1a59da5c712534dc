"""Random numbers that are the same on every machine and in every release of NumPy.

Only raw bits of PCG64 are used, the one stream NumPy promises to keep, and integer arithmetic on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BELL_STD = 209  # of the sum of eight bytes: sqrt(8 x (256^2 - 1) / 12) = 209.02


class Bits:
    """A stream of random bits, named by a seed and a key: the same two give the same stream."""

    def __init__(self, seed: int, *key: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))

    def raw(self, count: int) -> NDArray[np.uint64]:
        """(count,) uint64, uniform."""
        return self._source.random_raw(count)

    def below(self, bound: int | NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """(count,) int64, uniform on 0 ... bound - 1 up to a bias of bound / 2^32; `bound` at most 2^31."""
        return ((self.raw(count) >> np.uint64(32)).astype(np.int64) * bound) >> 32

    def bell(self, *shape: int) -> NDArray[np.int64]:
        """`shape` int64, nearly normal: mean 0, standard deviation `BELL_STD`, within 4.9 of them.

        The sum of eight uniform bytes (Irwin-Hall): integers, where a normal sampler would call the machine's own log.
        """
        octets = self.raw(int(np.prod(shape))).view(np.uint8).reshape(*shape, 8)
        total: NDArray[np.int64] = octets.sum(axis=-1, dtype=np.int64)
        return total - 1_020
