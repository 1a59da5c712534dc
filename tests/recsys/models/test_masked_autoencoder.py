"""The masked autoencoder: its loss, its masks, what it learns, and new users through the stored means."""

import numpy as np
import pytest
from model_contract import COMPUTE, CONTEXT, example_training_set, histories_of, training_set_of
from numpy.testing import assert_allclose, assert_array_equal

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models.base import FitContext
from recsys.models.keras_backend import load_keras
from recsys.models.masked_autoencoder import MaskedAutoencoder, MaskedAutoencoderSettings

keras = load_keras()

from recsys.models.networks import Autoencoder, HiddenAndShown  # noqa: E402
from recsys.train.masked import dense_rows, roles  # noqa: E402


def planted(n_users=300, n_items=40, rank=3, seed=3):
    """Low-rank tastes with noise, half of them rated."""
    rng = np.random.default_rng(seed)
    full = 3 + rng.normal(size=(n_users, rank)) @ rng.normal(size=(rank, n_items)) * 0.6
    full += rng.normal(0, 0.1, full.shape)
    return full, rng.random(full.shape) < 0.5


@pytest.fixture(scope="module")
def learned():
    full, shown = planted()
    training_set = training_set_of(np.where(shown, full, np.nan))
    settings = MaskedAutoencoderSettings(layers=(6,), epochs=60, optimizer="adam", learning_rate=0.02, batch=50)
    return full, shown, training_set, MaskedAutoencoder.fit(training_set, settings, CONTEXT)


class TestLoss:
    def test_by_hand(self):
        y_true = np.float32([[[1, 2], [2, 1], [9, 0]], [[0, 2], [5, 1], [3, 1]]])  # hidden: 1, 0; shown: 2, 5, 3
        y_pred = np.float32([[3, 2, 0], [1, 4, 1]])
        hidden, shown = (4 + 1) / 2, (0 + 1 + 4) / 3
        assert_allclose(float(HiddenAndShown(0.8)(y_true, y_pred)), 0.8 * hidden + 0.2 * shown, rtol=1e-6)

    def test_nothing_hidden_counts_as_no_error(self):
        y_true = np.float32([[[1, 1], [2, 0]]])
        assert_allclose(float(HiddenAndShown(0.8)(y_true, np.float32([[0, 0]]))), 0.2 * 1.0, rtol=1e-6)

    def test_it_trains_with_plain_fit(self):
        """A proper Keras loss: compile and fit take it as it is."""
        network = Autoencoder(4, (2,), activation="linear", biases=False, seed=1)
        network.compile(loss=HiddenAndShown(0.8), optimizer="adam")
        shown = np.float32([[1, 0, 0, -1], [0, 2, 0, 1]])
        y_true = np.stack([np.float32([[1, 2, 0, -1], [0, 2, -2, 1]]), np.float32([[1, 2, 0, 1], [0, 1, 2, 1]])], -1)
        history = network.fit(shown, y_true, epochs=80, verbose=0).history["loss"]
        assert history[-1] < history[0]

    def test_it_is_rebuilt_from_its_configuration(self):
        assert HiddenAndShown.from_config(HiddenAndShown(0.7).get_config()).hidden_weight == 0.7


def test_only_known_preferences_are_hidden():
    known = np.float32([[1, 1, 0, 1], [0, 1, 1, 1]])
    draw = np.float32([[0.1, 0.5, 0.1, 0.2], [0.1, 0.1, 0.9, 0.19]])
    assert_array_equal(np.asarray(roles(known, draw, 0.2)), [[2, 1, 0, 1], [0, 2, 1, 2]])


def test_a_preference_of_exactly_0_is_a_known_one():
    training_set = training_set_of([[3.0, 3.0], [3.0, np.nan]])
    preferences, known = dense_rows(training_set.preferences)
    assert_array_equal(preferences, np.zeros((2, 2)))
    assert_array_equal(known, [[1, 1], [1, 0]])


class TestLearning:
    def test_it_finds_planted_tastes_that_means_cannot(self, learned):
        full, shown, training_set, model = learned
        user, item = (index.astype(np.int32) for index in np.nonzero(~shown))
        means = training_set.means
        by_means = means.overall + means.item[item] + means.user[user]
        truth = full[user, item]
        assert np.sqrt(np.mean((model.predict(user, item) - truth) ** 2)) < 0.6 * np.sqrt(
            np.mean((by_means - truth) ** 2)
        )

    def test_loss_and_validation_loss_fall(self, learned):
        history = learned[3].history()
        assert history[-1]["loss"] < history[0]["loss"]
        assert history[-1]["validation_loss"] < history[0]["validation_loss"]

    def test_a_reason_is_the_largest_part_of_the_score(self, learned):
        *_, training_set, model = learned
        histories = histories_of(training_set, np.arange(9), extra_seen=False)
        top = model.top_n(histories, 5, COMPUTE)
        because = model.because(histories, top.columns, COMPUTE)
        encoder, decoder = list(model.weights.values())
        weights = encoder.astype(float) @ decoder
        preferences = model.preferences_of(histories.ratings).toarray()
        for user in range(9):
            parts = preferences[user][:, None] * weights
            for place, column in enumerate(top.columns[user]):
                rated = histories.ratings[user].indices
                assert because[user, place] == rated[np.argmax(parts[rated, column])]
                assert_allclose(parts[:, column].sum(), top.scores[user, place], rtol=1e-4, atol=1e-5)

    def test_layers_that_are_not_linear_give_no_reasons(self):
        training_set = example_training_set()
        settings = MaskedAutoencoderSettings(layers=(8, 4), activation="relu", biases=True, epochs=2, batch=8)
        model = MaskedAutoencoder.fit(training_set, settings, CONTEXT)
        histories = histories_of(training_set)
        top = model.top_n(histories, 3, COMPUTE)
        assert (model.because(histories, top.columns, COMPUTE) == -1).all()
        assert model.codes.shape == (40, 4)


class TestNewUsers:
    def test_who_rates_as_a_known_user_gets_the_same_predictions(self, learned):
        *_, training_set, model = learned
        user, columns = 7, np.arange(len(training_set.items), dtype=np.int32)
        known = model.predict(np.full(len(columns), user, np.int32), training_set.items)
        new = model.predict_new(training_set.ratings[user], columns[None, :])
        assert_allclose(new[0], known, rtol=1e-5)

    def test_no_column_is_nan(self, learned):
        *_, training_set, model = learned
        predicted = model.predict_new(training_set.ratings[[1]], np.array([[3, -1]], np.int32))
        assert_array_equal(np.isnan(predicted), [[False, True]])


def test_the_saved_encoder_and_decoder_can_be_used_apart(learned, tmp_path):
    *_, training_set, model = learned
    model.save(tmp_path, "ids")
    network = keras.saving.load_model(tmp_path / "model.keras")
    preferences = training_set.preferences.toarray()[:5]
    codes = np.asarray(network.encoder(preferences))
    assert_allclose(codes, model.codes[:5], rtol=1e-4, atol=1e-5)
    assert_allclose(np.asarray(network.decoder(codes)), model.decode(codes), rtol=1e-4, atol=1e-5)


def test_rows_that_do_not_fit_are_refused_before_the_work():
    context = FitContext(seed=1, compute=ComputeConfig(memory_mib=1))
    training_set = training_set_of(np.ones((400, 400)))
    with pytest.raises(UsageError, match="400 users x 400 items") as refusal:
        MaskedAutoencoder.fit(training_set, MaskedAutoencoderSettings(), context)
    assert "--top-items" in refusal.value.todo
