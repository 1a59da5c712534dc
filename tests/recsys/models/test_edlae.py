"""EDLAE against its formula, against a regression an item, against the masked training it stands for, and EASE."""

import itertools

import numpy as np
import pytest
from model_contract import COMPUTE, CONTEXT, example_training_set, histories_of, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.compute import MIB
from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models import edlae
from recsys.models.base import FitContext
from recsys.models.edlae import Edlae, EdlaeSettings, check_memory, largest_catalogue


def binary_users(n_users, n_items, seed=0, share=0.4):
    """(n_users, n_items) of 0 and 1; every item has a user."""
    rng = np.random.default_rng(seed)
    x = (rng.random((n_users, n_items)) < share).astype(float)
    x[np.arange(n_items) % n_users, np.arange(n_items)] = 1.0
    return x


def fit(x, **settings):
    training_set = training_set_of(np.where(x > 0, 3.0, np.nan))
    return Edlae.fit(training_set, EdlaeSettings(**settings), CONTEXT), training_set


def dense_formula(x, reg, dropout):
    """Steck 2020: C = (G + L)^-1 with L = p / (1 - p) diag(G) + reg I; B = I - C diag(1 / diag(C))."""
    gram = x.T @ x
    inverse = np.linalg.inv(gram + np.diag(dropout / (1 - dropout) * np.diag(gram) + reg))
    return np.eye(len(gram)) - inverse / np.diag(inverse)[None, :]


def regression_by_item(x, reg, dropout):
    """Column i: ridge regression of item i on the others, by least squares on rows appended for the penalty."""
    n_items = x.shape[1]
    penalty = np.sqrt(dropout / (1 - dropout) * x.sum(axis=0) + reg)
    weights = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.delete(np.arange(n_items), item)
        left = np.vstack([x[:, others], np.diag(penalty[others])])
        right = np.concatenate([x[:, item], np.zeros(n_items - 1)])
        weights[others, item] = np.linalg.lstsq(left, right, rcond=None)[0]
    return weights


def masked_training(x, reg, dropout):
    """The training the closed form stands for: every mask of a user's row, weighted by its probability."""
    n_items = x.shape[1]
    inputs, targets, chances = [], [], []
    for mask in itertools.product([0.0, 1.0], repeat=n_items):
        kept = np.array(mask)
        inputs.append(x * kept / (1 - dropout))
        targets.append(x)
        chances.append(np.full(len(x), dropout ** (n_items - kept.sum()) * (1 - dropout) ** kept.sum()))
    root = np.sqrt(np.concatenate(chances))[:, None]
    inputs, targets = np.concatenate(inputs) * root, np.concatenate(targets) * root
    weights = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.delete(np.arange(n_items), item)
        left = np.vstack([inputs[:, others], np.sqrt(reg) * np.eye(n_items - 1)])
        right = np.concatenate([targets[:, item], np.zeros(n_items - 1)])
        weights[others, item] = np.linalg.lstsq(left, right, rcond=None)[0]
    return weights


