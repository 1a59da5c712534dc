"""Draws by ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.identifiers import IdMap
from recsys.prepare.draws import Draws, mix

MASK = 2**64 - 1
IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, unique=True) | st.lists(st.text(), min_size=1, unique=True)


def naive_mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def naive_code(value):
    if isinstance(value, int):
        return value & MASK
    code = 0xCBF29CE484222325
    for byte in value.encode():
        code = (code ^ byte) * 0x100000001B3 & MASK
    return code


def naive_hash(value, key):
    golden = 0x9E3779B97F4A7C15
    return naive_mix(naive_mix((naive_code(value) + golden) & MASK) ^ naive_mix((key + 1) * golden & MASK))


def test_splitmix64_gives_its_known_numbers():
    """The first numbers of the generator seeded with 1234567, by its authors' program."""
    state = np.uint64(1234567)
    found = []
    for step in range(1, 4):
        found.append(int(mix(np.uint64((int(state) + step * 0x9E3779B97F4A7C15) & MASK))))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(users=IDS, items=IDS, seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_naive_twin_agrees(users, items, seed):
    draws = Draws.of(IdMap(pa.array(users), pa.array(items)), seed)
    assert draws.user.tolist() == [naive_hash(value, 2 * seed) for value in users]
    assert draws.item.tolist() == [naive_hash(value, 2 * seed + 1) for value in items]


def test_a_slice_of_ids_is_hashed_as_the_whole():
    for ids in (pa.array(["a", "", "b\u00e9", "c"]), pa.array([1, 2, 3, 4])):
        whole, part = (Draws.of(IdMap(each, each), 5) for each in (ids, ids.slice(1, 2)))
        assert_array_equal(part.user, whole.user[1:3])
        assert_array_equal(part.item, whole.item[1:3])
