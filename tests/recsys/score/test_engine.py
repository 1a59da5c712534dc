"""The top-n engine against a full sort of the published scores: all formulas, near ties, extremes, blocks, threads."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.errors import UsageError
from recsys.score import engine
from recsys.score.engine import rough_error, top_n
from recsys.score.formula import NO_UNITS, Formula, all_scores, pair_scores, product
from recsys.score.tiles import even_edges

NOBODY = 0  # a user whose vector is 0
KINDS = ("product", "offsets", "sigmoid", "saturated", "network")


def vectors(seed, n, size, spread=1.0):
    return (spread * np.random.default_rng(seed).normal(size=(n, size))).astype(np.float32)


def example(seed, kind="product", n_users=23, n_columns=150, size=9):
    """A formula, and what is seen; every third item nearly equals the one before it, and norms are skewed."""
    rng = np.random.default_rng(seed)
    users, items = vectors(seed, n_users, size), vectors(seed + 1, n_columns, size)
    items *= rng.lognormal(0, 1, (n_columns, 1)).astype(np.float32)
    users[NOBODY] = 0.0
    items[2::3] = np.nextafter(items[1::3], np.float32(2.0))
    items[50] = items[40]
    seen = rng.random((n_users, n_columns)) < 0.2
    seen[5], seen[6, 3:] = True, True
    return formula_of(kind, users, items, rng), csr_matrix(seen)


def formula_of(kind, users, items, rng):
    plain = product(users, items)
    if kind == "product":
        return plain
    offsets = {"user_offset": rng.normal(size=len(users)), "item_offset": rng.normal(size=len(items))}
    if kind == "network":
        hidden, offsets["item_offset"] = rng.normal(size=users.shape[1]), np.zeros(len(items))
        wide = {"users": users.astype(float) * 1.1, "items": items.astype(float) * 1.1}
        return replace(plain, **wide, **offsets, hidden=hidden, span=(0.5, 5.0))
    span = {"offsets": None, "sigmoid": (1.0, 5.0), "saturated": (-1.0, 1.0)}[kind]
    users = users * np.float32(40.0 if kind == "saturated" else 1.0)
    return replace(plain, users=users, **offsets, span=span)


def summed_in_order(formula):
    """(n_users, n_columns) float64: the sums over the factors or units, one after the other, before the output."""
    total = np.zeros((len(formula.users), len(formula.items)))
    for factor in range(formula.users.shape[1]):
        user, item = formula.users[:, factor].astype(float), formula.items[:, factor].astype(float)
        if len(formula.hidden):
            total += formula.hidden[factor] * np.maximum(user[:, None] + item, 0.0)
        else:
            total += np.outer(user, item)
    return total + formula.item_offset + formula.user_offset[:, None]


def full_sort(formula, seen, n, allowed=None):
    """Lists by (published score descending, column ascending)."""
    rows = all_scores(formula, threads=1)
    columns, best = np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), -np.inf, np.float32)
    for user, row in enumerate(rows):
        left_out = np.zeros(len(row), bool) if allowed is None else ~allowed
        left_out[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = True
        order = [column for column in np.argsort(-row, kind="stable") if not left_out[column]][:n]
        columns[user, : len(order)], best[user, : len(order)] = order, row[order]
    return columns, best


def assert_equal_lists(found, expected):
    for left, right in zip(found, expected, strict=True):
        assert left.dtype == right.dtype
        assert_array_equal(left, right)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_sums_in_order_through_the_output(kind):
    formula, _ = example(0, kind)
    x, scores = summed_in_order(formula), all_scores(formula, threads=2)
    if formula.span is None:
        assert_array_equal(scores, x.astype(np.float32))
    else:
        low, high = formula.span
        with np.errstate(over="ignore"):
            assert_allclose(scores, low + (high - low) / (1 + np.exp(-x)), rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_has_the_score_it_has_among_all(kind):
    formula, _ = example(1, kind)
    user, column = np.divmod(np.random.default_rng(0).permutation(23 * 150)[:400], 150)
    assert pair_scores(formula, user, column).tobytes() == all_scores(formula, 1)[user, column].tobytes()


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from([1, 5, 10, 40, 150, 170]), st.integers(1, 33),
    st.sampled_from([None, False, True]), st.sampled_from([1, 3]), st.sampled_from([1, 100, 1_000]), st.booleans(),
)  # fmt: skip
def test_top_n_is_the_full_sort_of_the_scores(seed, kind, n, size, prune, threads, rows, some):
    formula, seen = example(seed, kind, size=size)
    allowed = np.random.default_rng(seed).random(150) < 0.7 if some else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "TILE_ITEMS", 64)
        patch.setattr(engine, "BLOCK_BYTES", 4 * size * rows)
        found = top_n(formula, seen, n, threads, allowed=allowed, prune=prune)
    assert_equal_lists(found, full_sort(formula, seen, n, allowed))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_threads_order_and_way_do_not_matter(kind, monkeypatch):
    formula, seen = example(7, kind)
    expected = top_n(formula, seen, 5, threads=2)
    for threads in (1, 3):
        for rows, tile in ((1, 64), (4, 128), (1_000, 512)):
            for prune in (False, True):
                monkeypatch.setattr(engine, "TILE_ITEMS", tile)
                monkeypatch.setattr(engine, "BLOCK_BYTES", 4 * 9 * rows)
                shuffled = np.random.default_rng(rows).permutation(23)
                found = top_n(formula.of(shuffled), seen[shuffled], 5, threads, prune=prune)
                for left, right in zip(found, expected, strict=True):
                    assert left.tobytes() == right[shuffled].tobytes()


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("size", [8, 64, 257])
def test_items_that_the_product_cannot_tell_apart_are_ordered_by_the_published_score(size, prune):
    """Hundreds of items within a few last bits of each other, under cancellation: float32 sums order them by chance."""
    users, base = vectors(3, 8, size, spread=100.0), vectors(4, 1, size, spread=100.0)
    jitter = np.random.default_rng(5).integers(-2, 3, (300, size))
    formula = product(users, (base * (1 + jitter * 2.0**-23)).astype(np.float32))
    seen = csr_matrix((8, 300), dtype=np.int8)
    assert_equal_lists(top_n(formula, seen, 10, 1, prune=prune), full_sort(formula, seen, 10))
    rough = np.argsort(-(formula.users @ formula.items.T), axis=1, kind="stable")[:, :10]
    assert not np.array_equal(full_sort(formula, seen, 10)[0], rough)


@pytest.mark.parametrize("offset", [0.0, 3.0, 14.0, 40.0])
@pytest.mark.parametrize("span", [(0.5, 5.0), (0.0, 1.0), (-3.0, 2.0)])
def test_what_a_sigmoid_makes_equal_is_ordered_by_column(span, offset):
    """Near its ends a sigmoid gives many sums one float32; a column that is the first of them may sum to less."""
    rng = np.random.default_rng(6)
    items = (1 + rng.integers(0, 400, (1_000, 1)) * 2.0**-18).astype(np.float32)
    users = np.float32([[1.0], [-1.0], [0.25]])
    formula = replace(product(users, items), user_offset=np.full(3, offset), span=span)
    seen = csr_matrix((3, 1_000), dtype=np.int8)
    columns, _ = top_n(formula, seen, 20, 1)
    assert_equal_lists((columns, _), full_sort(formula, seen, 20))
    if offset >= 14.0:
        by_sum = np.argsort(-summed_in_order(formula), axis=1, kind="stable")[:, :20]
        assert not np.array_equal(columns, by_sum)


def test_one_score_for_all():
    formula, seen = example(2, "sigmoid")
    formula = replace(formula, span=(3.0, 3.0))
    assert_equal_lists(top_n(formula, seen, 7, 2), full_sort(formula, seen, 7))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 17, 64]), st.sampled_from([1e-25, 1e-18, 1.0, 1e10]))
def test_approximate_scores_err_less_than_their_bound(kind, seed, size, spread):
    """Against exact rational sums, before the output."""
    users, items = vectors(seed, 3, size, spread), vectors(seed + 1, 4, size, spread)
    formula = replace(formula_of(kind, users, items, np.random.default_rng(seed)), span=None)
    norms = (np.linalg.norm(each.astype(float), axis=1) for each in (formula.users, formula.items))
    bound = rough_error(formula, next(norms), formula.items, next(norms), formula.item_offset)
    parts = [np.float32(part) for part in (formula.users, formula.items, formula.item_offset, formula.hidden)]
    published = all_scores(formula, 1)
    for user, row in enumerate(formula.users):
        for column, item in enumerate(formula.items):
            if kind == "network":
                rough = np.float32(0)
                for a, b, weight in zip(parts[0][user], parts[1][column], parts[3], strict=True):
                    rough += weight * max(a + b, np.float32(0))
                terms = [
                    Fraction(float(weight)) * max(Fraction(float(a)) + Fraction(float(b)), 0)
                    for a, b, weight in zip(row, item, formula.hidden, strict=True)
                ]
            else:
                rough = np.float32(parts[0][user] @ parts[1][column] + parts[2][column])
                terms = [Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, item, strict=True)]
            exact = sum(terms) + Fraction(float(formula.item_offset[column]))
            off = abs(Fraction(float(rough)) - exact)
            last = abs(Fraction(float(published[user, column])) - exact - Fraction(float(formula.user_offset[user])))
            assert off + last <= Fraction(float(bound[user]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("users", "items"), [(1e-30, 1e-30), (1e-20, 1e-25), (1e18, 1e-18), (1e-12, 1e12), (0.0, 1.0)])
def test_extreme_magnitudes(kind, users, items):
    formula, seen = example(3, kind)
    if kind == "network":
        formula = replace(formula, items=formula.items * users)
    formula = replace(formula, users=formula.users * np.float32(users), items=formula.items * np.float32(items))
    formula = replace(formula, user_offset=0 * formula.user_offset, item_offset=0 * formula.item_offset)
    assert_equal_lists(top_n(formula, seen, 6, 2), full_sort(formula, seen, 6))


@pytest.mark.parametrize("n_columns", [3, 700])
def test_a_sum_beyond_float32_on_the_way_is_still_scored(n_columns):
    """The terms overflow float32, their sum does not."""
    rng = np.random.default_rng(0)
    first = np.where(np.arange(n_columns) % 3 == 2, 2e18, 3e20)
    items = np.column_stack([first, -first + rng.integers(-5, 6, n_columns) * 1e17]).astype(np.float32)
    formula, seen = product(np.full((9, 2), 1e20, np.float32), items), csr_matrix((9, n_columns), dtype=np.int8)
    for prune in (False, True):
        assert_equal_lists(top_n(formula, seen, 2, 1, prune=prune), full_sort(formula, seen, 2))


def test_minus_zero_ties_with_zero():
    formula = product(np.float32([[1.0]]), np.float32([[-1e-30], [0.0], [-0.0], [1e-30], [-1e-44], [-1.0]]))
    formula = replace(formula, users=formula.users * np.float32(1e-30))
    columns, scores = top_n(formula, csr_matrix((1, 6), dtype=np.int8), 6, 1)
    assert_array_equal(columns[0], [0, 1, 2, 3, 4, 5])
    assert_array_equal(scores[0, :5], np.zeros(5))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["users", "items", "user_offset", "item_offset", "hidden"])
def test_numbers_that_are_not_finite_are_refused(field, wrong):
    formula, seen = example(4, "network" if field == "hidden" else "offsets")
    values = getattr(formula, field).copy()
    values.reshape(-1)[-1] = wrong
    with pytest.raises(UsageError, match="not a finite number") as refusal:
        top_n(replace(formula, **{field: values}), seen, 3, 1)
    assert "1 of" in refusal.value.found


def test_a_score_beyond_float32_is_refused():
    formula = product(np.full((1, 1), 1e30, np.float32), np.full((3, 1), 1e30, np.float32))
    with pytest.raises(UsageError, match="a score is not a finite number"):
        top_n(formula, csr_matrix((1, 3), dtype=np.int8), 2, 1)


@pytest.mark.parametrize("prune", [False, True])
def test_users_without_a_candidate_and_lists_longer_than_the_items(prune):
    formula, seen = example(8)
    columns, scores = top_n(formula, seen, 200, 2, prune=prune)
    assert (columns[5] == -1).all()
    assert (scores[columns < 0] == -np.inf).all()
    assert_array_equal((columns >= 0).sum(axis=1), 150 - np.diff(seen.indptr))
    columns, _ = top_n(formula, seen, 3, 2, allowed=np.zeros(150, bool), prune=prune)
    assert (columns == -1).all()


def test_nobody_and_nothing():
    items = vectors(1, 6, 4)
    columns, scores = top_n(product(vectors(0, 0, 4), items), csr_matrix((0, 6)), 3, threads=2)
    assert columns.shape == scores.shape == (0, 3)
    assert all_scores(product(vectors(0, 0, 4), items), threads=1).shape == (0, 6)
    columns, _ = top_n(product(vectors(0, 2, 4), items[:0]), csr_matrix((2, 0)), 3, threads=2)
    assert_array_equal(columns, np.full((2, 3), -1))


def test_only_users_with_too_many_near_ties_are_scored_in_full(monkeypatch):
    formula, seen = example(9, n_columns=600)
    given_up = []
    exactly = engine._exactly
    monkeypatch.setattr(engine, "_exactly", lambda *given: (given_up.extend(given[3]), exactly(*given)))
    columns, _ = top_n(formula, seen, 10, 1)
    assert given_up == [NOBODY]
    unseen = np.setdiff1d(np.arange(600), seen[NOBODY].indices)
    assert_array_equal(columns[NOBODY], unseen[:10])


class TestChoice:
    def rough(self, hidden=0):
        formula, _ = example(1, "network" if hidden else "product")
        return engine._roughly(formula, np.arange(150))

    def test_both_ways_are_tried_and_the_quicker_is_kept(self):
        for quicker in (False, True):
            choice = engine._Choice(100, None, self.rough())
            first = []
            for _ in range(2 * engine.SAMPLES):
                first.append(choice.take())
                choice.tell(first[-1], 1.0 if first[-1] == quicker else 2.0)
            assert sorted(first) == [False] * engine.SAMPLES + [True] * engine.SAMPLES
            assert {choice.take() for _ in range(20)} == {quicker}

    def test_nothing_is_decided_before_both_have_been_timed(self):
        choice = engine._Choice(100, None, self.rough())
        assert {choice.take() for _ in range(20)} == {False, True}

    def test_short_work_and_networks_are_not_sampled(self):
        assert {engine._Choice(4 * engine.SAMPLES - 1, None, self.rough()).take() for _ in range(9)} == {True}
        assert {engine._Choice(100, None, self.rough(hidden=1)).take() for _ in range(9)} == {False}
        assert {engine._Choice(100, fixed, self.rough()).take() for fixed in (False,) for _ in range(9)} == {False}


@settings(deadline=None)
@given(st.integers(1, 3_000), st.integers(1, 600), st.integers(1, 9))
def test_blocks_cover_all_users_and_keep_all_threads_busy(n_users, largest, threads):
    edges = even_edges(n_users, largest, threads)
    sizes = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, n_users)
    assert sizes.min() >= 1
    assert sizes.max() <= largest
    assert len(sizes) % threads == 0 or len(sizes) == n_users


def test_users_are_dropped_whose_list_nothing_to_come_can_change():
    from recsys.score import tiles

    items = np.vstack([vectors(1, 1, 3, 1e3), vectors(2, 999, 3)])
    rough = engine._roughly(product(vectors(0, 6, 3), items), np.arange(1_000))
    active = np.arange(6)
    least = np.float32([0.0, 1e6, 0.0, np.inf, tiles.LOWEST, 1e6])
    assert tiles._drop(active, 6, 0, 1, rough, least) == 3
    assert_array_equal(active[:3], [0, 2, 4])


def test_no_units_is_a_product():
    assert isinstance(product(vectors(0, 1, 1), vectors(0, 1, 1)), Formula)
    assert len(NO_UNITS) == 0
