"""The tutorials' systems: their parameters to the digit, and their networks against hand-written formulas."""

import numpy as np
import pytest
from model_contract import CONTEXT, example_training_set
from numpy.testing import assert_allclose

from recsys.models.base import Histories
from recsys.models.keras_backend import load_keras
from recsys.models.keras_pairs import table_rows
from recsys.models.presets import PRESETS
from recsys.models.registry import RANKERS, RATERS, describe_all, rater, settings_of

load_keras()

from recsys.models.networks import Autoencoder  # noqa: E402
from recsys.train.rated import Pairs  # noqa: E402

SMALL_2016, ML_100K = (671, 9066), (943, 1682)  # users and rated items
RATED = Pairs(np.array([0, 1], np.int32), np.array([0, 1], np.int32), np.float32([0.5, 5.0]))


def network_of(preset, shape):
    """The network of a preset over an input of (n_users, n_items)."""
    settings = settings_of(preset, {})
    spare = settings.spare_rows
    return rater(preset).build((shape[0] + spare, shape[1] + spare), RATED, settings, seed=1)[0]


class TestParameters:
    @pytest.mark.parametrize(
        ("preset", "shape", "parameters"),
        [
            ("tutorial_a1", SMALL_2016, 486_850),
            ("tutorial_a2", SMALL_2016, 496_587),
            ("tutorial_a3", SMALL_2016, 487_871),
            ("tutorial_b", (6040, 3706), 974_600),  # 100 a user and item
            ("tutorial_c", ML_100K, 168_000),  # 64 a user and item
            ("tutorial_e20", ML_100K, 52_540),
            ("tutorial_e10", ML_100K, 26_270),
            ("tutorial_e5", ML_100K, 13_135),
        ],
    )
    def test_of_the_pair_models(self, preset, shape, parameters):
        assert network_of(preset, shape).count_params() == parameters

    def test_of_the_autoencoder(self):
        settings = settings_of("tutorial_d", {})
        network = Autoencoder(500, settings.layers, activation=settings.activation, biases=settings.biases)
        assert network.count_params() == 2 * 500 * 25

    def test_all_rows_are_there_whatever_was_held_out(self):
        training_set = example_training_set()  # one of its 24 items has no rating, and 20 are kept
        assert table_rows(training_set, settings_of("tutorial_a1", {}))[0] == (40, 24)
        assert table_rows(training_set, settings_of("tutorial_e5", {}))[0] == (41, 25)
        assert table_rows(training_set, settings_of("matrix_factorisation", {}))[0] == (40, 20)


class TestPresets:
    def test_each_has_a_model_and_valid_settings(self):
        for name, preset in PRESETS.items():
            assert preset.model in {**RANKERS, **RATERS}
            given = settings_of(name, {}).model_dump()
            assert {key: given[key] for key in preset.settings} == dict(preset.settings)

    def test_a_given_setting_wins(self):
        assert settings_of("tutorial_b", {"epochs": 3}).epochs == 3
        assert settings_of("ease", {}).dropout == 0.0

    def test_they_are_listed_with_their_models(self):
        kinds = {row["name"]: row["kind"] for row in describe_all()}
        assert kinds.keys() >= PRESETS.keys()
        assert (kinds["tutorial_a3"], kinds["tutorial_d"], kinds["ease"]) == (
            "ranker, rater",
            "ranker, rater",
            "ranker",
        )


@pytest.mark.parametrize(
    "preset", ["tutorial_a1", "tutorial_a2", "tutorial_a3", "tutorial_c", "tutorial_e5", "tutorial_d"]
)
def test_predictions_are_the_networks_own(preset):
    """NumPy's formula in float64 against Keras' forward pass."""
    training_set = example_training_set()
    model = rater(preset).fit(training_set, settings_of(preset, {"epochs": 2, "batch": 16}), CONTEXT)
    network = keras_network(model)
    user = np.repeat(np.flatnonzero(training_set.trained), len(training_set.items)).astype(np.int32)
    item = np.tile(training_set.items, training_set.trained.sum())
    if preset == "tutorial_d":
        shown = training_set.preferences.toarray()[training_set.trained]
        means = training_set.means
        expected = means.overall + means.item + means.user[training_set.trained, None] + np.asarray(network(shown))
    else:
        expected = np.asarray(network((user, model.row_of[item])))
    assert_allclose(model.predict(user, item), expected.ravel(), rtol=1e-4, atol=1e-5)


def keras_network(model):
    from recsys.models import networks

    name = {"masked_autoencoder": "Autoencoder"}.get(model.name) or model.network
    network = getattr(networks, name)(**model.record)
    network.set_weights(list(model.weights.values()))
    return network


def test_the_sigmoid_stays_within_the_ratings():
    training_set = example_training_set()
    model = rater("tutorial_a2").fit(training_set, settings_of("tutorial_a2", {"epochs": 2}), CONTEXT)
    users = np.flatnonzero(training_set.trained).astype(np.int32)
    histories = Histories(users, training_set.ratings[users], training_set.ratings[users])
    scores = model.score(histories)
    assert scores.min() > training_set.learned.data.min()
    assert scores.max() < training_set.learned.data.max()
