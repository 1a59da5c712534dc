"""The tutorials' protocols on a few ratings, beside the product's own fit."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from benchmarks.sooner import fit_plainly
from benchmarks.tutorials import TUTORIALS, measure, trained_pairs
from recsys.config import ComputeConfig
from recsys.models.base import FitContext
from recsys.models.registry import rater, settings_of
from recsys.prepare.training_set import build_training_set
from recsys.ratings import Ratings

COMPUTE = ComputeConfig(threads=1)
USERS, ITEMS = 30, 20


@pytest.fixture(scope="module")
def ratings():
    """Half of all pairs, in the order of user and item."""
    rng = np.random.default_rng(0)
    user, item = (index.astype(np.int32) for index in np.nonzero(rng.random((USERS, ITEMS)) < 0.5))
    none = np.zeros(0, np.int32)
    rating = rng.integers(1, 6, len(user)).astype(np.float32)
    return Ratings(pa.array(range(USERS)), pa.array(range(ITEMS)), user, item, rating, None, none, none,
                   pa.table({}), len(user), 0)  # fmt: skip


@pytest.fixture
def held_out(ratings):
    return np.arange(len(ratings)) % 5 == 0


def test_errors_are_those_of_the_products_own_fit(ratings, held_out):
    changes = {"epochs": 3, "learning_rate": 0.05, "validation_fraction": 0.0}
    found = trained_pairs("tutorial_c", changes, ratings, held_out, 7, COMPUTE, watched=False)
    columns = (ratings.user_index, ratings.item_index, ratings.rating)
    learned, test = ([column[mask] for column in columns] for mask in (~held_out, held_out))
    training_set = build_training_set(*learned, (USERS, ITEMS), top_items=0, min_user_ratings=1)
    model = rater("tutorial_c").fit(training_set, settings_of("tutorial_c", changes), FitContext(7, COMPUTE))
    error = model.predict(*test[:2]).astype(np.float64) - test[2]
    assert_allclose(
        [found["mse"], found["rmse"], found["mae"]],
        [np.mean(error**2), np.sqrt(np.mean(error**2)), np.mean(np.abs(error))],
        rtol=1e-5,
    )


def test_watched_figures_are_by_epoch(ratings):
    found = measure(TUTORIALS["A2"], ratings, 0, COMPUTE, epochs=3, learning_rate=0.05)
    assert found["parameters"] == (USERS + ITEMS) * 51
    assert len(found["curve"]) == 3
    assert found["best"] == min(found["curve"]) == found["curve"][found["best_epoch"] - 1]
    assert found["last"] == found["curve"][-1]
    assert_allclose(found["mse"], found["best"], rtol=1e-6)


def test_e_has_a_row_more_a_table_and_is_not_watched(ratings):
    found = measure(TUTORIALS["E5"], ratings, 0, COMPUTE, epochs=2)
    assert found["parameters"] == (USERS + ITEMS + 2) * 5
    assert "curve" not in found


def test_a_split_seed_of_its_own_keeps_the_split(ratings):
    """C's split is the same for every seed, E's is not: the untrained start's error on it tells."""
    still = {"epochs": 1, "learning_rate": 1e-12, "init_scale": 1e-9}
    c, e = (
        [measure(TUTORIALS[name], ratings, seed, COMPUTE, **still)["mse"] for seed in (0, 1)] for name in ("C", "E5")
    )
    assert_allclose(c[0], c[1], rtol=1e-5)
    assert abs(e[0] - e[1]) > 1e-3


def test_d_has_the_range_of_its_preferences(ratings):
    found = measure(TUTORIALS["D"], ratings, 0, COMPUTE, epochs=2)
    table = np.full((USERS, ITEMS), np.nan)
    table[ratings.user_index, ratings.item_index] = ratings.rating
    table -= np.nanmean(table)
    table -= np.nanmean(table, axis=0)
    table -= np.nanmean(table, axis=1, keepdims=True)
    assert_allclose([found["lowest"], found["highest"]], [np.nanmin(table), np.nanmax(table)], rtol=1e-5)
    assert found["parameters"] == 2 * ITEMS * 25
    assert found["loss"] == found["curve"][1]


def test_plain_fit_is_the_same_model_and_reads_its_clock_by_epoch(ratings, held_out):
    found = fit_plainly(ratings, held_out, 0, COMPUTE, 2)
    assert found["parameters"] == (USERS + ITEMS) * 100
    first, second = found["curve"]
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert 0 < first["seconds"] < second["seconds"]
    assert second["rmse"] < first["rmse"] < 4
