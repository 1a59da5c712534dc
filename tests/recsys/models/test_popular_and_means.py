"""The baselines, by hand."""

import numpy as np
import pytest
from model_contract import COMPUTE, CONTEXT, example_training_set, histories_of, training_set_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.popular import Popular, PopularSettings

nan = np.nan
#                    item 0    1    2    3
RATINGS = np.array([[5.0, nan, 3.0, nan],
                    [4.0, 2.0, nan, nan],
                    [nan, 3.0, 4.0, 1.0]])  # fmt: skip


class TestPopular:
    def test_lists_are_the_most_rated_unseen_items(self):
        training_set = training_set_of(RATINGS)
        model = Popular.fit(training_set, PopularSettings(), CONTEXT)
        top = model.top_n(histories_of(training_set, extra_seen=False), 3, COMPUTE)
        assert_array_equal(top.columns, [[1, 3, -1], [2, 3, -1], [0, -1, -1]])
        assert_array_equal(top.scores[:, 0], [2, 2, 2])
        assert_array_equal(top.scores[:2, 1], [1, 1])

    def test_ratings_of_users_that_are_only_served_count(self):
        training_set = training_set_of([[1.0, nan], [1.0, 1.0], [1.0, nan]], min_user_ratings=2)
        assert_array_equal(Popular.fit(training_set, PopularSettings(), CONTEXT).counts, [3, 1])

    def test_counts_that_share_a_float32_are_a_tie_by_column(self):
        training_set = training_set_of(RATINGS)
        model = Popular(training_set.items, np.array([2**24, 2**24 + 1, 5, 2**24 + 2]))
        top = model.top_n(histories_of(training_set, [0], extra_seen=False), 2, COMPUTE)
        assert_array_equal(top.columns, [[3, 1]])
        unseen = histories_of(training_set_of([[nan, nan, nan, nan], [1.0, 1.0, 1.0, 1.0]]), [0], extra_seen=False)
        assert_array_equal(model.top_n(unseen, 4, COMPUTE).columns, [[3, 0, 1, 2]])

    def test_anyone_can_be_scored(self):
        training_set = example_training_set()
        model = Popular.fit(training_set, PopularSettings(), CONTEXT)
        assert model.can_score(histories_of(training_set)).all()


class TestMeansOnly:
    def test_overall_then_item_then_user(self):
        """Overall 22/7; item means of the rest; user means of what is left then, each by hand."""
        model = MeansOnly.fit(training_set_of(RATINGS), MeansSettings(), CONTEXT)
        overall = 22 / 7
        item = np.array([4.5, 2.5, 3.5, 1.0]) - overall
        user = np.array([((5 - 4.5) + (3 - 3.5)) / 2, ((4 - 4.5) + (2 - 2.5)) / 2, (0.5 + 0.5 + 0.0) / 3])
        expected = overall + item[None, :] + user[:, None]
        users, items = (index.ravel().astype(np.int32) for index in np.indices(RATINGS.shape))
        assert_allclose(model.predict(users, items).reshape(RATINGS.shape), expected, rtol=1e-6)

    @pytest.mark.parametrize(("user", "item", "expected"), [(-1, 0, 4.5), (1, -1, 22 / 7 - 0.5), (-1, -1, 22 / 7)])
    def test_an_unknown_adds_nothing(self, user, item, expected):
        model = MeansOnly.fit(training_set_of(RATINGS), MeansSettings(), CONTEXT)
        predicted = model.predict(np.array([user], np.int32), np.array([item], np.int32))
        assert_allclose(predicted, [expected], rtol=1e-6)

    def test_new_people_get_the_user_mean_of_their_own_ratings(self):
        """A person with a trained user's ratings is told what that user is told."""
        training_set = training_set_of(RATINGS)
        model = MeansOnly.fit(training_set, MeansSettings(), CONTEXT)
        columns = np.tile(np.arange(4, dtype=np.int32), (3, 1))
        users = np.repeat(np.arange(3, dtype=np.int32), 4)
        expected = model.predict(users, columns.ravel()).reshape(3, 4)
        assert_array_equal(model.predict_new(training_set.ratings, columns), expected)
        nobody = csr_matrix((1, 4), dtype=np.float32)
        assert_allclose(model.predict_new(nobody, np.int32([[0, -1]])), [[4.5, 22 / 7]], rtol=1e-6)
