"""The nightly rater: what it learns and keeps, new people, and that a night of it needs no TensorFlow."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from model_contract import CONTEXT, ID_MAP, all_pairs, example_training_set, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models import biased_mf, pairs
from recsys.models.base import FitContext
from recsys.models.biased_mf import BiasedMF, BiasedMFSettings, check_memory
from recsys.models.means import MeansOnly, MeansSettings

SMALL = BiasedMFSettings(epochs=2, embedding_size=4)


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
    settings = BiasedMFSettings(epochs=40, embedding_size=4, reg=0.02, init_scale=0.1)
    return full, shown, training_set, settings, BiasedMF.fit(training_set, settings, CONTEXT)


class TestLearning:
    def test_it_finds_planted_factors_that_means_cannot(self, learned):
        full, shown, training_set, _, model = learned
        means = MeansOnly.fit(training_set, MeansSettings(), CONTEXT)
        assert rmse(means, full, ~shown) > 0.9
        assert rmse(model, full, ~shown) < 0.3

    def test_history_and_the_best_epoch(self, learned):
        *_, model = learned
        history = model.history()
        assert [figures["epoch"] for figures in history] == list(range(1, len(history) + 1))
        validation = [figures["validation_loss"] for figures in history]
        assert validation[model.best_epoch - 1] <= min(validation) * (1 + 2e-5)  # LEAST_GAIN

    def test_a_prediction_is_the_sum_of_its_parts(self, learned):
        *_, model = learned
        parts = model.parts
        expected = parts.overall + parts.user_bias[7] + parts.item_bias[11] + parts.users[7] @ parts.items[11]
        assert_allclose(model.predict(np.int32([7]), model.items[[11]]), [expected], rtol=1e-6)

    def test_a_refit_trains_the_best_number_of_epochs_on_everything(self, learned):
        full, shown, training_set, settings, model = learned
        refitted = BiasedMF.fit(training_set, settings, CONTEXT, replace(model, best_epoch=30).found())
        assert len(refitted.history()) == refitted.best_epoch == 30
        assert all("validation_loss" not in figures for figures in refitted.history())
        assert rmse(refitted, full, ~shown) < 0.3

    def test_items_not_kept_and_users_not_trained_are_nan(self):
        training_set = example_training_set()
        model = BiasedMF.fit(training_set, SMALL, CONTEXT)
        user, item = all_pairs(training_set)
        known = (user >= 0) & (item >= 0) & training_set.trained[user] & (training_set.column_of[item] >= 0)
        assert_array_equal(np.isnan(model.predict(user, item)), ~known)
        assert 0 < known.sum() < len(known)

    def test_a_rating_that_is_no_number_is_refused(self):
        training_set = example_training_set()
        training_set.ratings.data[3] = np.nan
        with pytest.raises(UsageError, match="diverged"):
            BiasedMF.fit(training_set, SMALL, CONTEXT)

    def test_ratings_in_files_are_learned_the_same(self, learned, tmp_path, monkeypatch):
        _, _, training_set, settings, model = learned
        from recsys.train import strata

        monkeypatch.setattr(strata, "RATING_BYTES", 1 << 20)
        context = FitContext(CONTEXT.seed, ComputeConfig(threads=2), tmp_path / "state")
        streamed = BiasedMF.fit(training_set, settings, context)
        assert streamed.parts.users.tobytes() == model.parts.users.tobytes()
        assert list((tmp_path / "state").iterdir()) == []  # the files are gone


class TestNewPeople:
    def test_it_minimises_the_loss_of_training(self, learned):
        _, _, training_set, settings, model = learned
        columns = np.tile(np.arange(len(model.items), dtype=np.int32), (3, 1))
        found = model.predict_new(training_set.ratings[:3], columns)
        parts, unit = model.parts, np.std(training_set.ratings.data)
        for user in range(3):
            row = training_set.ratings[user]
            reg = settings.reg * unit * (row.nnz / model.ridge.mean_count) ** -settings.reg_power
            factors = parts.items[row.indices].astype(float)
            rest = row.data - parts.overall - parts.item_bias[row.indices]

            def loss(person, factors=factors, rest=rest, reg=reg):
                error = rest - person[0] - factors @ person[1:]
                penalty = settings.bias_reg * person[0] ** 2 + reg * np.sum(person[1:] ** 2)
                return np.sum(error**2 + penalty)  # each rating carries the penalty of its user

            person = minimize(loss, np.zeros(1 + factors.shape[1]), tol=1e-12).x
            expected = parts.overall + parts.item_bias + person[0] + parts.items @ person[1:]
            assert_allclose(found[user], expected, atol=2e-3)

    def test_a_trained_user_who_comes_as_new_is_told_nearly_the_same(self, learned):
        full, shown, training_set, _, model = learned
        columns = np.tile(np.arange(len(model.items), dtype=np.int32), (training_set.n_users, 1))
        error = (model.predict_new(training_set.ratings, columns) - full[:, model.items])[~shown[:, model.items]]
        assert np.sqrt(np.mean(error**2)) < 0.35


class TestSaved:
    def test_tables_are_files_of_their_own_that_are_mapped(self, learned, tmp_path):
        _, shown, _, _, model = learned
        model.save(tmp_path, ID_MAP)
        loaded = BiasedMF.load(tmp_path, ID_MAP)
        assert isinstance(loaded.parts.users, np.memmap)
        assert np.load(tmp_path / "user_factors.npy").shape == (120, 4)
        user, item = (index.astype(np.int32) for index in np.nonzero(shown))
        assert loaded.predict(user, item).tobytes() == model.predict(user, item).tobytes()

    def test_a_prediction_looks_at_no_users_but_those_around_the_ones_asked_for(self, learned, monkeypatch):
        *_, model = learned
        rows, product = [], pairs.pair_scores
        monkeypatch.setattr(
            pairs, "pair_scores", lambda formula, *asked: rows.append(len(formula.users)) or product(formula, *asked)
        )
        users = np.int32([70, 68, 70, 75])
        some = model.predict(users, model.items[[1, 2, 3, 4]])
        each = [model.predict(users[[at]], model.items[[at + 1]])[0] for at in range(4)]
        assert some.tolist() == each
        assert rows == [8, 1, 1, 1, 1]

    def test_a_loaded_model_says_the_same_of_new_people(self, learned, tmp_path):
        _, _, training_set, _, model = learned
        model.save(tmp_path, ID_MAP)
        columns = np.zeros((training_set.n_users, 1), np.int32)
        loaded = BiasedMF.load(tmp_path, ID_MAP)
        assert_array_equal(
            loaded.predict_new(training_set.ratings, columns), model.predict_new(training_set.ratings, columns)
        )


def test_what_does_not_fit_the_budget_is_refused_before_anything_is_made(monkeypatch):
    with pytest.raises(UsageError, match="embedding_size") as refusal:
        check_memory((10**7, 10**6), 64, ComputeConfig(memory_mib=4096))
    assert "memory_mib" in refusal.value.expected
    check_memory((162_541, 59_047), 64, ComputeConfig(memory_mib=110))  # 8 x 65 x 221,588 bytes

    monkeypatch.setattr(biased_mf, "strata_of", None)
    with pytest.raises(UsageError, match="MiB"):
        BiasedMF.fit(
            example_training_set(), BiasedMFSettings(embedding_size=10**4), FitContext(1, ComputeConfig(memory_mib=1))
        )


# The stages of a night with the default models, and then what of Keras was imported.
NIGHT = """
import json, sys
from datetime import date
from pathlib import Path
from recsys.config import RunConfig
from recsys.download.stage import open_run
from recsys.evaluate.stage import evaluate, evaluate_shard
from recsys.gate.stage import judge
from recsys.models.registry import ranker, rater
from recsys.prepare.stage import prepare
from recsys.publish.stage import publish
from recsys.score.stage import score, score_shard
from recsys.store import Store
from recsys.train.stage import fit, refit
demo = {"users": 200, "items": 100, "ratings": 6000}
config = RunConfig.model_validate({"store": sys.argv[1], "demo": demo, "evaluate": {"bootstrap_samples": 10}})
for kind in (ranker(config.train.ranker), rater(config.train.rater)):
    kind.warm_up()
with Store(Path(sys.argv[1])).hold():
    run = open_run(config, date(2026, 11, 21))
    prepare(run)
    for stage in (fit, refit):
        for role in ("ranker", "rater"):
            stage(run, role)
    evaluate_shard(run, 0)
    evaluate(run)
    score_shard(run, 0)
    score(run)
    judge(run)
    publish(run)
imported = [name for name in ("tensorflow", "keras", "sklearn") if name in sys.modules]
print(json.dumps([config.train.rater, imported, sum(1 for _ in Path(sys.argv[1]).glob("runs/*/*/manifest.json"))]))
"""


def test_the_default_night_imports_no_tensorflow(tmp_path):
    command = [sys.executable, "-c", NIGHT, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == ["biased_mf", [], 1]
