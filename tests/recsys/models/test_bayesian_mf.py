"""The Bayesian factorisation as a rater: what it learns, whom it can answer, and how it folds people in."""

from dataclasses import replace

import numpy as np
import pytest
from model_contract import CONTEXT, ID_MAP, all_pairs, example_ratings, example_training_set, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models.base import FitContext
from recsys.models.bayesian_mf import BayesianMF, BayesianMFSettings, _without_empty, size_for
from recsys.models.means import MeansOnly, MeansSettings
from recsys.train.thresholds import expected_level

SMALL = BayesianMFSettings(sweeps=4, burn_in=2, embedding_size=3)
STARS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


def planted(levels, n_users=150, n_items=60, seed=5):
    """(n_users, n_items) ratings of rank 2 with biases, whole stars or numbers, and a mask of those to learn from."""
    rng = np.random.default_rng(seed)
    full = 3 + rng.normal(0, 0.4, (n_users, 1)) + rng.normal(0, 0.4, (1, n_items))
    full = full + rng.normal(0, 1, (n_users, 2)) @ rng.normal(0, 0.7, (2, n_items))
    return np.clip(np.round(full), 1, 5) if levels else full, rng.random(full.shape) < 0.5


def rmse(model, full, where):
    user, item = (index.astype(np.int32) for index in np.nonzero(where))
    return float(np.sqrt(np.mean((model.predict(user, item) - full[user, item]) ** 2)))


@pytest.fixture(scope="module", params=[True, False], ids=["levels", "numbers"])
def learned(request):
    full, shown = planted(request.param)
    training_set = training_set_of(np.where(shown, full, np.nan))
    settings = BayesianMFSettings(sweeps=60, burn_in=20, embedding_size=3)
    return full, shown, training_set, BayesianMF.fit(training_set, settings, CONTEXT)


class TestLearning:
    def test_it_finds_planted_factors_that_means_cannot(self, learned):
        full, shown, training_set, model = learned
        means = MeansOnly.fit(training_set, MeansSettings(), CONTEXT)
        assert rmse(means, full, ~shown) > 0.75
        assert rmse(model, full, ~shown) < 0.45

    def test_a_prediction_is_the_mean_rating_at_its_score(self, learned):
        *_, training_set, model = learned
        posterior, scale = model.posterior, model.posterior.scale
        score = posterior.user_factors[7].astype(float) @ posterior.item_factors[11].astype(float)
        score += float(posterior.user_bias[7]) + float(posterior.item_bias[11])
        predicted = model.predict(np.array([7], np.int32), training_set.items[11:12])
        if len(scale.values):
            assert_array_equal(scale.values, STARS)
            expected = expected_level(np.array([score]), scale.thresholds, STARS, scale.variance)[0]
        else:
            expected = scale.centre + scale.unit * score
        assert_allclose(predicted, [expected], rtol=1e-5)

    def test_levels_are_predicted_within_the_scale(self, learned):
        full, *_, model = learned
        if len(model.posterior.scale.values):
            user, item = (index.ravel().astype(np.int32) for index in np.indices(full.shape))
            predicted = model.predict(user, item)
            assert (predicted >= 1).all()
            assert (predicted <= 5).all()

    def test_items_not_kept_and_users_not_trained_are_nan(self):
        training_set = example_training_set()
        model = BayesianMF.fit(training_set, SMALL, CONTEXT)
        user, item = all_pairs(training_set)
        known = (user >= 0) & (item >= 0) & training_set.trained[user] & (training_set.column_of[item] >= 0)
        assert_array_equal(np.isnan(model.predict(user, item)), ~known)
        assert 0 < known.sum() < len(known)
        embeddings = model.embeddings()
        assert_array_equal(embeddings.users_learned, training_set.trained)
        assert embeddings.users.shape[1] == embeddings.items.shape[1] <= 128

    def test_a_rating_of_zero_is_a_rating(self):
        zeros, fives = example_ratings(), example_ratings()
        zeros[5:15, 3], fives[5:15, 3] = 0.0, 5.0
        user, item = np.arange(20, 30, dtype=np.int32), np.full(10, 3, np.int32)
        low, high = (
            BayesianMF.fit(training_set_of(each), BayesianMFSettings(sweeps=30, burn_in=10), CONTEXT).predict(
                user, item
            )
            for each in (zeros, fives)
        )
        assert low.mean() + 0.5 < high.mean()

    def test_the_size_follows_the_ratings(self):
        assert size_for(csr_matrix(np.ones((30, 30)))) == 5
        assert size_for(csr_matrix(np.ones((2, 2)))) == 4
        assert size_for(csr_matrix(np.ones((400, 400)))) == 32

    def test_empty_rows_and_columns_are_left_out_and_stored_zeros_are_not(self):
        dense = np.array([[0, 7.0, 0, 2.0], [0, 0, 0, 0], [3.0, 0, 0, -1.0]])
        matrix = csr_matrix(dense)
        matrix.data[matrix.data == -1.0] = 0.0
        kept = _without_empty(matrix, np.array([True, False, True]), np.array([True, True, False, True]))
        assert kept.nnz == 4
        assert_array_equal(kept.toarray(), [[0, 7, 2], [3, 0, 0]])

    def test_many_different_values_are_numbers(self):
        ratings = example_ratings()
        model = BayesianMF.fit(training_set_of(ratings), replace_settings(max_levels=5), CONTEXT)
        assert model.posterior.scale.values.shape == (0,)
        assert BayesianMF.fit(training_set_of(ratings), SMALL, CONTEXT).posterior.scale.values.shape == (6,)


