"""Implicit ALS against a dense solve of the normal equations, and against its own objective."""

import numpy as np
import pytest
from model_contract import COMPUTE, CONTEXT, example_training_set, histories_of, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models import ials
from recsys.models.base import FitContext, Histories
from recsys.models.ials import Ials, IalsSettings, check_memory

SETTINGS = IalsSettings(embedding_size=3, iterations=4, unobserved_weight=0.2, reg=0.05, reg_power=0.7)


def binary_users(n_users, n_items, seed=0, share=0.4):
    return (np.random.default_rng(seed).random((n_users, n_items)) < share).astype(float)


def fit(x, settings=SETTINGS):
    training_set = training_set_of(np.where(x > 0, 3.0, np.nan))
    return Ials.fit(training_set, settings, CONTEXT), training_set


def dense_half_step(x, fixed, settings, others):
    """Each row by the normal equations of its weighted least squares, written out over all columns.

    A rating adds (p.q - 1)^2 and every pair, rated or not, alpha0 (p.q)^2: the weight of a rating is 1 + alpha0, with
    target 1 / (1 + alpha0).
    """
    alpha = settings.unobserved_weight
    solved = np.zeros((len(x), fixed.shape[1]))
    for row, rated in enumerate(x):
        if not rated.any():
            continue
        weight, target = alpha + rated, rated / (1 + alpha)
        penalty = settings.reg * (rated.sum() + alpha * others) ** settings.reg_power
        left = fixed.T @ np.diag(weight) @ fixed + penalty * np.eye(fixed.shape[1])
        solved[row] = np.linalg.solve(left, fixed.T @ (weight * target))
    return solved


def objective(x, users, items, settings):
    alpha, reg, power = settings.unobserved_weight, settings.reg, settings.reg_power
    product = users @ items.T
    user_penalty = reg * (x.sum(axis=1) + alpha * x.shape[1]) ** power
    item_penalty = reg * (x.sum(axis=0) + alpha * x.shape[0]) ** power
    return (
        (x * (product - 1) ** 2).sum()
        + alpha * (product**2).sum()
        + user_penalty @ (users**2).sum(axis=1)
        + item_penalty @ (items**2).sum(axis=1)
    )


class TestFit:
    def test_a_fit_is_the_dense_alternation(self):
        x = binary_users(14, 9)
        x[3] = 0
        x[:, 2] = 0
        training_set = training_set_of(np.where(x > 0, 3.0, np.nan))
        x = x[:, training_set.items]
        learned = int((x.sum(axis=1) > 0).sum())
        model = Ials.fit(training_set, SETTINGS, CONTEXT)
        items = np.random.default_rng(CONTEXT.seed).normal(0, 0.1 / np.sqrt(3), (x.shape[1], 3))
        for _ in range(SETTINGS.iterations):
            users = dense_half_step(x, items, SETTINGS, x.shape[1])
            items = dense_half_step(x.T, users, SETTINGS, learned)
        assert_allclose(model.item_factors, items, rtol=1e-5, atol=1e-7)
        assert_allclose(model.user_factors, dense_half_step(x, items, SETTINGS, x.shape[1]), rtol=1e-5, atol=1e-6)
        assert np.abs(items).max() > 0.1
        assert_array_equal(model.users_learned, x.sum(axis=1) > 0)

    def test_no_small_step_lowers_the_objective_once_it_has_settled(self):
        x = binary_users(12, 8, seed=1)
        settings = SETTINGS.model_copy(update={"iterations": 300})
        model, _ = fit(x, settings)
        users, items = model.user_factors.astype(float), model.item_factors.astype(float)
        best, rng = objective(x, users, items, settings), np.random.default_rng(0)
        assert best < objective(x, 0 * users, 0 * items, settings) - 1
        for _ in range(200):
            moved = (users + 1e-2 * rng.normal(size=users.shape), items + 1e-2 * rng.normal(size=items.shape))
            assert objective(x, *moved, settings) > best

    def test_users_that_are_only_served_teach_nothing(self):
        ratings = np.where(binary_users(20, 6, seed=5, share=0.7) > 0, 4.0, np.nan)
        ratings[19] = [1.0, np.nan, np.nan, np.nan, np.nan, np.nan]
        served_too = training_set_of(ratings, min_user_ratings=2)
        assert served_too.trained.sum() == 19
        model = Ials.fit(served_too, SETTINGS, CONTEXT)
        alone = Ials.fit(training_set_of(ratings[:19]), SETTINGS, CONTEXT)
        assert_array_equal(model.item_factors, alone.item_factors)
        assert not model.users_learned[19]

    def test_what_does_not_fit_is_refused_before_the_work_starts(self, monkeypatch):
        monkeypatch.setattr(ials, "_HalfStep", lambda *_: pytest.fail("the work was started"))
        training_set = training_set_of(np.ones((300, 200)))
        context = FitContext(0, ComputeConfig(memory_mib=1))
        with pytest.raises(UsageError, match=r"ials needs 2 MiB: 12 bytes x 350 factors x 500") as refusal:
            Ials.fit(training_set, IalsSettings(embedding_size=350), context)
        assert "models.ials.embedding_size" in refusal.value.todo
        check_memory((300, 200), 174, context.compute)
        with pytest.raises(UsageError):
            check_memory((300, 200), 175, context.compute)


