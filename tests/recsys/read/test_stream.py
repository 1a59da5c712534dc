"""Ratings in blocks: pieces in memory and in files, ids numbered as they come, repeats, and all of it collected."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.config import InputConfig
from recsys.read import numbering, read_ratings, read_stream
from recsys.read.numbering import Numbering
from recsys.read.pieces import in_folder, in_memory
from recsys.read.repeats import by_pair, latest
from recsys.read.stream import Stream

IDS = st.lists(st.lists(st.integers(-5, 5), max_size=6), min_size=1, max_size=6)
TEXTS = st.lists(st.lists(st.sampled_from(["", "a", "b", "é", "zz"]), max_size=6), min_size=1, max_size=6)


@pytest.fixture(params=["in memory", "in a folder"])
def keep(request, tmp_path):
    return in_memory if request.param == "in memory" else in_folder(tmp_path)


@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_pieces_come_back_as_they_were(keep, kind):
    pieces, arrays = keep("a"), [np.arange(size).astype(kind) for size in (3, 0, 5, 1)]
    assert len(pieces) == 0
    for array in arrays:
        pieces.append(array)
    assert len(pieces) == 4
    for number in (2, 0, 1, 3):
        assert_array_equal(pieces[number], arrays[number], strict=True)


def test_pieces_of_another_try_are_gone(tmp_path):
    for values in ([1, 2, 3], [4]):
        pieces = in_folder(tmp_path)("a")
        pieces.append(np.array(values))
    assert_array_equal(pieces[0], [4])
    assert len(pieces) == 1


@given(lists=IDS | TEXTS, most=st.integers(0, 10), first=st.booleans())
@settings(max_examples=80, deadline=None)
def test_ids_are_numbered_the_same_however_many_wait(lists, most, first):
    kind = pa.int64() if isinstance(next((i for ids in lists for i in ids), 0), int) else pa.string()
    known = sorted({-5, 3}) if kind == pa.int64() else ["b", "y"]
    if not first and not any(lists):
        return
    with mock.patch.object(numbering, "MOST_WAITING", most):
        numbers = Numbering([], pa.array(known, kind) if first else None)
        for ids in lists:
            numbers.add(pa.array(ids, kind))
        ids, position = numbers.ascending()
        expected = sorted({i for each in lists for i in each} | set(known if first else []))
        assert ids.to_pylist() == expected
        for block, each in enumerate(lists):
            assert [expected[at] for at in position[numbers.of_block(block)]] == each


def test_a_given_hold_outs_row_stands_before_a_later_own_one():
    user, item, time = np.array([0, 0, 0], np.int32), np.array([1, 1, 1], np.int32), np.array([9, 5, 4])
    kept, repeated = latest(by_pair(user, item, 0, 1, 2), user, item, time, 1)
    assert (kept.tolist(), repeated) == ([1], 0)


@given(rows=st.lists(st.tuples(st.integers(2, 3), st.integers(0, 2), st.integers(0, 3)), max_size=40), data=st.data())
@settings(max_examples=300, deadline=None)
def test_of_a_pairs_rows_the_latest_stands_and_a_given_hold_outs_before_all(rows, data):
    user, item, time = (np.array([row[at] for row in rows], kind) for at, kind in ((0, "i4"), (1, "i4"), (2, "i8")))
    own, timed = data.draw(st.integers(0, len(rows))), data.draw(st.booleans())
    order = by_pair(user, item, 2, 4, 5)
    assert order.tolist() == sorted(range(len(rows)), key=lambda row: (*rows[row][:2], row))
    kept, repeated = latest(order, user, item, time if timed else time[:0], own)
    pairs = sorted({row[:2] for row in rows})
    stands = [
        max((at for at, row in enumerate(rows) if row[:2] == pair), key=lambda at: (at >= own, timed and time[at], at))
        for pair in pairs
    ]
    assert kept.tolist() == stands
    assert repeated == own - len({row[:2] for row in rows[:own]})


ROWS = [f"{user},{item},{1 + (user + item) % 5},{(user * item) % 7}" for user in (3, 1, 2, 3) for item in (5, 4, 4)]
CONTENT = "userId,movieId,rating,timestamp\n" + "\n".join([*ROWS, "1,5,99,0", "2,8,99,0", "3,4,99,0"]) + "\n"


def equal(left, right):
    for name, value in vars(left).items():
        if isinstance(value, np.ndarray):
            assert_array_equal(value, getattr(right, name), strict=True)
        else:
            assert value == getattr(right, name), name


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_stream_in_files_collects_to_what_is_read_in_memory(tmp_path, snapshot, block_bytes, threads):
    (tmp_path / "r.csv").write_text(CONTENT)
    (tmp_path / "work").mkdir()
    of, config = snapshot([tmp_path / "r.csv"]), InputConfig(max_bad_fraction=0.5)
    stream = read_stream(of, config, tmp_path / "work", threads=threads, block_bytes=block_bytes)
    assert len(stream) == len(ROWS)
    assert stream.user_rows.tolist() == [3, 3, 6]
    equal(stream.collect(), read_ratings(of, config))


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ratings_in_memory_are_a_stream_of_themselves(read, rows):
    ratings = read("userId,movieId,rating\n" + "".join(f"{u},{i},3\n" for u, i in rows) + "9,9,99\n0,9,4\n9,0,4\n"
                   "9,9,88\n", timestamp=None)  # fmt: skip
    assert len(ratings.seen_user_index) == 1
    equal(Stream.of(ratings).collect(), ratings)
