"""The grid of blocks: every rating once, blocks of a stratum disjoint, the same wherever it is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix, random_array

from recsys.train.strata import SIDE, strata_of


def ratings_of(n_users=60, n_columns=40, density=0.3, seed=1):
    """A CSR with a stored 0 in it, and a user and a column without any rating."""
    matrix = csr_matrix(random_array((n_users, n_columns), density=density, rng=np.random.default_rng(seed)))
    dense = matrix.toarray()
    dense[3], dense[:, 5] = 0, 0
    matrix = csr_matrix(dense, dtype=np.float32)
    matrix.data[0] = 0.0
    return matrix


def triples(pairs):
    return sorted(zip(pairs.user.tolist(), pairs.item.tolist(), pairs.rating.tolist(), strict=True))


def laid_out(ratings, held_back=0.2, seed=7, memory_mib=100, folder=None):
    """The strata and the slice as arrays that outlast the files."""
    with strata_of(ratings, held_back, seed, memory_mib, folder) as (strata, watched):
        arrays = [np.array(getattr(one, name)) for one in (strata, watched) for name in ("user", "item", "rating")]
        return [*arrays, strata.edges]


def test_every_rating_stands_once_in_a_block_or_in_the_slice():
    ratings = ratings_of()
    with strata_of(ratings, 0.2, 7, 100, None) as (strata, watched):
        trained = [triple for block in strata.blocks() for triple in triples(block)]
        assert len(trained) == len(strata)
        assert 0.1 < len(watched) / ratings.nnz < 0.3
        wanted = ratings.tocoo()
        assert sorted(trained + triples(watched)) == sorted(
            zip(wanted.row.tolist(), wanted.col.tolist(), wanted.data.tolist(), strict=True)
        )


def test_blocks_of_a_stratum_share_no_user_and_no_item():
    with strata_of(ratings_of(200, 150), 0.0, 7, 100, None) as (strata, _):
        filled = 0
        for first in range(0, SIDE * SIDE, SIDE):
            blocks = [slice(*strata.edges[block : block + 2]) for block in range(first, first + SIDE)]
            for column in (strata.user, strata.item):
                rows = [row for block in blocks for row in np.unique(column[block])]
                assert len(rows) == len(set(rows))
            filled += sum(block.stop > block.start for block in blocks)
        assert filled > SIDE * SIDE / 2
        assert np.diff(strata.edges).max() < 4 * len(strata) / SIDE**2  # about even


def test_a_block_goes_by_user_then_item():
    with strata_of(ratings_of(), 0.0, 7, 100, None) as (strata, _):
        for start, stop in zip(strata.edges[:-1], strata.edges[1:], strict=True):
            pairs = list(zip(strata.user[start:stop], strata.item[start:stop], strict=True))
            assert pairs == sorted(pairs)


def test_files_hold_the_same_and_go_with_the_block(tmp_path):
    ratings = ratings_of(400, 300, density=0.5)
    kept = laid_out(ratings)
    with strata_of(ratings, 0.2, 7, 1, tmp_path / "made") as (strata, _):
        assert isinstance(strata.user, np.memmap)
        assert list((tmp_path / "made").iterdir())
    assert list((tmp_path / "made").iterdir()) == []
    for one, other in zip(laid_out(ratings, memory_mib=1, folder=tmp_path), kept, strict=True):
        assert_array_equal(one, other)


def test_the_slice_follows_the_seed_and_its_share():
    ratings = ratings_of(300, 200)
    assert laid_out(ratings, seed=1)[5].tobytes() == laid_out(ratings, seed=1)[5].tobytes()
    assert laid_out(ratings, seed=1)[4].tobytes() != laid_out(ratings, seed=2)[4].tobytes()
    for share in (0.0, 0.05, 0.5):
        held = len(laid_out(ratings, held_back=share)[3])
        assert abs(held - share * ratings.nnz) <= 4 * np.sqrt(share * ratings.nnz)


@pytest.mark.parametrize("seed", range(20))
def test_something_is_always_left_to_train_on(seed):
    one = csr_matrix(([4.0], ([0], [0])), shape=(1, 1), dtype=np.float32)
    with strata_of(one, 0.99, seed, 100, None) as (strata, watched):
        assert (len(strata), len(watched)) == (1, 0)
        assert [triple for block in strata.blocks() for triple in triples(block)] == [(0, 0, 4.0)]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_any_shape_is_laid_out_whole(n_users, n_columns, seed, share):
    draw = np.random.default_rng(seed)
    dense = np.where(draw.random((n_users, n_columns)) < 0.4, draw.integers(1, 6, (n_users, n_columns)), 0)
    dense[0, 0] = 3
    ratings = csr_matrix(dense, dtype=np.float32)
    user, item, rating, *watched, edges = laid_out(ratings, share, seed)
    assert edges[-1] == len(user) == len(item) == len(rating) > 0
    assert len(user) + len(watched[0]) == ratings.nnz
    assert_array_equal(dense[user, item], rating)
    assert_array_equal(dense[watched[0], watched[1]], watched[2])
