"""A training that is killed after some epoch goes on from there, and ends in the same bytes."""

import numpy as np
import pytest

from recsys.errors import UsageError
from recsys.models.keras_backend import load_keras
from recsys.train import checkpoint

keras = load_keras()

from recsys.models.networks import RecommenderNet  # noqa: E402
from recsys.train.epochs import Schedule, train_epochs  # noqa: E402

SCHEDULE = Schedule(8, 8, 16, 0.01, 0.1, 8, optimizer="adamax")


class Killed(BaseException):
    """Stands in for SIGKILL: nothing in the training catches it."""


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)


def train(folder, *, die_after=None, seed=5):
    """Train a small net; returns it, what the training says, and the epochs done here."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 9, 100).astype(np.int32), rng.integers(0, 7, 100).astype(np.int32)
    rating = (1 + user % 3 + item % 2).astype(np.float32)
    model = RecommenderNet(9, 7, 3, hidden=4, dropout=(0.2, 0.5), span=(1.0, 5.0), seed=2, name="net")
    done = []

    def losses(user, item, rating, *draws):
        error = keras.ops.mean(keras.ops.square(rating - model.with_noise((user, item), draws)))
        return error, error

    def validate():
        if len(done) == die_after:
            raise Killed
        done.append(1)
        return float(np.mean((np.asarray(model((user, item))) - rating) ** 2))

    noise = model.noise_shapes(SCHEDULE.batch)
    columns = (user, item, rating)
    trained = train_epochs(model, columns, losses, SCHEDULE, seed, validate, noise=noise, checkpoints=folder)
    return model, trained, len(done)


@pytest.mark.parametrize("die_after", [1, 4, 6])
def test_it_goes_on_and_ends_in_the_same_bytes(tmp_path, die_after):
    unbroken, wanted, _ = train(tmp_path / "unbroken")
    with pytest.raises(Killed):
        train(tmp_path / "killed", die_after=die_after)
    resumed, trained, epochs = train(tmp_path / "killed")
    assert epochs == 8 - die_after
    assert trained == wanted
    assert len(wanted.history) == 8
    for one, other in zip(resumed.get_weights(), unbroken.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_keeping_a_state_changes_nothing(tmp_path):
    kept, plain = train(tmp_path / "kept")[0], train(None)[0]
    for one, other in zip(kept.get_weights(), plain.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_state_of_another_training_is_not_taken_up(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, die_after=4)
    resumed, trained, epochs = train(tmp_path, seed=6)
    assert epochs == len(trained.history) == 8
    for one, other in zip(resumed.get_weights(), train(None, seed=6)[0].get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_state_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "state.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"state\.npz") as refusal:
        train(tmp_path)
    assert "remove it" in refusal.value.todo
