"""Matrix factorisation in Keras: what it learns, how it stops, and that the same night twice is the same."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_contract import CONTEXT, ID_MAP, all_pairs, example_training_set, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models.base import FitContext
from recsys.models.matrix_factorisation import MatrixFactorisation, MatrixFactorisationSettings
from recsys.models.means import MeansOnly, MeansSettings
from recsys.train import rated

SMALL = MatrixFactorisationSettings(epochs=2, embedding_size=4)


def planted(n_users=120, n_items=60, rank=2, seed=5):
    """Full low-rank ratings around 3 with biases, and a mask of the pairs to learn from."""
    rng = np.random.default_rng(seed)
    full = 3 + rng.normal(0, 0.4, (n_users, 1)) + rng.normal(0, 0.4, (1, n_items))
    full = full + rng.normal(0, 1, (n_users, rank)) @ rng.normal(0, 0.7, (rank, n_items))
    return full, rng.random(full.shape) < 0.5


def rmse(model, full, where):
    user, item = (index.astype(np.int32) for index in np.nonzero(where))
    return float(np.sqrt(np.mean((model.predict(user, item) - full[user, item]) ** 2)))


@pytest.fixture(scope="module")
def learned():
    full, shown = planted()
    training_set = training_set_of(np.where(shown, full, np.nan))
    settings = MatrixFactorisationSettings(epochs=12, embedding_size=4, learning_rate=0.03, reg=0.02)
    return full, shown, training_set, settings, MatrixFactorisation.fit(training_set, settings, CONTEXT)


class TestLearning:
    def test_it_finds_planted_factors_that_means_cannot(self, learned):
        full, shown, training_set, _, model = learned
        means = MeansOnly.fit(training_set, MeansSettings(), CONTEXT)
        assert rmse(means, full, ~shown) > 0.9
        assert rmse(model, full, ~shown) < 0.5

    def test_history_tells_losses_by_epoch(self, learned):
        *_, model = learned
        history = model.history()
        assert [figures["epoch"] for figures in history] == list(range(1, len(history) + 1))
        assert history[-1]["loss"] < history[0]["loss"]
        assert 1 <= model.best_epoch <= len(history) <= 12

    def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss(self, learned):
        *_, model = learned
        validation = [figures["validation_loss"] for figures in model.history()]
        assert validation[model.best_epoch - 1] <= min(validation) + 1e-5  # LEAST_GAIN

    def test_a_prediction_is_the_sum_of_its_parts(self, learned):
        _, _, training_set, _, model = learned
        user, item = 7, 11
        user_row, item_row, user_bias, item_bias = (
            model.weights[f"{name}/embeddings"][index].astype(float)
            for name, index in (
                ("user_factors", user),
                ("item_factors", item),
                ("user_bias", user),
                ("item_bias", item),
            )
        )
        expected = model.record["overall"] + user_bias + item_bias + user_row @ item_row
        predicted = model.predict(np.array([user], np.int32), np.array([training_set.items[item]], np.int32))
        assert_allclose(predicted, expected, rtol=1e-6)

    def test_a_refit_trains_the_best_number_of_epochs_on_everything(self, learned):
        full, shown, training_set, settings, model = learned
        refitted = MatrixFactorisation.fit(training_set, settings, CONTEXT, replace(model, best_epoch=7).found())
        assert len(refitted.history()) == refitted.best_epoch == 7
        assert all("validation_loss" not in figures for figures in refitted.history())
        assert rmse(refitted, full, ~shown) < 0.8

    def test_items_not_kept_and_users_not_trained_are_nan(self):
        training_set = example_training_set()
        model = MatrixFactorisation.fit(training_set, SMALL, CONTEXT)
        user, item = all_pairs(training_set)
        known = (user >= 0) & (item >= 0) & training_set.trained[user] & (training_set.column_of[item] >= 0)
        assert_array_equal(np.isnan(model.predict(user, item)), ~known)
        assert 0 < known.sum() < len(known)


class TestStreaming:
    """Ratings that do not fit in memory come from shards; the model learns as well, and the same each time."""

    @pytest.fixture(autouse=True)
    def _little_memory(self, monkeypatch):
        monkeypatch.setattr(rated, "EXAMPLE_BYTES", 5 << 10)  # 1,800 ratings are a quarter of 36 MiB
        monkeypatch.setattr(rated, "BLOCK", 500)

    def test_it_learns_as_from_memory(self, learned, tmp_path, caplog):
        full, shown, training_set, settings, model = learned
        context = FitContext(CONTEXT.seed, ComputeConfig(threads=2, memory_mib=36), tmp_path / "state")
        with caplog.at_level("INFO", "recsys"):
            streamed = [MatrixFactorisation.fit(training_set, settings, context) for _ in range(2)]
        assert "streamed from 2 shards" in caplog.text
        assert rmse(streamed[0], full, ~shown) < rmse(model, full, ~shown) + 0.05
        assert len(streamed[0].history()) == len(streamed[1].history()) > 1
        for name, values in streamed[0].weights.items():
            assert values.tobytes() == streamed[1].weights[name].tobytes()
        assert list((tmp_path / "state").iterdir()) == []  # the shards are gone


class TestDivergence:
    @pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
    def test_a_huge_learning_rate_is_refused(self, validation_fraction):
        settings = MatrixFactorisationSettings(
            epochs=3, embedding_size=4, learning_rate=1e30, validation_fraction=validation_fraction
        )
        with pytest.raises(UsageError, match="diverged") as refusal:
            MatrixFactorisation.fit(example_training_set(), settings, CONTEXT)
        assert "learning_rate" in refusal.value.todo

    def test_a_rating_that_is_no_number_is_refused(self):
        training_set = example_training_set()
        training_set.ratings.data[3] = np.nan
        with pytest.raises(UsageError, match="diverged"):
            MatrixFactorisation.fit(training_set, SMALL.model_copy(update={"validation_fraction": 0.0}), CONTEXT)


# In a process of its own: load the saved model, fit one with other threads, and print hashes of what both predict.
ELSEWHERE = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from model_contract import ID_MAP, all_pairs, example_training_set
from recsys.config import ComputeConfig
from recsys.models.base import FitContext
from recsys.models.registry import rater, settings_of
training_set = example_training_set()
pairs = all_pairs(training_set)
context = FitContext(3, ComputeConfig(threads=int(sys.argv[3])))
settings = settings_of("matrix_factorisation", {"epochs": 2, "embedding_size": 32})
loaded = rater("matrix_factorisation").load(Path(sys.argv[2]), ID_MAP)
fitted = rater("matrix_factorisation").fit(training_set, settings, context)
print("DIGESTS", *(hashlib.sha256(model.predict(*pairs).tobytes()).hexdigest() for model in (loaded, fitted)))
"""


