"""Examples in shards: nothing is lost or doubled, and a training from shards learns what one from memory learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.models.keras_backend import load_keras
from recsys.train.examples import InMemory, write_shards

keras = load_keras()

from recsys.models.networks import Factors  # noqa: E402
from recsys.train.epochs import Schedule, train_epochs  # noqa: E402

NAMES = ("user", "item", "rating")


def columns_of(n, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 30, n).astype(np.int32), rng.integers(0, 20, n).astype(np.int32)
    return user, item, (1 + (user % 3) + (item % 2)).astype(np.float32)


def blocks_of(columns, size):
    for start in range(0, len(columns[0]), size):
        yield tuple(column[start : start + size] for column in columns)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 300), n_shards=st.integers(1, 9), block=st.integers(1, 120), seed=st.integers(0, 99))
def test_every_example_stands_in_one_shard(tmp_path_factory, n, n_shards, block, seed):
    columns = columns_of(n, seed)
    folder = tmp_path_factory.mktemp("shards") / "s"
    shards = write_shards(folder, NAMES, blocks_of(columns, block), n_shards, seed)
    assert len(shards.sizes) == n_shards
    assert sum(shards.sizes) == n
    read = [np.concatenate(parts) for parts in zip(*(shards.part(k) for k in range(n_shards)), strict=True)]
    for one, other in zip(read, columns, strict=True):
        assert one.dtype == other.dtype
    assert sorted(zip(*read, strict=True)) == sorted(zip(*columns, strict=True))


def train(examples, epochs=12):
    model = Factors(30, 20, 4, initializer="normal", init_scale=0.1, seed=1, name="small")

    def losses(user, item, rating):
        error = keras.ops.mean(keras.ops.square(rating - model((user, item))))
        return error, error

    trained = train_epochs(model, examples, losses, Schedule(epochs, 2, 32, 0.05, 0.1, epochs), 3, None)
    return model, trained


def test_from_shards_it_learns_as_from_memory(tmp_path):
    columns = columns_of(2000)
    shards = write_shards(tmp_path / "s", NAMES, [columns], 7, seed=1)
    assert len(shards.sizes) == 7
    memory, streamed = train(InMemory(columns))[1].history, train(shards)[1].history
    assert memory[-1]["loss"] < 0.1
    assert streamed[-1]["loss"] < 0.1


def test_the_same_shards_give_the_same_weights(tmp_path):
    shards = write_shards(tmp_path / "s", NAMES, [columns_of(500)], 3, seed=1)
    for one, other in zip(train(shards, 2)[0].get_weights(), train(shards, 2)[0].get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_list_of_arrays_is_one_part():
    columns = columns_of(100)
    plain, wrapped = train(columns, 2)[0], train(InMemory(columns), 2)[0]
    for one, other in zip(plain.get_weights(), wrapped.get_weights(), strict=True):
        assert_array_equal(one, other)


def test_a_folder_that_is_there_is_not_written_into(tmp_path):
    with pytest.raises(FileExistsError):
        write_shards(tmp_path, NAMES, [columns_of(10)], 2, seed=1)
