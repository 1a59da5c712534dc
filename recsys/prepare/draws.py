"""Random draws that belong to a pair of ids: the same whatever else the input holds, and in whatever order.

Each distinct id is hashed once: an integer by the mixer of splitmix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014), a string by FNV-1a over its UTF-8 bytes and then by the mixer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.compute import compiled
from recsys.identifiers import IdMap

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's step
FNV_START, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@compiled
def mix(x):  # type: ignore[no-untyped-def]
    """splitmix64's output function: a bijection of 64 bits, each of which depends on all."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True, eq=False)
class Draws:
    """The draw of a rating is mix(user[user_index] + item[item_index]), modulo 2**64.

    Attributes:
        user: (n_users,) uint64, hash of each user id under the seed.
        item: (n_items,) uint64, likewise, under another key.
    """

    user: NDArray[np.uint64]
    item: NDArray[np.uint64]

    @classmethod
    def of(cls, ids: IdMap, seed: int) -> Draws:
        """The draws of a seed."""
        return cls(*(_hashes(of, np.uint64(2 * seed + role)) for role, of in enumerate((ids.user_ids, ids.item_ids))))


def _hashes(ids: pa.Array, key: np.uint64) -> NDArray[np.uint64]:
    """(n,) hash of each id under a key."""
    if pa.types.is_integer(ids.type):
        codes = ids.to_numpy().astype(np.int64).view(np.uint64)
    else:
        texts = ids.cast(pa.large_binary())
        _, offsets, text = texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        codes = _of_texts(np.frombuffer(text or b"", np.uint8), ends)
    return _keyed(codes, key)


@compiled
def _of_texts(text, ends):  # type: ignore[no-untyped-def]
    """(n,) uint64 FNV-1a of text[ends[i]:ends[i + 1]]."""
    out = np.empty(len(ends) - 1, np.uint64)
    for place in range(len(out)):
        code = FNV_START
        for at in range(ends[place], ends[place + 1]):
            code = (code ^ np.uint64(text[at])) * FNV_PRIME
        out[place] = code
    return out


@compiled
def _keyed(codes, key):  # type: ignore[no-untyped-def]
    out = np.empty(len(codes), np.uint64)
    start = mix((key + np.uint64(1)) * GOLDEN)
    for place in range(len(codes)):
        out[place] = mix(mix(codes[place] + GOLDEN) ^ start)
    return out
