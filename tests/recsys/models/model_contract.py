"""What every model must do. `test_model_contract` runs it over the registry, so a new model joins by its name."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.errors import UsageError
from recsys.models.base import NOTHING, FitContext, Histories
from recsys.models.registry import settings_of
from recsys.prepare.training_set import build_training_set

ID_MAP = "0123abcd"
COMPUTE = ComputeConfig(threads=2)
CONTEXT = FitContext(seed=3, compute=COMPUTE)
_TWO_EPOCHS = {"epochs": 2, "embedding_size": 4, "batch": 64}
QUICK = {
    "bayesian_mf": {"sweeps": 4, "burn_in": 2, "embedding_size": 4},
    "biased_mf": {"epochs": 2, "embedding_size": 4},
    "matrix_factorisation": _TWO_EPOCHS,
    "recommender_net": _TWO_EPOCHS,
    "masked_autoencoder": {"epochs": 2, "layers": (4,), "batch": 8},
}  # less to compute; a model not named here has its defaults

N_USERS, N_ITEMS, TOP_ITEMS = 40, 24, 20
ALL_RATED, NONE_RATED, ONE_RATED = 0, 1, 2  # users who rated everything, nothing, one item
UNRATED_ITEM = 23


def training_set_of(dense, *, top_items=0, min_user_ratings=1):
    """A training set from an (n_users, n_items) array of ratings, NaN where there is none."""
    dense = np.asarray(dense, dtype=np.float32)
    user, item = np.nonzero(~np.isnan(dense))
    return build_training_set(
        user.astype(np.int32),
        item.astype(np.int32),
        dense[user, item],
        dense.shape,
        top_items=top_items,
        min_user_ratings=min_user_ratings,
    )


def example_ratings(seed=11):
    """(N_USERS, N_ITEMS) ratings 0 to 5, NaN where there is none, with the special users and item above."""
    rng = np.random.default_rng(seed)
    popularity = np.linspace(0.7, 0.1, N_ITEMS)
    dense = np.where(
        rng.random((N_USERS, N_ITEMS)) < popularity, rng.integers(0, 6, (N_USERS, N_ITEMS)).astype(float), np.nan
    )
    dense[ALL_RATED] = rng.integers(0, 6, N_ITEMS)
    dense[[NONE_RATED, ONE_RATED]] = np.nan
    dense[ONE_RATED, 4] = 5.0
    dense[:, UNRATED_ITEM] = np.nan
    return dense


def example_training_set(seed=11):
    """The example with the least rated items not kept, and users of fewer than two ratings only served."""
    return training_set_of(example_ratings(seed), top_items=TOP_ITEMS, min_user_ratings=2)


def histories_of(training_set, users=None, extra_seen=True):
    """Histories as a scorer hands them over; beside the rated columns every eleventh other one counts as seen."""
    users = np.arange(training_set.n_users, dtype=np.int32) if users is None else np.asarray(users, dtype=np.int32)
    rated = training_set.ratings[users]
    seen = rated.toarray() * 0
    seen[np.repeat(np.arange(len(users)), np.diff(rated.indptr)), rated.indices] = 1
    if extra_seen and seen.size:
        row, column = np.ogrid[: len(users), : seen.shape[1]]
        seen[(users[row] + 3 * column) % 11 == 0] = 1
    return Histories(users, rated, csr_matrix(seen))


def naive_top_n(scores, seen, n):
    """The n best of (n_users, n_columns) scores by (float32 score descending, column ascending), seen left out."""
    columns = np.full((len(scores), n), NOTHING, np.int32)
    best = np.full((len(scores), n), -np.inf, np.float32)
    for user, row in enumerate(np.asarray(scores, np.float32)):
        left_out = set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]])
        order = sorted((column for column in range(len(row)) if column not in left_out), key=lambda c: (-row[c], c))
        for place, column in enumerate(order[:n]):
            columns[user, place], best[user, place] = column, row[column]
    return columns, best


def seen_or_not(seen, denied):
    """CSR of what is seen, and of the denied columns for everybody."""
    return csr_matrix(((seen.toarray() > 0) | denied).astype(np.int8))


def saved(model, folder):
    folder.mkdir(parents=True)
    model.save(folder, ID_MAP)
    return folder


class ModelContract:
    """What rankers and raters share. A subclass gives `model_class` and `answers`."""

    @staticmethod
    def answers(model, training_set):
        """All that the model says about a training set's users, as arrays."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def training_set(cls):
        return example_training_set()

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, model_class):
        return settings_of(model_class.name, QUICK.get(model_class.name, {}))

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, model_class, settings, training_set):
        return model_class.fit(training_set, settings, CONTEXT)

    def assert_same_answers(self, left, right, training_set):
        for one, other in zip(self.answers(left, training_set), self.answers(right, training_set), strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()

    def test_its_columns_are_the_items_kept(self, model, training_set):
        assert_array_equal(model.items, training_set.items)
        assert model.items.dtype == np.int32

    def test_two_fits_and_any_number_of_threads_give_equal_bytes(self, model, model_class, settings, training_set):
        same = example_training_set()
        again = model_class.fit(same, settings, FitContext(CONTEXT.seed, ComputeConfig(threads=1)))
        self.assert_same_answers(model, again, training_set)
        for name in ("data", "indices", "indptr"):  # and a fit leaves its input alone
            assert_array_equal(getattr(same.ratings, name), getattr(training_set.ratings, name))
        assert_array_equal(same.item_counts, training_set.item_counts)

    def test_a_loaded_model_gives_equal_bytes(self, model, model_class, training_set, tmp_path):
        loaded = model_class.load(saved(model, tmp_path / "model"), ID_MAP)
        assert_array_equal(loaded.items, model.items)
        self.assert_same_answers(model, loaded, training_set)

    def test_a_loaded_model_can_be_refitted_and_saved_again(self, model, model_class, settings, tmp_path):
        more = example_training_set(seed=12)
        loaded = model_class.load(saved(model, tmp_path / "one"), ID_MAP)
        refitted = type(loaded).fit(more, settings, CONTEXT, loaded.found())
        again = model_class.load(saved(refitted, tmp_path / "two"), ID_MAP)
        assert_array_equal(refitted.items, more.items)
        self.assert_same_answers(type(model).fit(more, settings, CONTEXT, model.found()), again, more)

    def test_history_is_kept_and_plain(self, model):
        assert json.loads(json.dumps(model.history())) == model.history()

    @pytest.mark.parametrize(
        ("key", "value", "named"),
        [
            ("id_map_sha256", "another", "id map"),
            ("model", "another", "model"),
            ("format", 99, "format"),
            ("versions", {"keras": "99.0", "numpy": "2"}, "Keras generation"),
        ],
    )
    def test_a_folder_that_does_not_fit_is_refused(self, model, model_class, tmp_path, key, value, named):
        folder = saved(model, tmp_path / "model")
        record = json.loads((folder / "model.json").read_text())
        assert key in record
        (folder / "model.json").write_text(json.dumps(record | {key: value}))
        with pytest.raises(UsageError, match=f"its {named} is another"):
            model_class.load(folder, ID_MAP)

    def test_another_id_map_is_refused(self, model, model_class, tmp_path):
        with pytest.raises(UsageError, match="id map"):
            model_class.load(saved(model, tmp_path / "model"), "another")

    def test_another_models_folder_is_refused(self, model, other_class, tmp_path):
        with pytest.raises(UsageError, match="its model is another"):
            other_class.load(saved(model, tmp_path / "model"), ID_MAP)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1)])
    def test_a_single_user_or_item_is_learned(self, model_class, settings, shape):
        training_set = training_set_of(np.arange(1.0, 1 + np.prod(shape)).reshape(shape) % 5)
        model = model_class.fit(training_set, settings, CONTEXT)
        assert_array_equal(model.items, np.arange(shape[1]))
        for answer in self.answers(model, training_set):
            assert np.isfinite(answer.flat[0]) or answer.flat[0] == -np.inf
            assert not (answer == np.inf).any()


