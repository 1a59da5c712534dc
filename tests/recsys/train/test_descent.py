"""The compiled trainer against a plain loop and against numbers for the gradient; equal for any number of threads."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from recsys.errors import UsageError
from recsys.models.biased_mf import BiasedMFSettings
from recsys.train import checkpoint
from recsys.train.descent import Tables, descend, first_tables, mean_square
from recsys.train.rated import strength
from recsys.train.strata import SIDE, strata_of

SETTINGS = BiasedMFSettings(
    embedding_size=5, epochs=3, init_scale=0.3, learning_rate=0.05, final_rate=0.1, bias_rate=0.3, reg=0.2, bias_reg=0.1
)


def ratings_of(n_users=50, n_columns=30, seed=3):
    """Ratings 1 to 5 of a planted rank, a third of all pairs."""
    draw = np.random.default_rng(seed)
    full = 3 + draw.normal(0, 1, (n_users, 2)) @ draw.normal(0, 0.7, (2, n_columns))
    kept = draw.random(full.shape) < 0.33
    kept[0, 0] = True
    user, item = np.nonzero(kept)
    return csr_matrix((full[user, item].astype(np.float32), (user, item)), shape=full.shape)


def trained(ratings, settings=SETTINGS, *, epochs=3, threads=1, held_back=0.0, seed=4, checkpoints=None):
    with strata_of(ratings, held_back, seed, 100, None) as (strata, watched):
        tables = first_tables(strata, ratings.shape, settings, seed)
        found = descend(
            tables, strata, watched, settings, epochs=epochs, seed=seed, threads=threads, checkpoints=checkpoints
        )
        return tables, found


def block_of(index, counts):
    """The block of a row, by the ratings of the rows before it."""
    return int(counts[:index].sum()) * SIDE // int(counts.sum())


def naive_epoch(tables, ratings, settings, number, seed, rate):
    """One epoch, a rating and a factor at a time, in float64."""
    users, items, user_bias, item_bias = (array.astype(float) for array in tables.arrays)
    pairs = ratings.tocoo()
    unit = np.sqrt(np.mean((pairs.data.astype(float) - tables.overall) ** 2))
    counts = [np.bincount(index, minlength=n) for index, n in zip((pairs.row, pairs.col), ratings.shape, strict=True)]
    reg = [strength(count, settings.reg * unit, settings.reg_power) for count in counts]
    by_block = {}
    for u, i, r in sorted(zip(pairs.row, pairs.col, pairs.data, strict=True)):
        by_block.setdefault((block_of(u, counts[0]), block_of(i, counts[1])), []).append((u, i, r))
    squares = 0.0
    for stratum in np.random.default_rng([seed, number]).permutation(SIDE):
        for block in range(SIDE):
            for u, i, r in by_block.get((block, (block + stratum) % SIDE), []):
                error = r - tables.overall - user_bias[u] - item_bias[i] - users[u] @ items[i]
                squares += error**2
                p, q = users[u].copy(), items[i].copy()
                users[u] += rate / unit * (error * q - reg[0][u] * p)
                items[i] += rate / unit * (error * p - reg[1][i] * q)
                user_bias[u] += rate * settings.bias_rate * (error - settings.bias_reg * user_bias[u])
                item_bias[i] += rate * settings.bias_rate * (error - settings.bias_reg * item_bias[i])
    return (users, items, user_bias, item_bias), squares / ratings.nnz


class TestAgainstALoop:
    @pytest.mark.parametrize("size", [1, 5, 16, 33])
    def test_an_epoch_is_the_plain_loop(self, size):
        ratings, settings = ratings_of(), SETTINGS.model_copy(update={"embedding_size": size, "epochs": 1})
        with strata_of(ratings, 0.0, 4, 100, None) as (strata, _):
            first = first_tables(strata, ratings.shape, settings, 4)
        tables, found = trained(ratings, settings, epochs=1)
        wanted, loss = naive_epoch(first, ratings, settings, 1, 4, settings.learning_rate)
        for array, expected in zip(tables.arrays, wanted, strict=True):
            assert_allclose(array, expected, rtol=1e-4, atol=1e-5)
        assert_allclose(found.history[0]["loss"], loss, rtol=1e-5)

    def test_the_rate_falls_by_equal_factors(self):
        ratings = ratings_of()
        tables, _ = trained(ratings, epochs=2)
        second, _ = naive_epoch(trained(ratings, epochs=1)[0], ratings, SETTINGS, 2, 4, 0.05 * 0.1**0.5)
        assert_allclose(tables.users, second[0], rtol=1e-4, atol=1e-5)

    def test_the_validation_loss_is_the_mean_square_of_the_slice(self):
        ratings = ratings_of(300, 200)
        tables, found = trained(ratings, held_back=0.2)
        with strata_of(ratings, 0.2, 4, 100, None) as (_, watched):
            u, i = watched.user, watched.item
            product = np.einsum("nk,nk->n", tables.users[u], tables.items[i], dtype=float)
            error = watched.rating - tables.overall - tables.user_bias[u] - tables.item_bias[i] - product
            assert_allclose(mean_square(tables, watched, 2), np.mean(error**2), rtol=1e-6)
        assert_allclose(found.history[found.best_epoch - 1]["validation_loss"], np.mean(error**2), rtol=1e-6)


def test_a_step_goes_down_the_gradient_of_the_documented_loss():
    """One rating: what a step changes, against central differences of the loss in float64."""
    rate = 0.1
    settings = SETTINGS.model_copy(update={"learning_rate": rate, "bias_rate": 1.0, "bias_reg": 0.7, "damping": 1.0})
    ratings = csr_matrix(([4.5, 2.0], ([0, 1], [0, 1])), shape=(2, 2), dtype=np.float32)
    with strata_of(ratings, 0.0, 1, 100, None) as (strata, _):
        first = first_tables(strata, (2, 2), settings, 1)
    before = [array[0].astype(float).ravel() for array in first.arrays]
    at, sizes = np.concatenate(before), np.cumsum([len(part) for part in before])[:-1]

    def loss(x):
        p, q, a, b = np.split(x, sizes)
        error = 4.5 - first.overall - a[0] - b[0] - p @ q
        reg = settings.reg * first.unit
        return error**2 + reg * (p @ p + q @ q) + settings.bias_reg * (a @ a + b @ b)

    gradient = [(loss(at + 1e-5 * e) - loss(at - 1e-5 * e)) / 2e-5 for e in np.eye(len(at))]
    tables, _ = trained(ratings, settings, epochs=1, seed=1)
    after = np.concatenate([array[0].astype(float).ravel() for array in tables.arrays])
    rates = np.repeat([rate / first.unit, rate], [10, 2])  # of factors, of biases
    assert_allclose((after - at) / rates, -np.array(gradient) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.01, 20.0])
def test_ratings_on_another_scale_are_learned_as_well(scale):
    """Stars, percents: all the same. Biases and predictions grow with the scale, factors with its root."""
    ratings = ratings_of()
    tables, found = trained(ratings, held_back=0.2)
    scaled, as_well = trained(ratings * np.float32(scale), held_back=0.2)
    for part, factor in (("users", scale**0.5), ("items", scale**0.5), ("user_bias", scale), ("item_bias", scale)):
        assert_allclose(getattr(scaled, part), factor * getattr(tables, part), rtol=2e-3, atol=1e-4 * factor)
    for one, other in zip(found.history, as_well.history, strict=True):
        assert_allclose(other["validation_loss"], scale**2 * one["validation_loss"], rtol=1e-3)


@pytest.mark.parametrize("size", [5, 64])
def test_any_number_of_threads_gives_equal_bytes(size):
    ratings, settings = ratings_of(200, 150), SETTINGS.model_copy(update={"embedding_size": size})
    one, history = trained(ratings, settings, threads=1, held_back=0.1)
    for threads in (2, 3, 40):
        many, found = trained(ratings, settings, threads=threads, held_back=0.1)
        assert found == history
        for left, right in zip(one.arrays, many.arrays, strict=True):
            assert left.tobytes() == right.tobytes()


def test_another_seed_is_another_training():
    assert trained(ratings_of(), seed=1)[0].users.tobytes() != trained(ratings_of(), seed=2)[0].users.tobytes()


@pytest.mark.parametrize("held_back", [0.0, 0.2])
def test_a_training_that_diverges_is_refused(held_back):
    with pytest.raises(UsageError, match="diverged") as refusal:
        trained(ratings_of(), SETTINGS.model_copy(update={"learning_rate": 1e30}), held_back=held_back)
    assert "learning_rate" in refusal.value.todo


class Killed(BaseException):
    """Stands in for SIGKILL: nothing in the training catches it."""


def test_a_killed_training_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    ratings, settings = ratings_of(), SETTINGS.model_copy(update={"epochs": 6, "patience": 6})
    wanted, history = trained(ratings, settings, epochs=6, held_back=0.2)
    from recsys.train import descent

    done = []

    def dies(*arguments):
        if len(done) == 4:
            raise Killed
        done.append(1)
        return mean_square(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(descent, "mean_square", dies)
        with pytest.raises(Killed):
            trained(ratings, settings, epochs=6, held_back=0.2, checkpoints=tmp_path)
    done.clear()
    with monkeypatch.context() as patched:
        patched.setattr(descent, "mean_square", dies)
        tables, found = trained(ratings, settings, epochs=6, held_back=0.2, checkpoints=tmp_path)
    assert len(done) == 2
    assert found == history
    for one, other in zip(tables.arrays, wanted.arrays, strict=True):
        assert one.tobytes() == other.tobytes()


def test_nothing_watched_trains_all_epochs():
    _, found = trained(ratings_of(), epochs=3)
    assert found.best_epoch == 3
    assert all("validation_loss" not in figures for figures in found.history)


def test_tables_are_of_single_precision():
    tables, _ = trained(ratings_of())
    assert isinstance(tables, Tables)
    assert {array.dtype for array in tables.arrays} == {np.dtype(np.float32)}