class TestWeights:
    @pytest.mark.parametrize(("reg", "dropout"), [(0.5, 0.0), (3.0, 0.2), (20.0, 0.5), (1.0, 0.9)])
    def test_weights_are_the_dense_formula(self, reg, dropout):
        x = binary_users(30, 12)
        model, _ = fit(x, reg=reg, dropout=dropout)
        assert_allclose(model.weights, dense_formula(x, reg, dropout), rtol=1e-5, atol=1e-7)
        assert model.weights.dtype == np.float32
        assert model.weights.flags.c_contiguous

    @pytest.mark.parametrize(("reg", "dropout"), [(0.5, 0.0), (3.0, 0.3)])
    def test_each_column_is_the_ridge_regression_of_its_item_on_the_others(self, reg, dropout):
        x = binary_users(25, 9, seed=1)
        model, _ = fit(x, reg=reg, dropout=dropout)
        assert_allclose(model.weights, regression_by_item(x, reg, dropout), rtol=1e-5, atol=1e-6)

    def test_the_closed_form_is_the_masked_training(self):
        x = binary_users(8, 5, seed=2, share=0.6)
        model, _ = fit(x, reg=0.7, dropout=0.4)
        assert_allclose(model.weights, masked_training(x, reg=0.7, dropout=0.4), rtol=1e-5, atol=1e-6)

    def test_without_dropout_it_is_ease_under_its_constraint(self):
        """min |X - X B|^2 + reg |B|^2 with B[i, i] = 0, by the Lagrange system of each column."""
        x, reg = binary_users(7, 4, seed=3, share=0.6), 0.8
        model, _ = fit(x, reg=reg, dropout=0.0)
        gram, n = x.T @ x, x.shape[1]
        for item in range(n):
            unit = np.eye(n)[item]
            system = np.block([[gram + reg * np.eye(n), unit[:, None]], [unit[None, :], np.zeros((1, 1))]])
            solution = np.linalg.solve(system, np.append(gram[:, item], 0.0))
            assert_allclose(model.weights[:, item], solution[:n], rtol=1e-5, atol=1e-6)

    def test_the_diagonal_is_zero_and_the_weights_are_not_symmetric(self):
        x = binary_users(30, 12)
        model, _ = fit(x, reg=1.0, dropout=0.5)
        assert_array_equal(model.weights.diagonal(), 0)
        assert not np.allclose(model.weights, model.weights.T, rtol=1e-2)

    @pytest.mark.parametrize("threads", [1, 3])
    def test_threads_do_not_matter(self, threads, monkeypatch):
        monkeypatch.setattr(edlae, "TILE", 5)
        x = binary_users(40, 23)
        penalty = np.linspace(1.0, 3.0, 23)
        by_items = [edlae.weights_by_items(np.triu(x.T @ x), penalty, each) for each in (threads, 2)]
        assert by_items[0].tobytes() == by_items[1].tobytes()
        by_users = [edlae.weights_by_users(csr_matrix(x), penalty, each) for each in (threads, 2)]
        assert by_users[0].tobytes() == by_users[1].tobytes()

    @pytest.mark.parametrize("shape", [(3, 40), (20, 70), (60, 12), (1, 1)])
    def test_by_users_and_by_items_are_the_same(self, shape):
        x = binary_users(*shape)
        penalty = np.linspace(0.5, 9.0, shape[1])
        by_items = edlae.weights_by_items(np.triu(x.T @ x), penalty, 2)
        assert_allclose(edlae.weights_by_users(csr_matrix(x), penalty, 2), by_items, rtol=1e-4, atol=1e-6)

    def test_a_matrix_that_is_not_positive_is_refused(self):
        with pytest.raises(UsageError, match="singular") as refusal:
            edlae.weights_by_items(np.zeros((3, 3)), np.zeros(3), 1)
        assert "reg" in refusal.value.todo

    def test_users_that_are_only_served_teach_nothing(self):
        ratings = np.where(binary_users(20, 6, seed=5) > 0, 4.0, np.nan)
        ratings[19] = [1.0, np.nan, np.nan, np.nan, np.nan, np.nan]
        served_too = training_set_of(ratings, min_user_ratings=2)
        assert not served_too.trained[19]
        few = np.flatnonzero(served_too.trained)
        model = Edlae.fit(served_too, EdlaeSettings(reg=2.0), CONTEXT)
        alone = Edlae.fit(training_set_of(ratings[few]), EdlaeSettings(reg=2.0), CONTEXT)
        assert_array_equal(model.weights, alone.weights)


