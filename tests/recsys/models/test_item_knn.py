"""Item neighbours against a naive loop."""

import numpy as np
import pytest
from model_contract import COMPUTE, CONTEXT, example_ratings, example_training_set, histories_of, training_set_of
from numpy.testing import assert_allclose, assert_array_equal

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models import item_knn
from recsys.models.base import FitContext
from recsys.models.item_knn import ItemKnn, ItemKnnSettings, check_memory


def naive_similarity(x, kind, shrinkage):
    """(n_items, n_items), -inf between items without a common user and of an item with itself."""
    n = x.shape[1]
    similarity = np.full((n, n), -np.inf)
    for one in range(n):
        for other in range(n):
            both = sum(x[:, one] * x[:, other])
            a, b = sum(x[:, one]), sum(x[:, other])
            if one != other and both:
                below = np.sqrt(a * b) if kind == "cosine" else a + b - both
                similarity[one, other] = both / (below + shrinkage)
    return similarity.astype(np.float32)


def naive_nearest(similarity, neighbours):
    """For each item its neighbours by (similarity descending, column ascending)."""
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
    return [[column for column in row if similarity[item, column] > -np.inf] for item, row in enumerate(order)]


def rated(training_set):
    dense = np.zeros(training_set.ratings.shape)
    row = np.repeat(np.arange(dense.shape[0]), np.diff(training_set.learned.indptr))
    dense[row, training_set.learned.indices] = 1
    return dense


@pytest.mark.parametrize("kind", ["cosine", "jaccard"])
@pytest.mark.parametrize(("neighbours", "shrinkage"), [(1, 0.0), (4, 0.0), (4, 7.5), (500, 2.0)])
def test_model_is_the_naive_loop(kind, neighbours, shrinkage):
    training_set = example_training_set()
    settings = ItemKnnSettings(similarity=kind, neighbours=neighbours, shrinkage=shrinkage)
    model = ItemKnn.fit(training_set, settings, CONTEXT)
    similarity = naive_similarity(rated(training_set), kind, shrinkage)
    nearest = naive_nearest(similarity, neighbours)
    histories = histories_of(training_set)
    scores = np.zeros(training_set.ratings.shape)
    for user in range(training_set.n_users):
        own = set(histories.ratings[user].indices)
        for item in range(scores.shape[1]):
            scores[user, item] = sum(similarity[item, column] for column in nearest[item] if column in own)
    assert [[c for c in row if c >= 0] for row in model.nearest.tolist()] == nearest
    assert_allclose(model.score(histories), scores, rtol=1e-5)
    assert scores.max() > 0.1


def test_because_is_the_most_similar_rated_item_and_nothing_for_a_score_of_zero_alone():
    training_set = example_training_set()
    model = ItemKnn.fit(training_set, ItemKnnSettings(neighbours=6), CONTEXT)
    histories = histories_of(training_set)
    top = model.top_n(histories, 6, COMPUTE)
    because = model.because(histories, top.columns, COMPUTE)
    compared = 0
    for user, columns in enumerate(top.columns):
        own = histories.ratings[user].indices
        for place, column in enumerate(columns):
            if column >= 0 and len(own):
                assert because[user, place] == own[np.argmax(model.weights[own, column])]
                compared += 1
    assert compared > 100


def test_similar_are_the_nearest_and_end_where_no_item_has_a_common_user():
    x = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    model = ItemKnn.fit(training_set_of(np.where(x > 0, 2.0, np.nan)), ItemKnnSettings(shrinkage=0.0), CONTEXT)
    similar = model.similar(5, COMPUTE)
    assert_array_equal(similar.columns, [[1, 2, -1, -1, -1], [0, 2, -1, -1, -1], [1, 0, -1, -1, -1], [-1] * 5])
    assert_allclose(similar.scores[0, :2], [2 / np.sqrt(6), 1 / np.sqrt(3)], rtol=1e-6)
    assert_array_equal(model.similar(1, COMPUTE).columns, similar.columns[:, :1])


def test_users_that_are_only_served_teach_nothing():
    ratings = example_ratings()
    ratings[ratings < 0] = np.nan
    few = training_set_of(ratings, min_user_ratings=9)
    assert 0 < few.trained.sum() < len(few.trained)
    alone = training_set_of(ratings[few.trained])
    models = [ItemKnn.fit(each, ItemKnnSettings(), CONTEXT) for each in (few, alone)]
    assert_array_equal(models[0].items, models[1].items)
    assert_array_equal(models[0].similarities, models[1].similarities)


def test_what_does_not_fit_is_refused_before_the_work_starts(monkeypatch):
    monkeypatch.setattr(item_knn, "nearest_items", lambda *_: pytest.fail("the work was started"))
    context = FitContext(0, ComputeConfig(memory_mib=1))
    with pytest.raises(UsageError, match=r"item_knn needs 2 MiB for 600 items") as refusal:
        ItemKnn.fit(training_set_of(np.ones((2, 600))), ItemKnnSettings(), context)
    assert "--top-items" in refusal.value.todo
    check_memory(420, 100, context.compute)
    with pytest.raises(UsageError):
        check_memory(421, 200, context.compute)
