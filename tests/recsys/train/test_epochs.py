"""Early stopping with a validation loss given by hand, and the pieces of the factors' training."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from recsys.errors import UsageError
from recsys.models.keras_backend import load_keras

load_keras()

from recsys.models.networks import Factors  # noqa: E402
from recsys.train.epochs import Schedule, train_epochs  # noqa: E402
from recsys.train.pairs import batch_for  # noqa: E402
from recsys.train.rated import Pairs, damped_means, strength, validation_slice  # noqa: E402

SCHEDULE = Schedule(epochs=6, patience=2, batch=4, learning_rate=0.01, final_rate=0.5, horizon=6)
COLUMNS = (np.array([0, 1, 2, 0, 1], np.int32), np.array([0, 1, 0, 1, 0], np.int32), np.float32([1, 2, 3, 4, 5]))


def small_model():
    return Factors(3, 2, 2, overall=3.0, init_scale=0.1, seed=1, name="small")


def train(validation_losses, schedule=SCHEDULE, seed=0):
    """Train with given validation losses; returns the model, what was kept, and the weights after each epoch."""
    model, after = small_model(), []
    losses = iter(validation_losses or [])

    def validate():
        after.append([weight.copy() for weight in model.get_weights()])
        return next(losses)

    def mean_squares(user, item, rating):
        mean = load_keras().ops.mean((rating - model((user, item))) ** 2)
        return mean, mean

    trained = train_epochs(model, COLUMNS, mean_squares, schedule, seed, validate if validation_losses else None)
    return model, trained, after


class TestEarlyStopping:
    @pytest.mark.parametrize(
        ("losses", "best", "seen"),
        [
            ([3, 2, 1, 4, 5, 0], 3, 5),  # two epochs without a better one: the sixth is never reached
            ([3, 4, 2, 4, 1, 2], 5, 6),  # one worse epoch is borne
            ([1, 2, 3], 1, 3),
            ([6, 5, 4, 3, 2, 1], 6, 6),
            ([1, 1 - 1e-6, 1 - 2e-6], 1, 3),  # less than LEAST_GAIN is no gain
        ],
    )
    def test_the_best_epochs_weights_are_kept(self, losses, best, seen):
        model, trained, after = train(losses)
        assert trained.best_epoch == best
        assert [figures["validation_loss"] for figures in trained.history] == losses[:seen]
        for kept, wanted in zip(model.get_weights(), after[best - 1], strict=True):
            assert_array_equal(kept, wanted)
        changed = [not np.array_equal(a, b) for a, b in zip(after[0], after[1], strict=True)]
        assert any(changed)

    def test_without_validation_all_epochs_are_trained(self):
        _, trained, _ = train(None, replace(SCHEDULE, epochs=25, horizon=25, learning_rate=0.1))
        assert trained.best_epoch == len(trained.history) == 25
        assert trained.history[-1]["loss"] < trained.history[0]["loss"] / 2

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_validation_loss_that_is_no_number_is_refused(self, bad):
        with pytest.raises(UsageError, match="diverged") as refusal:
            train([1.0, bad])
        assert "'epoch': 2.0" in refusal.value.found

    def test_the_same_seed_gives_the_same_weights_and_another_other_ones(self):
        weights = [train(None, seed=seed)[0].get_weights() for seed in (0, 0, 1)]
        for one, other in zip(weights[0], weights[1], strict=True):
            assert one.tobytes() == other.tobytes()
        assert any(not np.array_equal(one, other) for one, other in zip(weights[0], weights[2], strict=True))


class TestPieces:
    def test_damped_means_by_hand(self):
        user, item = np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32)
        overall, user_bias, item_bias = damped_means(Pairs(user, item, np.float32([5, 3, 1])), (3, 2), 2.0)
        assert overall == 3.0
        assert_allclose(item_bias, [(2 - 2) / 4, 0 / 3])
        assert_allclose(user_bias, [(2 + 0) / 4, -2 / 3, 0])

    def test_without_damping_a_row_without_ratings_has_no_bias(self):
        _, user_bias, _ = damped_means(
            Pairs(np.array([0], np.int32), np.array([0], np.int32), np.float32([4])), (2, 1), damping=0.0
        )
        assert_array_equal(user_bias, [0, 0])

    def test_rare_rows_are_held_tighter(self):
        index = np.array([0, 0, 0, 0, 1, 1], np.int32)  # counts 4, 2, 0: the mean is 2, none counts as one
        count = np.bincount(index, minlength=3)
        assert_allclose(strength(count, 0.1, 0.5), 0.1 * np.array([2.0, 1.0, 0.5]) ** -0.5, rtol=1e-6)
        assert_allclose(strength(count, 0.1, 0.0), 0.1)

    @pytest.mark.parametrize("n", [1, 100, 21_759, 30_000, 100_000, 500_000, 10**8])
    def test_a_batch_is_the_power_of_two_that_makes_about_85_steps(self, n):
        batch = batch_for(n)
        assert batch in {2**power for power in range(8, 14)}
        if 256 < batch < 8192:
            assert 60 <= n / batch <= 121

    @pytest.mark.parametrize(("n", "fraction", "held"), [(100, 0.05, 5), (10, 0.05, 0), (7, 0.5, 3), (5, 0.0, 0)])
    def test_the_validation_slice_has_its_size_and_follows_the_seed(self, n, fraction, held):
        mask = validation_slice(n, fraction, seed=1)
        assert mask.sum() == held
        assert_array_equal(mask, validation_slice(n, fraction, seed=1))
        if held > 1:
            assert not np.array_equal(mask, validation_slice(n, fraction, seed=2))

    def test_the_model_is_the_sum_of_its_tables(self):
        model = small_model()
        model.user_bias.set_weights([np.float32([[0.1], [0.2], [0.3]])])
        model.item_bias.set_weights([np.float32([[1.0], [2.0]])])
        user, item = model.user_factors.get_weights()[0], model.item_factors.get_weights()[0]
        predicted = np.asarray(model((np.array([2, 0], np.int32), np.array([1, 0], np.int32))).numpy())
        assert_allclose(predicted, [3 + 0.3 + 2 + user[2] @ item[1], 3 + 0.1 + 1 + user[0] @ item[0]], rtol=1e-6)

    def test_the_configuration_rebuilds_the_model(self):
        config = small_model().get_config()
        assert Factors.from_config(config).settings == small_model().settings
        assert (config["n_users"], config["n_items"], config["embedding_size"], config["overall"]) == (3, 2, 2, 3.0)