def replace_settings(**changed):
    return SMALL.model_copy(update=changed)


class TestFoldIn:
    def test_a_known_persons_ratings_lead_to_much_the_same_predictions(self, learned):
        full, _, training_set, model = learned
        people, columns = np.arange(30, dtype=np.int32), np.arange(full.shape[1], dtype=np.int32)
        own = model.predict(np.repeat(people, len(columns)), np.tile(columns, len(people))).reshape(30, -1)
        folded = model.predict_new(training_set.ratings[people], np.tile(columns, (30, 1)))
        assert folded.dtype == np.float32
        assert np.sqrt(np.mean((folded - own) ** 2)) < 0.15

    def test_people_do_not_depend_on_each_other(self, learned):
        *_, training_set, model = learned
        columns = np.tile(np.arange(4, dtype=np.int32), (5, 1))
        together = model.predict_new(training_set.ratings[:5], columns)
        alone = [model.predict_new(training_set.ratings[person], columns[:1])[0] for person in range(5)]
        assert together.tobytes() == np.array(alone).tobytes()

    def test_swapped_ratings_move_the_predictions(self, learned):
        *_, training_set, model = learned
        row = training_set.ratings[0]
        swapped = csr_matrix((6 - row.data, row.indices, row.indptr), shape=row.shape)
        columns = np.arange(60, dtype=np.int32)[None]
        moved = model.predict_new(swapped, columns) - model.predict_new(row, columns)
        assert np.abs(moved).max() > 0.5

    def test_nothing_known_and_nothing_asked_is_nan(self):
        ratings = np.full((6, 4), np.nan)
        ratings[:5, :2] = [[5, 1], [4, 2], [5, 3], [1, 2], [3, 3]]
        ratings[5, 2] = 1.0  # by a user with too few ratings: the item is kept, but not learned
        ratings[:4, 3] = [1, 2, 3, 4]
        model = BayesianMF.fit(training_set_of(ratings, min_user_ratings=2), SMALL, CONTEXT)
        people = csr_matrix(np.array([[0, 4.0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 0]]))
        predicted = model.predict_new(people, np.tile(np.array([0, 1, 2, -1], np.int32), (3, 1)))
        assert_array_equal(np.isnan(predicted), [[False, False, True, True], [True] * 4, [True] * 4])


class TestRefusals:
    def test_too_large_for_the_memory_budget(self):
        with pytest.raises(UsageError, match="memory budget") as refusal:
            BayesianMF.fit(example_training_set(), SMALL, FitContext(1, ComputeConfig(memory_mib=1)))
        assert "features" in refusal.value.todo

    def test_no_sample_kept(self):
        with pytest.raises(UsageError, match="No sample would be kept"):
            BayesianMF.fit(example_training_set(), replace_settings(burn_in=4), CONTEXT)


def test_another_seed_gives_other_samples(tmp_path):
    training_set = example_training_set()
    pairs = all_pairs(training_set)
    model, other = (BayesianMF.fit(training_set, SMALL, replace(CONTEXT, seed=seed)) for seed in (3, 4))
    assert not np.array_equal(model.predict(*pairs), other.predict(*pairs), equal_nan=True)
    model.save(tmp_path, ID_MAP)
    assert {path.name for path in tmp_path.iterdir()} == {"arrays.npz", "model.json"}