class RankerContract(ModelContract):
    """What a ranker must do."""

    @staticmethod
    def answers(model, training_set):
        histories = histories_of(training_set)
        top = model.top_n(histories, 7, COMPUTE)
        return [
            model.score(histories),
            top.columns,
            top.scores,
            model.because(histories, top.columns, COMPUTE),
            model.can_score(histories),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def histories(cls, training_set):
        return histories_of(training_set)

    def test_shapes_and_types(self, model, histories, training_set):
        scores, top = model.score(histories), model.top_n(histories, 7, COMPUTE)
        assert scores.shape == training_set.ratings.shape
        assert top.columns.shape == top.scores.shape == (N_USERS, 7)
        assert (scores.dtype, top.columns.dtype, top.scores.dtype) == (np.float32, np.int32, np.float32)
        assert np.isfinite(scores).all()

    @pytest.mark.parametrize("n", [1, 7, TOP_ITEMS, TOP_ITEMS + 5])
    def test_top_n_is_the_sorted_score(self, model, histories, n):
        columns, scores = naive_top_n(model.score(histories), histories.seen, n)
        top = model.top_n(histories, n, COMPUTE)
        assert_array_equal(top.columns, columns)
        assert_array_equal(top.scores[columns >= 0], scores[columns >= 0])

    def test_a_seen_item_is_never_listed_and_none_twice(self, model, histories):
        for user, listed in enumerate(model.top_n(histories, TOP_ITEMS, COMPUTE).columns):
            seen = histories.seen[user].indices
            own = listed[listed >= 0]
            assert len(own) == TOP_ITEMS - len(seen)
            assert len(set(own)) == len(own)
            assert not set(own) & set(seen)

    @pytest.mark.parametrize("n", [1, 7, TOP_ITEMS])
    @pytest.mark.parametrize("allowed", [[], [0], [3, 4, 11, 19], range(1, TOP_ITEMS), range(TOP_ITEMS)])
    def test_only_allowed_columns_are_listed(self, model, histories, n, allowed):
        open_columns = np.isin(np.arange(TOP_ITEMS), list(allowed))
        columns, scores = naive_top_n(model.score(histories), seen_or_not(histories.seen, ~open_columns), n)
        top = model.top_n(replace(histories, allowed=open_columns), n, COMPUTE)
        assert_array_equal(top.columns, columns)
        assert top.scores[columns >= 0].tobytes() == scores[columns >= 0].tobytes()

    def test_short_lists_end_with_nothing(self, model, histories):
        columns = model.top_n(histories, TOP_ITEMS, COMPUTE).columns
        stands = columns != NOTHING
        assert not stands.all()
        assert (stands[:, :-1] | ~stands[:, 1:]).all()
        assert not stands[ALL_RATED].any()

    def test_scores_never_rise_and_ties_go_by_column(self, model, histories):
        top = model.top_n(histories, TOP_ITEMS, COMPUTE)
        for columns, scores in zip(top.columns, top.scores, strict=True):
            own = columns >= 0
            assert np.isfinite(scores[own]).all()
            pairs = list(zip(-scores[own], columns[own], strict=True))
            assert pairs == sorted(pairs)

    @pytest.mark.parametrize("threads", [1, 2, 5])
    @pytest.mark.parametrize("size", [1, 7, N_USERS])
    def test_threads_and_blocks_do_not_matter(self, model, training_set, histories, threads, size):
        compute = ComputeConfig(threads=threads)
        whole = model.top_n(histories, 7, COMPUTE)
        reasons = model.because(histories, whole.columns, COMPUTE)
        for start in range(0, N_USERS, size):
            users = histories.user_index[start : start + size]
            block = histories_of(training_set, users)
            top = model.top_n(block, 7, compute)
            assert_array_equal(top.columns, whole.columns[users])
            assert top.scores.tobytes() == whole.scores[users].tobytes()
            assert_array_equal(model.because(block, top.columns, compute), reasons[users])
            assert_array_equal(model.can_score(block), model.can_score(histories)[users])

    def test_no_users_at_all(self, model, training_set):
        nobody = histories_of(training_set, [])
        assert model.score(nobody).shape == (0, TOP_ITEMS)
        top = model.top_n(nobody, 7, COMPUTE)
        assert top.columns.shape == top.scores.shape == (0, 7)
        assert model.because(nobody, top.columns, COMPUTE).shape == (0, 7)
        assert model.can_score(nobody).shape == (0,)

    def test_a_user_without_ratings_gets_a_list_without_reasons(self, model, training_set):
        empty = histories_of(training_set, [NONE_RATED], extra_seen=False)
        top = model.top_n(empty, TOP_ITEMS, COMPUTE)
        assert_array_equal(np.sort(top.columns[0]), np.arange(TOP_ITEMS))
        assert (model.because(empty, top.columns, COMPUTE) == NOTHING).all()

    def test_can_score_whom_it_has_learned(self, model, histories, training_set):
        assert not training_set.trained.all()
        assert model.can_score(histories)[training_set.trained].all()

    def test_reasons_are_rated_columns(self, model, histories):
        top = model.top_n(histories, 7, COMPUTE)
        because = model.because(histories, top.columns, COMPUTE)
        assert because.shape == top.columns.shape
        assert because.dtype == np.int32
        assert (because[top.columns == NOTHING] == NOTHING).all()
        for user, reasons in enumerate(because):
            assert set(reasons[reasons >= 0]) <= set(histories.ratings[user].indices)

    def test_histories_are_left_alone(self, model, training_set):
        histories, untouched = histories_of(training_set), histories_of(training_set)
        model.score(histories)
        top = model.top_n(histories, 7, COMPUTE)
        model.because(histories, top.columns, COMPUTE)
        assert_array_equal(histories.ratings.data, untouched.ratings.data)
        assert_array_equal(histories.seen.indices, untouched.seen.indices)


class RaterContract(ModelContract):
    """What a rater must do."""

    @staticmethod
    def answers(model, training_set):
        user, item = all_pairs(training_set)
        return [model.predict(user, item)]

    @pytest.fixture(scope="class")
    @classmethod
    def predicted(cls, model, training_set):
        """(n_users + 1, n_items + 1): the last row and column are the unknown user and item."""
        user, item = all_pairs(training_set)
        return model.predict(user, item).reshape(N_USERS + 1, N_ITEMS + 1)

    def test_shape_and_type(self, model, training_set):
        user, item = all_pairs(training_set)
        predicted = model.predict(user, item)
        assert predicted.shape == user.shape
        assert predicted.dtype == np.float32
        nothing = np.empty(0, np.int32)
        assert model.predict(nothing, nothing).shape == (0,)

    def test_it_predicts_every_learned_pair(self, predicted, training_set):
        learned_users = np.flatnonzero(training_set.trained)
        assert len(learned_users) < N_USERS
        assert np.isfinite(predicted[np.ix_(learned_users, training_set.items)]).all()

    def test_what_was_not_learned_is_nan_or_the_same_for_all(self, predicted, training_set):
        unlearned_users = [*np.flatnonzero(~training_set.trained), N_USERS]
        unlearned_items = [*np.setdiff1d(np.arange(N_ITEMS), training_set.items), N_ITEMS]
        assert len(unlearned_users) > 2
        assert len(unlearned_items) > 2
        for user in unlearned_users:
            assert_array_equal(predicted[user], predicted[N_USERS])
        for item in unlearned_items:
            assert_array_equal(predicted[:, item], predicted[:, N_ITEMS])

    def test_a_kept_item_without_a_learned_rating_counts_as_not_learned(self, model_class, settings):
        ratings = np.full((6, 3), np.nan)
        ratings[:5, :2] = [[5, 1], [4, 2], [5, 3], [1, 2], [3, 3]]
        ratings[5, 2] = 1.0  # the only rating of item 2 is by a user with too few to learn from
        training_set = training_set_of(ratings, min_user_ratings=2)
        assert_array_equal(training_set.items, [0, 1, 2])
        model = model_class.fit(training_set, settings, CONTEXT)
        users = np.arange(6, dtype=np.int32)
        unlearned = model.predict(users, np.full(6, 2, np.int32))
        assert_array_equal(unlearned, model.predict(users, np.full(6, -1, np.int32)))

    @pytest.mark.parametrize("wrong", [-2, N_USERS])
    def test_a_user_out_of_range_is_refused(self, model, wrong):
        with pytest.raises(IndexError, match=f"user_index must be in -1..{N_USERS - 1}, found"):
            model.predict(np.array([0, wrong], np.int32), np.array([0, 0], np.int32))

    @pytest.mark.parametrize("wrong", [-2, N_ITEMS])
    def test_an_item_out_of_range_is_refused(self, model, wrong):
        with pytest.raises(IndexError, match=f"item_index must be in -1..{N_ITEMS - 1}, found"):
            model.predict(np.array([0, 0], np.int32), np.array([wrong, 0], np.int32))

    @pytest.mark.parametrize("size", [1, 13])
    def test_order_and_blocks_do_not_matter(self, model, training_set, size):
        user, item = all_pairs(training_set)
        shuffled = np.random.default_rng(0).permutation(len(user))[:200]
        parts = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
        block = np.concatenate([model.predict(user[part], item[part]) for part in parts])
        assert block.tobytes() == model.predict(user, item)[shuffled].tobytes()


def all_pairs(training_set):
    """user_index and item_index of every pair, the unknown user and item (-1) last."""
    users = np.append(np.arange(training_set.n_users), -1).astype(np.int32)
    items = np.append(np.arange(training_set.n_items), -1).astype(np.int32)
    return np.repeat(users, len(items)), np.tile(items, len(users))
