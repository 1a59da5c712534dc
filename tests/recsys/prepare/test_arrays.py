"""Array files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.prepare.arrays import ArrayWriter, read_array


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


@given(pieces=st.lists(st.lists(st.integers(0, 1), max_size=5), max_size=5),
       kind=st.sampled_from(["int64", "int32", "float32", "bool"]))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_what_is_written_piece_by_piece_is_what_numpy_saves(tmp_path_factory, pieces, kind):
    folder = tmp_path_factory.mktemp("arrays")
    with ArrayWriter(folder / "a.npy", kind) as file:
        for piece in pieces:
            file.append(np.array(piece, np.int64))
    np.save(folder / "b.npy", np.array([value for piece in pieces for value in piece], kind))
    assert (folder / "a.npy").read_bytes() == (folder / "b.npy").read_bytes()


def test_a_file_that_was_not_finished_is_empty_or_broken_but_never_a_shorter_array(tmp_path):
    with pytest.raises(OSError, match="full"), ArrayWriter(tmp_path / "a.npy", np.int64) as file:
        file.append(np.arange(7))
        raise OSError("full")
    assert len(read_array(tmp_path / "a.npy")) == 0