def powered_formula(x, reg, dropout, user_power, item_power):
    """The dense inverse of the weighted Gram matrix; the weights keep the sum of weight x ratings."""
    ratings, count = x.sum(axis=1), x.sum(axis=0)
    level = np.floor(np.log2(ratings))
    weight = np.rint(2 ** (min(24, 8 + 10 * user_power) - level * user_power)) if user_power else np.ones(len(x))
    weight *= ratings.sum() / (weight * ratings).sum()
    gram = x.T @ np.diag(weight) @ x
    inverse = np.linalg.inv(gram + np.diag(dropout / (1 - dropout) * np.diag(gram) + reg))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights * (count / count.mean()) ** -item_power


class TestPowers:
    @pytest.mark.parametrize("shape", [(30, 12), (6, 40)])  # solved by items, and by users
    @pytest.mark.parametrize(("user_power", "item_power"), [(0.5, 0.0), (0.0, 0.3), (0.7, 0.2), (2.0, 1.0)])
    def test_weights_are_the_dense_formula(self, shape, user_power, item_power):
        x = binary_users(*shape)
        x[0] = 1.0  # more than the others, so that it weighs less
        model, _ = fit(x, reg=2.0, dropout=0.4, user_power=user_power, item_power=item_power)
        expected = powered_formula(x, 2.0, 0.4, user_power, item_power)
        assert_allclose(model.weights, expected, rtol=1e-5, atol=1e-7)
        assert np.abs(expected - dense_formula(x, 2.0, 0.4)).max() > 1e-3

    def test_users_with_as_many_ratings_weigh_the_same_whatever_the_power(self):
        x = np.float64([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
        plain, powered = fit(x, reg=1.0)[0], fit(x, reg=1.0, user_power=1.5)[0]
        assert_allclose(powered.weights, plain.weights, rtol=1e-6)

    def test_no_learned_user_at_all(self):
        training_set = training_set_of([[1.0, np.nan], [np.nan, 2.0]], min_user_ratings=2)
        model = Edlae.fit(training_set, EdlaeSettings(user_power=0.5, item_power=0.5), CONTEXT)
        assert_array_equal(model.weights, np.zeros((2, 2)))


class TestScores:
    def test_a_score_is_the_users_row_times_the_weights(self):
        """By hand, so that weights the wrong way round fail: B[j, i] takes a rating of j to the score of i."""
        x = binary_users(30, 12)
        model, training_set = fit(x, reg=2.0, dropout=0.3)
        histories = histories_of(training_set, extra_seen=False)
        weights = dense_formula(x, 2.0, 0.3)
        assert_allclose(model.score(histories), x @ weights, rtol=1e-5, atol=1e-6)
        assert np.abs(x @ weights - x @ weights.T).max() > 0.05
        top = model.top_n(histories, 3, COMPUTE)
        for user, (columns, scores) in enumerate(zip(top.columns, top.scores, strict=True)):
            expected = [sum(weights[j, i] for j in np.flatnonzero(x[user])) for i in columns if i >= 0]
            assert_allclose(scores[columns >= 0], expected, rtol=1e-5, atol=1e-6)

    def test_a_rating_of_zero_counts_as_rated(self):
        zeros = training_set_of([[0.0, 0.0, np.nan], [0.0, np.nan, 0.0], [0.0, 0.0, 0.0]])
        fives = training_set_of([[5.0, 5.0, np.nan], [5.0, np.nan, 5.0], [5.0, 5.0, 5.0]])
        models = [Edlae.fit(each, EdlaeSettings(reg=1.0), CONTEXT) for each in (zeros, fives)]
        assert_array_equal(models[0].weights, models[1].weights)
        assert_array_equal(models[0].score(histories_of(zeros)), models[1].score(histories_of(fives)))
        assert np.abs(models[0].weights).max() > 0.1

    def test_because_is_the_largest_weight_from_a_rated_item(self):
        training_set = example_training_set()
        model = Edlae.fit(training_set, EdlaeSettings(reg=5.0), CONTEXT)
        histories = histories_of(training_set)
        top = model.top_n(histories, 6, COMPUTE)
        because = model.because(histories, top.columns, COMPUTE)
        compared = 0
        for user, columns in enumerate(top.columns):
            rated = np.sort(histories.ratings[user].indices)
            for place, column in enumerate(columns):
                if column < 0 or not len(rated):
                    assert because[user, place] == -1
                    continue
                assert because[user, place] == rated[np.argmax(model.weights[rated, column])]
                compared += 1
        assert compared > 100

    def test_because_names_the_first_of_equal_reasons_and_one_that_lowers_the_score_least(self):
        training_set = training_set_of([[1.0, 1.0, np.nan, np.nan], [1.0, 1.0, 1.0, 1.0]])
        model = Edlae(training_set.items, np.float32([[0, 0, 2, -5], [0, 0, 2, -3], [0, 0, 0, 0], [0, 0, 0, 0]]))
        histories = histories_of(training_set, [0], extra_seen=False)
        assert_array_equal(model.because(histories, np.int32([[2, 3, -1]]), COMPUTE), [[0, 1, -1]])

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
    def test_a_weight_that_is_no_finite_number_is_an_error_and_hides_no_item(self, wrong):
        training_set = example_training_set()
        model = Edlae.fit(training_set, EdlaeSettings(reg=5.0), CONTEXT)
        weights = model.weights.copy()
        weights[2, 4] = weights[2, 5] = weights[5, 1] = wrong
        for ask in (
            lambda model: model.top_n(histories_of(training_set), 3, COMPUTE),
            lambda model: model.score(histories_of(training_set)),
            lambda model: model.similar(3, COMPUTE),
        ):
            with pytest.raises(UsageError, match="weight of an item's row is not a finite number") as refusal:
                ask(Edlae(model.items, weights))
            assert refusal.value.found == f"2 of {len(weights)} are not, the first at 2"


class TestInPlace:
    @pytest.mark.parametrize("n", [1, 2, 3, 511, 512, 513, 1100])
    def test_the_weights_take_the_place_of_the_inverse(self, n):
        """The same as from a matrix of their own, on either side of a tile's edge and for odd sizes."""
        rng = np.random.default_rng(n)
        inverse = rng.normal(size=(n, n)) + 3 * np.eye(n)
        inverse = inverse + inverse.T
        expected = (-inverse / inverse.diagonal()).astype(np.float32)
        np.fill_diagonal(expected, 0)
        for threads in (1, 3):
            weights = edlae._weights_in_place(np.triu(inverse), threads)
            assert_array_equal(weights, expected)
            assert weights.base.nbytes < 4 * n * n + 8  # half of the memory was given back


class TestMemory:
    @pytest.mark.parametrize(("users", "need"), [(250, "1 MiB for"), (190, "2 MiB for")])
    def test_what_does_not_fit_is_refused_before_anything_is_allocated(self, users, need, monkeypatch):
        monkeypatch.setattr(edlae, "upper_gram", lambda *_: pytest.fail("the work was started"))
        monkeypatch.setattr(edlae, "weights_by_users", lambda *_: pytest.fail("the work was started"))
        training_set = training_set_of(np.ones((users, 400)))
        context = FitContext(0, ComputeConfig(memory_mib=1))  # 400^2 x 8 bytes = 1.22 MiB
        with pytest.raises(UsageError) as refusal:
            Edlae.fit(training_set, EdlaeSettings(), context)
        message = str(refusal.value)
        for figure in (need, "400 items", "at most 1 MiB", "compute.memory_mib", "at most 362 items", "--top-items"):
            assert figure in message

    @pytest.mark.parametrize("memory_mib", [1, 7, 512, 4_096, 65_536])
    def test_the_largest_catalogue_is_the_last_that_fits(self, memory_mib):
        compute = ComputeConfig(memory_mib=memory_mib)
        most = largest_catalogue(compute)
        assert 8 * most**2 <= memory_mib * MIB < 8 * (most + 1) ** 2
        check_memory(most, compute)
        with pytest.raises(UsageError, match=f"{most + 1:,} items"):
            check_memory(most + 1, compute)
