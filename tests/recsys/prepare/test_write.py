"""The prepared folder beside a naive twin, and the same bytes however the input is cut and the work is shared."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.config import ComputeConfig
from recsys.errors import InputRefused
from recsys.identifiers import IdMap
from recsys.prepare import shuffle as shuffling
from recsys.prepare import sort, write
from recsys.prepare.draws import Draws, mix
from recsys.prepare.prepared import PARTS
from recsys.prepare.split import random_split
from recsys.read.stream import Block, Stream, pair_keys, pairs_of
from recsys.tables import QUARANTINE

MANY = settings(max_examples=40, deadline=None)


@dataclass(frozen=True)
class Input:
    """Rows of (user_id, item_id, rating, timestamp or None), repeats among them, and pairs of refused rows."""

    rows: list
    seen: list

    @property
    def timed(self):
        return self.rows[0][3] is not None

    def stream(self, cuts=()):
        """In blocks that begin at `cuts`."""
        users, items = (sorted({row[at] for row in self.rows}) for at in (0, 1))
        user, item = (
            np.array([ids.index(row[at]) for row in self.rows], np.int32) for at, ids in ((0, users), (1, items))
        )
        times = np.array([row[3] for row in self.rows], np.int64) if self.timed else None
        block = (user, item, np.array([row[2] for row in self.rows], np.float32), times)
        edges = [0, *sorted({cut for cut in cuts if cut < len(self.rows)}), len(self.rows)]
        pieces = [slice(*edge) for edge in pairwise(edges)]
        keys = pair_keys(
            np.array([users.index(pair[0]) for pair in self.seen], np.int32),
            np.array([items.index(pair[1]) for pair in self.seen], np.int32),
            len(items),
        )
        return Stream(
            pa.array(users), pa.array(items),
            [lambda at=at: Block(*(None if column is None else column[at] for column in block)) for at in pieces],
            [piece.stop - piece.start for piece in pieces], np.bincount(user, minlength=len(users)), self.timed,
            *pairs_of(np.unique(keys), len(items)), QUARANTINE.empty_table(), len(self.rows) + len(self.seen),
        )  # fmt: skip


@st.composite
def inputs(draw, timed=None, ids=None):
    timed = draw(st.booleans()) if timed is None else timed
    user, item = ids or draw(st.sampled_from([(st.integers(-3, 3), st.integers(0, 4)),
                                              (st.sampled_from("abĉ"), st.sampled_from(["x", "", "zz"]))]))  # fmt: skip
    time = st.integers(0, 3) if timed else st.none()
    stars = st.integers(0, 10).map(lambda half: half / 2) | st.sampled_from([0.1, 1e-7, 3.3])
    rows = draw(st.lists(st.tuples(user, item, stars, time), min_size=1, max_size=30))
    pairs = st.tuples(*(st.sampled_from([row[at] for row in rows]) for at in (0, 1)))
    return Input(rows, draw(st.lists(pairs, max_size=4)))


def standing(given):
    """{pair: (place, row)} of the rows that no later one replaces."""
    found = {}
    for place, row in enumerate(given.rows):
        if row[:2] not in found or (row[3] or 0) >= (found[row[:2]][1][3] or 0):
            found[row[:2]] = (place, row)
    return found


def held_out_of(given, split, fraction, seed):
    """The pairs that a drawn hold-out has."""
    stands = standing(given)
    by_place = sorted(stands, key=lambda pair: stands[pair][0])
    if split == "random":
        mask = random_split(len(stands), fraction, seed)
        return {pair for pair, away in zip(by_place, mask, strict=True) if away}
    by_time = sorted(by_place, key=lambda pair: stands[pair][1][3] or 0)
    if split == "time":
        return set(by_time[len(by_time) - min(ceil(fraction * len(by_time) - 1e-9), len(by_time) - 1) :])
    held = set()
    for user in {pair[0] for pair in stands}:
        own = [pair for pair in by_time if pair[0] == user]
        if split == "leave-last":
            held |= set(own[-1:] if len(own) > 1 else [])
        else:
            n = min(ceil(fraction * len(own) - 1e-9), len(own) - 1)
            held |= set(sorted(own, key=lambda pair: draw_of(pair, seed))[:n])
    return held


def draw_of(pair, seed):
    draws = Draws.of(IdMap(pa.array([pair[0]]), pa.array([pair[1]])), seed)
    return int(mix((draws.user + draws.item)[0]))


def told(prepared):
    """{(user_id, item_id): (rating, timestamp, held out)} in the folder's order, and the refused pairs."""
    users, items = prepared.ids.user_ids.to_pylist(), prepared.ids.item_ids.to_pylist()
    user = np.repeat(np.arange(len(users)), np.diff(prepared.array("indptr")))
    times = prepared.array("timestamp").tolist() if prepared.timed else [None] * len(user)
    columns = prepared.array("item_index"), prepared.array("rating"), times, prepared.array("held_out")
    ratings = {(users[u], items[i]): (float(r), t, bool(h)) for u, i, r, t, h in zip(user, *columns, strict=True)}
    assert len(ratings) == len(user)
    refused = np.repeat(np.arange(len(users)), np.diff(prepared.array("seen_indptr")))
    seen = [(users[u], items[i]) for u, i in zip(refused, prepared.array("seen_item_index"), strict=True)]
    return ratings, seen