class TestScores:
    def test_a_score_is_the_product_of_the_vectors(self):
        model, training_set = fit(binary_users(14, 9))
        expected = model.user_factors.astype(float) @ model.item_factors.astype(float).T
        assert_allclose(model.score(histories_of(training_set)), expected, rtol=1e-5, atol=1e-7)

    def test_a_person_not_fitted_on_is_served_as_a_known_one_with_the_same_history(self):
        model, training_set = fit(binary_users(14, 9))
        known = histories_of(training_set, extra_seen=False)
        new = Histories(np.full(14, -1, np.int32), known.ratings, known.seen)
        assert model.score(new).tobytes() == model.score(known).tobytes()
        tops = [model.top_n(each, 4, COMPUTE) for each in (known, new)]
        assert_array_equal(tops[0].columns, tops[1].columns)
        assert tops[0].scores.tobytes() == tops[1].scores.tobytes()

    def test_another_history_gives_the_solution_for_it(self):
        x = binary_users(14, 9)
        model, _ = fit(x)
        history = csr_matrix(np.float32([[0, 5, 0, 1, 0, 0, 2, 0, 0]]))
        expected = dense_half_step((history.toarray() > 0).astype(float), model.item_factors.astype(float), SETTINGS, 9)
        scores = model.score(Histories(np.int32([-1]), history, history))
        assert_allclose(scores, expected @ model.item_factors.T.astype(float), rtol=1e-4, atol=1e-6)

    def test_a_rating_of_zero_counts_as_rated(self):
        zeros, fives = (training_set_of([[v, v, np.nan], [v, np.nan, v], [v, v, v]]) for v in (0.0, 5.0))
        models = [Ials.fit(each, SETTINGS, CONTEXT) for each in (zeros, fives)]
        assert models[0].score(histories_of(zeros)).tobytes() == models[1].score(histories_of(fives)).tobytes()


class TestItems:
    def test_similar_are_the_largest_cosines(self):
        model, _ = fit(binary_users(30, 9))
        items = model.item_factors.astype(float)
        cosine = items @ items.T / np.outer(np.linalg.norm(items, axis=1), np.linalg.norm(items, axis=1))
        np.fill_diagonal(cosine, -np.inf)
        similar = model.similar(4, COMPUTE)
        assert_array_equal(similar.columns, np.argsort(-cosine, axis=1, kind="stable")[:, :4])
        assert_allclose(similar.scores, -np.sort(-cosine, axis=1)[:, :4], rtol=1e-5, atol=1e-6)

    def test_similar_ends_with_nothing_where_there_are_fewer_items(self):
        model, _ = fit(binary_users(30, 3))
        similar = model.similar(4, COMPUTE)
        assert_array_equal(np.sort(similar.columns[0]), [-1, -1, 1, 2])

    def test_embeddings_are_the_factors_of_what_was_learned(self):
        model = Ials.fit(example_training_set(), SETTINGS, CONTEXT)
        vectors = model.embeddings()
        assert_array_equal(vectors.users, model.user_factors)
        assert_array_equal(vectors.items, model.item_factors)
        assert vectors.users_learned.sum() < len(vectors.users)
        assert not vectors.users[~vectors.users_learned].any()
        assert (vectors.users.dtype, vectors.items.dtype) == (np.float32, np.float32)