def test_another_process_with_other_threads_loads_and_fits_the_same_bytes(tmp_path):
    training_set = example_training_set()
    model = MatrixFactorisation.fit(training_set, MatrixFactorisationSettings(epochs=2, embedding_size=32), CONTEXT)
    model.save(tmp_path, ID_MAP)
    assert (tmp_path / "model.keras").exists()
    assert json.loads((tmp_path / "model.json").read_text())["found"] == {"epochs": model.best_epoch}
    own = hashlib.sha256(model.predict(*all_pairs(training_set)).tobytes()).hexdigest()

    here, threads = str(Path(__file__).parent), "4"
    command = [sys.executable, "-c", ELSEWHERE, here, str(tmp_path), threads]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = next(line.split()[1:] for line in done.stdout.splitlines() if line.startswith("DIGESTS"))
    assert printed == [own, own]


def item_weights(model):
    """Factors and biases of the items, in float64."""
    names = ("item_factors/embeddings", "item_bias/embeddings")
    factors, bias = (model.weights[name].astype(float) for name in names)
    return factors, bias[:, 0]


class TestNewPeople:
    """Fold-in against the loss of training, minimised by a general solver."""

    def by_loss(self, model, settings, training_set, rated, value):
        """A person's bias and factors, by gradient descent on what training adds up for a user."""
        mean_count = training_set.learned.nnz * (1 - settings.validation_fraction) / training_set.n_users
        strength = settings.reg * (len(rated) / mean_count) ** -settings.reg_power
        factors, item_bias = item_weights(model)
        factors, rest = factors[rated], value - model.record["overall"] - item_bias[rated]

        def loss(person):
            error = rest - person[0] - factors @ person[1:]
            penalty = settings.bias_reg * person[0] ** 2 + strength * np.sum(person[1:] ** 2)
            return np.sum(error**2 + penalty)  # each rating carries the penalty of its user

        return minimize(loss, np.zeros(1 + factors.shape[1]), tol=1e-12).x

    def test_it_minimises_the_loss_of_training(self, learned):
        _, _, training_set, settings, model = learned
        columns = np.tile(np.arange(len(model.items), dtype=np.int32), (3, 1))
        found = model.predict_new(training_set.ratings[:3], columns)
        for user in range(3):
            row = training_set.ratings[user]
            person = self.by_loss(model, settings, training_set, row.indices, row.data)
            factors, item_bias = item_weights(model)
            expected = model.record["overall"] + item_bias + person[0] + factors @ person[1:]
            assert_allclose(found[user], expected, atol=1e-3)

    def test_a_trained_user_who_comes_as_new_is_told_nearly_the_same(self, learned):
        full, shown, training_set, _, model = learned
        columns = np.tile(np.arange(len(model.items), dtype=np.int32), (training_set.n_users, 1))
        found = model.predict_new(training_set.ratings, columns)
        asked = ~shown[:, model.items]
        error = (found - full[:, model.items])[asked]
        assert np.sqrt(np.mean(error**2)) < 0.5

    def test_nothing_known_and_nothing_asked_are_nan(self, learned):
        *_, model = learned
        some = csr_matrix(([4.0], ([1], [2])), shape=(2, len(model.items)), dtype=np.float32)
        found = model.predict_new(some, np.int32([[0, 1], [3, -1]]))
        assert_array_equal(np.isnan(found), [[True, True], [False, True]])

    def test_without_regularisation_the_shortest_solution_is_taken(self, learned):
        *_, model = learned
        free = replace(model, trained_with={**model.trained_with, "reg": 0.0, "bias_reg": 0.0})
        some = csr_matrix(([4.0], ([0], [2])), shape=(1, len(model.items)), dtype=np.float32)
        assert_allclose(free.predict_new(some, np.int32([[2]])), [[4.0]], rtol=1e-5)

    def test_a_loaded_model_says_the_same(self, learned, tmp_path):
        _, _, training_set, _, model = learned
        model.save(tmp_path, "ids")
        columns = np.zeros((training_set.n_users, 1), np.int32)
        loaded = MatrixFactorisation.load(tmp_path, "ids")
        assert_array_equal(
            loaded.predict_new(training_set.ratings, columns), model.predict_new(training_set.ratings, columns)
        )
