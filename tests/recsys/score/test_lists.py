"""Lists of users as the published table, against a naive maker of the same lists."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from recsys import tables
from recsys.config import ComputeConfig
from recsys.identifiers import IdMap
from recsys.models.base import FitContext
from recsys.models.edlae import Edlae, EdlaeSettings
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.popular import Popular, PopularSettings
from recsys.prepare.training_set import build_training_set
from recsys.score import lists as lists_module
from recsys.score.lists import People, Scorer, to_table

COMPUTE = ComputeConfig(threads=2)
CONTEXT = FitContext(0, COMPUTE)
nan = np.nan


class Shy(MeansOnly):
    """A rater that has no word for the last user."""

    def predict(self, user_index, item_index):
        return np.where(user_index == len(self.user) - 1, np.float32(nan), super().predict(user_index, item_index))


class Everyone(Scorer):
    """A scorer with those it makes lists for."""

    people: People

    @property
    def seen(self):
        return self.people.seen


def make(ratings, *, n, top_items=0, min_user_ratings=1, refused=(), model=Edlae, settings=None, rater=MeansOnly):
    """A scorer over an (n_users, n_items) array of ratings; `refused` are pairs seen without a rating."""
    ratings = np.asarray(ratings, dtype=np.float32)
    user, item = np.nonzero(~np.isnan(ratings))
    training_set = build_training_set(
        user.astype(np.int32), item.astype(np.int32), ratings[user, item], ratings.shape,
        top_items=top_items, min_user_ratings=min_user_ratings,
    )  # fmt: skip
    seen = (~np.isnan(ratings)).astype(np.int8)
    for pair in refused:
        seen[pair] = 1
    settings = settings or (EdlaeSettings(reg=1.0) if model is Edlae else PopularSettings())
    ranker = model.fit(training_set, settings, CONTEXT)
    said = None if rater is None else rater.fit(training_set, MeansSettings(), CONTEXT)
    scorer = Everyone(training_set.catalogue, ranker, said, (1.0, 5.0), n, COMPUTE)
    users = np.arange(len(ratings), dtype=np.int32)
    object.__setattr__(scorer, "training_set", training_set)
    object.__setattr__(scorer, "people", People(users, training_set.ratings, csr_matrix(seen), training_set.trained))
    return scorer


def id_map(scorer):
    n_users, n_items = scorer.seen.shape
    return IdMap(pa.array([10 * (u + 1) for u in range(n_users)]), pa.array([f"i{i:02d}" for i in range(n_items)]))


def rows_of(scorer, users=None):
    ids, people = id_map(scorer), scorer.people if users is None else scorer.people.take(np.asarray(users, np.int64))
    return pa.concat_tables(to_table(block, ids) for block in scorer.blocks(people)).to_pylist()


def naive_rows(scorer):
    """The table by loops: the ranker's plain scores sorted, then popular items, each unseen and once."""
    training_set, ids, rows = scorer.training_set, id_map(scorer), []
    seen = scorer.seen.toarray() > 0
    counts = training_set.item_counts
    popular = sorted(np.flatnonzero(counts), key=lambda item: (-counts[item], item))
    for user in range(len(seen)):
        rated = training_set.ratings[user]
        weights = scorer.ranker.weights.astype(np.float64)
        listed = []
        if rated.nnz:
            scores = weights[rated.indices].sum(axis=0).astype(np.float32)
            for column in sorted(range(len(scores)), key=lambda c: (-scores[c], c)):
                item = int(training_set.items[column])
                if not seen[user, item]:
                    because = int(training_set.items[rated.indices[np.argmax(weights[rated.indices, column])]])
                    source = "model" if training_set.trained[user] else "fold_in"
                    listed.append((item, scores[column], source, because))
        listed = listed[: scorer.n]
        own = {item for item, *_ in listed}
        listed += [(int(i), None, "popular", None) for i in popular if not seen[user, i] and i not in own]
        for rank, (item, score, source, because) in enumerate(listed[: scorer.n], 1):
            predicted = scorer.rater.predict(np.array([user], np.int32), np.array([item], np.int32))[0]
            rows.append(
                {
                    "user_id": ids.user_ids[user].as_py(),
                    "rank": rank,
                    "item_id": ids.item_ids[item].as_py(),
                    "score": score,
                    "predicted_rating": float(np.clip(predicted, *scorer.scale)),
                    "source": source,
                    "because_item_id": None if because is None else ids.item_ids[because].as_py(),
                }
            )
    return rows