@given(given_one=inputs(), split=st.sampled_from(["per-user", "random", "leave-last", "time"]),
       percent=st.integers(1, 99), seed=st.integers(0, 9))  # fmt: skip
@MANY
def test_the_naive_twin_agrees(write_folder, given_one, split, percent, seed):
    with tempfile.TemporaryDirectory() as folder:
        make = lambda: write_folder(  # noqa: E731
            Path(folder), given_one.stream(), split=split, test_fraction=percent / 100, seed=seed
        )
        if split in ("leave-last", "time") and not given_one.timed:
            with pytest.raises(InputRefused, match=f"'{split}'.*no timestamps") as refused:
                make()
            assert "--columns timestamp=" in refused.value.todo
            return
        stands, held = standing(given_one), held_out_of(given_one, split, percent / 100, seed)
        prepared = make()
        expected = {pair: (float(np.float32(row[2])), row[3], pair in held) for pair, (_, row) in stands.items()}
        ratings, seen = told(prepared)
        assert ratings == expected
        assert list(ratings) == sorted(expected)
        assert seen == sorted(set(given_one.seen) - set(expected))
        counts = prepared.counts
        assert (counts.repeated, counts.held_out) == (len(given_one.rows) - len(expected), len(held))
        assert (counts.rating_min, counts.rating_max) == (
            min(value[0] for value in expected.values()), max(value[0] for value in expected.values()),
        )  # fmt: skip


@given(data=st.data(), ids=st.sampled_from([(st.integers(0, 3), st.integers(0, 3)),
                                            (st.sampled_from("abc"), st.sampled_from("xyz"))]))  # fmt: skip
@MANY
def test_the_naive_twin_agrees_on_a_given_hold_out(write_folder, data, ids):
    own, test = data.draw(inputs(ids=ids)), data.draw(inputs(ids=ids))
    stands, held = standing(own), standing(test)
    timed = own.timed and test.timed
    expected = {pair: (float(np.float32(row[2])), row[3] if timed else None, pair in held)
                for pair, (_, row) in (stands | held).items()}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        make = lambda: write_folder(Path(folder), own.stream(), test.stream())  # noqa: E731
        if not set(stands) - set(held):
            with pytest.raises(InputRefused, match="No rating is left to learn from"):
                make()
            return
        prepared = make()
        ratings, seen = told(prepared)
        assert ratings == expected
        assert seen == sorted(set(own.seen + test.seen) - set(expected))
        assert prepared.counts.repeated == len(own.rows) - len(stands)
        served = np.array(prepared.ids.user_ids.to_pylist())[prepared.array("served")]
        assert set(served.tolist()) == {pair[0] for pair in stands}
        for part in PARTS:
            assert prepared.training_set(part).item_counts.sum() == len(set(stands) - set(held))


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@given(data=st.data(), split=st.sampled_from(["per-user", "random", "leave-last", "time"]))
@MANY
def test_blocks_memory_and_threads_change_no_byte(write_folder, data, split):
    """A memory of nothing is a bucket a user."""
    own = data.draw(inputs(timed=True, ids=(st.integers(0, 5), st.integers(0, 5))))
    test = data.draw(st.none() | inputs(ids=(st.integers(0, 5), st.integers(0, 5))))
    made = []
    for share, threads in ((4, 1), (1 << 50, 3), (1 << 50, 1)):
        cuts = data.draw(st.lists(st.integers(0, 30), max_size=5)) if made else ()
        streams = own.stream(cuts), None if test is None else test.stream(cuts)
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(write, "MEMORY_SHARE", share):
            try:
                write_folder(Path(folder), *streams, split=split, top_items=4, compute=ComputeConfig(threads=threads))
                made.append(bytes_of(Path(folder)))
            except InputRefused as refused:
                made.append({"refused": str(refused).encode()})
    assert made[0] == made[1] == made[2]


