"""Threads and ranges."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import scipy.linalg.cython_blas  # noqa: F401  (a BLAS of its own, which is limited too)
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from recsys.compute import one_blas_thread, over_ranges, thread_count
from recsys.config import ComputeConfig


def test_threads_are_those_declared_else_one_a_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert thread_count(ComputeConfig(threads=7)) == 7
    assert thread_count(ComputeConfig()) == 3


def test_blas_uses_one_thread_and_then_what_it_used_before():
    np.ones((2, 2)) @ np.ones((2, 2))

    def used():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2):
        before = used()
        with one_blas_thread():
            assert used() == [1] * len(before)
        assert used() == before
    assert set(before) == {2}


@given(n=st.integers(0, 200), threads=st.integers(1, 5), pieces=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_every_row_is_worked_on_once(n, threads, pieces):
    touched = np.zeros(n, int)
    ranges = []

    def work(start, stop):
        touched[start:stop] += 1
        ranges.append((start, stop))

    over_ranges(work, n, threads, pieces_a_thread=pieces)
    assert (touched == 1).all()
    assert len(ranges) <= max(1, threads * pieces)
    assert all(start < stop for start, stop in ranges) or n == 0


def test_one_thread_works_in_the_callers():
    seen = []
    over_ranges(lambda start, stop: seen.append((start, stop, threading.get_ident())), 10, 1)
    assert seen == [(0, 10, threading.get_ident())]


def test_several_threads_work_at_the_same_time():
    met = threading.Barrier(2, timeout=20)  # breaks, with an error, unless two pieces are under way at once
    over_ranges(lambda start, stop: met.wait() and None, 2, 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_piece_comes_out(threads):
    def work(start, stop):
        if start <= 5 < stop:
            raise ValueError("row 5")

    with pytest.raises(ValueError, match="row 5"):
        over_ranges(work, 10, threads)