@st.composite
def scorers(draw):
    n_users, n_items = draw(st.integers(1, 8)), draw(st.integers(1, 9))
    cells = draw(st.lists(st.sampled_from([nan, nan, 1.0, 3.0, 5.0]), min_size=n_users * n_items,
                          max_size=n_users * n_items))  # fmt: skip
    ratings = np.array(cells).reshape(n_users, n_items)
    ratings[draw(st.integers(0, n_users - 1)), draw(st.integers(0, n_items - 1))] = 4.0
    pairs = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    return make(
        ratings,
        n=draw(st.integers(1, 11)),
        top_items=draw(st.integers(0, n_items)),
        min_user_ratings=draw(st.integers(1, 3)),
        refused=draw(st.lists(pairs, max_size=4)),
    )


class TestAgainstTheNaiveTable:
    @settings(max_examples=80, deadline=None)
    @given(scorers())
    def test_rows_are_the_naive_rows(self, scorer):
        found, expected = rows_of(scorer), naive_rows(scorer)
        assert [without_figures(row) for row in found] == [without_figures(row) for row in expected]
        for one, other in zip(found, expected, strict=True):
            assert (one["score"] is None) == (other["score"] is None)
            if one["score"] is not None:
                assert one["score"] == pytest.approx(other["score"], rel=1e-5, abs=1e-6)
            assert one["predicted_rating"] == pytest.approx(other["predicted_rating"], rel=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(scorers())
    def test_everyone_has_n_rows_or_one_a_candidate(self, scorer):
        rated = scorer.catalogue.item_counts > 0
        found = [row["user_id"] for row in rows_of(scorer)]
        for user, seen in enumerate(scorer.seen.toarray() > 0):
            assert found.count(10 * (user + 1)) == min(scorer.n, int((rated & ~seen).sum()))

    @settings(max_examples=25, deadline=None)
    @given(scorers(), st.integers(1, 40))
    def test_blocks_do_not_matter(self, scorer, row_group_rows):
        whole = rows_of(scorer)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lists_module, "ROW_GROUP_ROWS", row_group_rows)
            sizes = [len(block.listed_as) for block in scorer.blocks(scorer.people)]
            assert max(sizes) == min(len(scorer.people), max(1, row_group_rows // scorer.n))
            assert rows_of(scorer) == whole


def without_figures(row):
    return {name: value for name, value in row.items() if name not in {"score", "predicted_rating"}}


#                    item 0    1    2    3    4    5(rated by one)
RATINGS = np.array([[5.0, 4.0, nan, nan, nan, nan],
                    [5.0, nan, 3.0, nan, nan, nan],
                    [4.0, 2.0, 3.0, 1.0, nan, nan],
                    [nan, 2.0, nan, 4.0, 5.0, nan],
                    [nan, nan, nan, nan, nan, 2.0],
                    [3.0, nan, nan, nan, nan, nan],
                    [nan, nan, nan, nan, nan, nan]])  # fmt: skip


class TestSources:
    def test_items_not_kept_stand_only_in_popular_rows_at_the_end(self):
        rows = rows_of(make(RATINGS, n=6, top_items=3))
        assert {row["item_id"] for row in rows if row["source"] != "popular"} <= {"i00", "i01", "i02", "i03"}
        first = [row for row in rows if row["user_id"] == 10]
        assert [row["source"] for row in first] == ["model", "popular", "popular", "popular"]
        assert [row["item_id"] for row in first] == ["i02", "i03", "i04", "i05"]
        assert [row["score"] is None for row in first] == [False, True, True, True]
        assert [row["because_item_id"] is None for row in first] == [False, True, True, True]

    def test_a_user_without_known_items_gets_popular_rows_only_minus_what_they_rated(self):
        rows = [row for row in rows_of(make(RATINGS, n=6, top_items=3)) if row["user_id"] == 50]
        assert [row["item_id"] for row in rows] == ["i00", "i01", "i02", "i03", "i04"]
        assert {row["source"] for row in rows} == {"popular"}

    def test_a_user_below_min_user_ratings_is_folded_in(self):
        rows = rows_of(make(RATINGS, n=3, min_user_ratings=2))
        sources = {user: {row["source"] for row in rows if row["user_id"] == user} for user in (10, 60, 70)}
        assert sources == {10: {"model"}, 60: {"fold_in"}, 70: {"popular"}}
        folded = [row for row in rows if row["user_id"] == 60]
        assert {row["because_item_id"] for row in folded} == {"i00"}
        assert all(row["score"] is not None for row in folded)

    def test_a_refused_rating_is_never_recommended(self):
        refused = [(0, 2), (0, 5), (5, 1)]
        rows = rows_of(make(RATINGS, n=6, top_items=3, refused=refused))
        assert [row["item_id"] for row in rows if row["user_id"] == 10] == ["i03", "i04"]
        assert "i01" not in {row["item_id"] for row in rows if row["user_id"] == 60}

    def test_who_has_seen_everything_gets_no_row(self):
        rows = rows_of(make(np.ones((2, 3)), n=3))
        assert rows == []

    def test_popularity_as_the_ranker_scores_its_rows(self):
        rows = rows_of(make(RATINGS, n=2, model=Popular))
        assert [(r["item_id"], r["score"], r["source"]) for r in rows if r["user_id"] == 20] == [
            ("i01", 3.0, "model"),
            ("i03", 2.0, "model"),
        ]
        assert {row["because_item_id"] for row in rows} == {None}


class TestPredictions:
    def test_they_are_clipped_to_the_scale(self):
        scorer = make(np.array([[5.0, nan, nan], [1.0, nan, 5.0], [1.0, 1.0, 5.0]]), n=3)
        high, low = scorer.rater.predict(np.array([0, 1], np.int32), np.array([2, 1], np.int32))
        assert high > 5.0
        assert low < 1.0
        predicted = {(row["user_id"], row["item_id"]): row["predicted_rating"] for row in rows_of(scorer)}
        assert predicted[10, "i02"] == 5.0
        assert predicted[20, "i01"] == 1.0

    def test_null_where_the_rater_cannot_say_or_there_is_none(self):
        said = rows_of(make(RATINGS, n=3, rater=Shy))
        assert all((row["predicted_rating"] is None) == (row["user_id"] == 70) for row in said)
        assert {row["predicted_rating"] for row in rows_of(make(RATINGS, n=3, rater=None))} == {None}


class TestTable:
    @pytest.mark.parametrize("n", [1, 4])
    def test_schema_and_order(self, n):
        scorer = make(RATINGS, n=n)
        ids = id_map(scorer)
        table = pa.concat_tables(to_table(block, ids) for block in scorer.blocks(scorer.people.take([1, 3, 4])))
        assert table.schema.equals(tables.recommendations(pa.int64(), pa.string()))
        table.validate(full=True)
        users = table["user_id"].to_numpy()
        assert_array_equal(np.unique(users), [20, 40, 50])
        assert (np.diff(users) >= 0).all()
        assert not any(table[name].null_count for name in ("user_id", "rank", "item_id", "source"))

    def test_no_users_make_no_block(self):
        scorer = make(RATINGS, n=2)
        assert list(scorer.blocks(scorer.people.take(np.empty(0, np.int64)))) == []
