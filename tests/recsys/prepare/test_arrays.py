"""Array files."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from recsys.prepare.arrays import read_array


@pytest.mark.parametrize("kind", ["int64", "int32", "float32", "bool", "int8"])
def test_a_part_is_that_of_the_whole(tmp_path, kind):
    whole = np.arange(7).astype(kind)
    np.save(tmp_path / "a.npy", whole)
    assert_array_equal(read_array(tmp_path / "a.npy"), whole, strict=True)
    for start in range(8):
        assert_array_equal(read_array(tmp_path / "a.npy", start), whole[start:], strict=True)
        for stop in range(start, 8):
            assert_array_equal(read_array(tmp_path / "a.npy", start, stop), whole[start:stop], strict=True)


def test_a_file_that_is_cut_short_is_told(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(7))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"a\.npy is cut short: 7 entries expected from 0 on, 6 found"):
        read_array(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(ValueError, match="magic"):
        read_array(tmp_path / "a.npy")