def test_a_budget_of_memory_cuts_the_ratings_into_buckets(tmp_path, write_folder, make_ratings):
    """1 MiB, a quarter of it, 2 buckets under way of 80 bytes a row: 1,638 rows."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(10_000)[:6_000]
    ratings = make_ratings([(int(pair // 50), int(pair % 50), 3.0) for pair in pairs])
    watched = (
        mock.patch.object(sort, "shuffle", wraps=sort.shuffle),
        mock.patch.object(shuffling, "_sorted", wraps=shuffling._sorted),
    )
    with watched[0] as shuffle, watched[1] as sorts:
        write_folder(tmp_path, ratings, compute=ComputeConfig(threads=1, memory_mib=1))
    assert shuffle.call_args.kwargs["memory"] == 1 << 18
    assert sorts.call_count == 4
    assert not list(tmp_path.glob("work-*"))


# from night to night


@given(rows=inputs(timed=False), seed=st.integers(0, 9), percent=st.integers(1, 99), data=st.data())
@MANY
def test_reordered_input_gives_the_same_arrays(write_folder, rows, seed, percent, data):
    rows = Input([row for _, row in standing(rows).values()], rows.seen)
    shuffled = Input(data.draw(st.permutations(rows.rows)), rows.seen)
    made = []
    for each in (rows, shuffled):
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(folder), each.stream(), seed=seed, test_fraction=percent / 100)
            made.append(bytes_of(Path(folder)))
    assert made[0] == made[1]


@given(rows=inputs(ids=(st.integers(0, 4), st.integers(0, 6))), more=inputs(ids=(st.integers(3, 7), st.integers(3, 9))),
       percent=st.integers(1, 99))  # fmt: skip
@MANY
def test_growth_keeps_earlier_hold_outs(write_folder, rows, more, percent):
    """Users who rated nothing new keep theirs; of the others' old ratings those stay out whose draws are lower."""
    untimed = [Input([(*row[:3], None) for row in each.rows], []) for each in (rows, more)]
    nights = [untimed[0], Input(untimed[0].rows + untimed[1].rows, [])]
    held = []
    for night in nights:
        with tempfile.TemporaryDirectory() as folder:
            ratings, _ = told(write_folder(Path(folder), night.stream(), test_fraction=percent / 100))
            held.append({pair for pair, value in ratings.items() if value[2]})
    before = standing(nights[0])
    grown = {pair[0] for pair in standing(nights[1]) if pair not in before}
    assert {pair for pair in held[0] if pair[0] not in grown} == {
        pair for pair in held[1] if pair[0] not in grown and pair in before
    }
    for user in grown:
        old = sorted((pair for pair in before if pair[0] == user), key=lambda pair: draw_of(pair, 1))
        away = [pair in held[1] for pair in old]
        assert away == sorted(away, reverse=True)


def test_failure_leaves_nothing_but_what_a_stage_removes(tmp_path, write_folder, make_ratings, table):
    full = mock.patch.object(write, "PartWriter", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path, make_ratings(table))
    assert not list(tmp_path.glob("work-*"))
    assert not (tmp_path / "prepared.json").exists()


def test_who_is_asked_is_told_the_number_of_ratings(tmp_path, table):
    """Told are the own ratings, repeats left out."""
    asked = []
    own = Input([*((*row, None) for row in table), (10, 1, 2.0, None)], []).stream()
    test = Input([(10, 1, 5.0, None), (99, 1, 5.0, None)], []).stream()
    write.write_prepared(
        tmp_path, own, test, titles=lambda ids: pa.table({"item_id": ids}), config=write.PrepareConfig(), top_items=0,
        scale=write.Scale(), seed=1, compute=ComputeConfig(), accept=asked.append,
    )  # fmt: skip
    assert asked == [8]


def test_item_sums_are_exact_for_stars_and_the_same_for_any_cut(tmp_path, write_folder):
    """0.1 is no sum of powers of two: added in another order its sums differ in the last bits."""
    rng = np.random.default_rng(1)
    rows = [(int(u), int(i), float(np.float32(rng.choice([0.1, 1e7, 3.3]))), None) for u in range(80) for i in range(3)]
    sums = []
    for name, share in (("one", 4), ("a fifth", 447_392)):  # of 4,096 MiB: 9,600 bytes, 60 of 240 rows
        (tmp_path / name).mkdir()
        with mock.patch.object(write, "MEMORY_SHARE", share):
            prepared = write_folder(tmp_path / name, Input(rows, []).stream())
        sums.append(prepared.training_set("all").item_sums)
    assert_array_equal(sums[0], sums[1])
    total = [0.0, 0.0, 0.0]
    for _, item, rating, _ in rows:
        total[item] += float(np.float32(rating))
    assert_array_equal(sums[0], total)


def test_random_is_scikit_learns_split_of_the_ratings_that_stand(tmp_path, write_folder):
    """Every third row is replaced by a later one: the draw is of the others, in the order of the input."""
    rng = np.random.default_rng(2)
    pairs = [(int(pair) // 20, int(pair) % 20) for pair in rng.permutation(200)]
    rows = [(*pair, 3.0, None) for pair in pairs[::3]] + [(*pair, 4.0, None) for pair in pairs]
    ratings, _ = told(write_folder(tmp_path, Input(rows, []).stream([50, 90]), split="random", seed=3))
    assert {pair for pair, value in ratings.items() if value[2]} == {
        pair for pair, away in zip(pairs, random_split(200, 0.2, 3), strict=True) if away
    }
