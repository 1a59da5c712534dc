"""Lists under rules against a naive twin that scores everything and applies the rules by loops."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.models.base import Ranker, TopN
from recsys.prepare.training_set import build_training_set
from recsys.rules import lists as lists_module
from recsys.rules import policy as policy_module
from recsys.rules.policy import Rules, likeness_of, values_of
from recsys.rules.schema import rule_set
from recsys.score.dense import dense_top_n
from recsys.score.lists import People, Scorer

ANY_ITEM = {"where": {"title": "x"}}  # what a rule speaks of is given as a mask here


class Given(Ranker):
    """A ranker with a table of scores; it has nothing to say about the last user."""

    def __init__(self, items, scores):
        self.items, self.scores = items, scores

    def fit(self):
        raise NotImplementedError

    _save_state = _load_state = fit

    def score(self, histories):
        return self.scores[histories.user_index]

    def can_score(self, histories):
        return histories.user_index < len(self.scores) - 1

    def top_n(self, histories, n, compute):
        own = self.scores[histories.user_index].astype(np.float64)
        return TopN(*dense_top_n(lambda rows: own[rows].copy(), histories.seen, n, 1, allowed=histories.allowed))


class Told(Rules):
    """Rules whose tables are given."""

    def cohort(self, user_index):
        return np.where(user_index >= 0, self.__dict__["told"][user_index], 0)


def told(rules, touched, holds, columns):
    """Rules with (n_rules, n_items) what they speak of and (n_users, n_rules) for whom they hold."""
    cohorts, cohort = np.unique(holds, axis=0, return_inverse=True)
    made = Told(Path("nowhere"))
    made.__dict__.update(
        rules=rule_set({"rule": rules, "users": {"file": "u"}}, "test"), touched=np.asarray(touched, bool),
        record={"cohorts": cohorts.tolist(), "strangers": 0}, told=cohort.ravel(), _items=pa.table(columns),
    )  # fmt: skip
    return made


def scorer_of(scores, kept, counts, n, rules):
    """A scorer of these (n_users, n_kept) scores; of items not kept only the popularity is known."""
    n_items = len(counts)
    user = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    item = np.repeat(np.arange(n_items), counts).astype(np.int32)
    shape = (max(len(scores), *counts), n_items)
    whole = build_training_set(user, item, np.ones(len(user), np.float32), shape, top_items=0, min_user_ratings=1)
    training_set = type(whole)(
        np.asarray(kept, np.int32), csr_matrix((shape[0], len(kept))), whole.trained, whole.item_counts, whole.item_sums
    )
    ranker = Given(training_set.items, np.asarray(scores, np.float32))
    return Scorer(training_set.catalogue, ranker, None, (1.0, 5.0), n, ComputeConfig(threads=2), rules)


def lists_of(scorer, seen):
    n = len(seen)
    people = People(
        np.arange(n, dtype=np.int32), csr_matrix((n, len(scorer.catalogue.items)), dtype=np.float32),
        csr_matrix(np.asarray(seen, np.int8)), np.ones(n, bool),
    )  # fmt: skip
    (block,) = scorer.blocks(people)
    return block


# the twin


def naive_list(scorer, rules, seen, user, holds):
    """[(item, score)], None for the score of a `popular` row."""
    items, n = [int(item) for item in scorer.catalogue.items], scorer.n
    active = [(at, rule) for at, rule in enumerate(rules.rules.rule) if holds[at]]
    banned = {
        item for at, rule in active if rule.kind in ("deny", "allow") for item in np.flatnonzero(rules.touched[at])
    }
    caps = [(rule, naive_values(rules, at)) for at, rule in active if rule.kind == "cap"]
    mmr = next((rule for _, rule in active if rule.kind == "mmr"), None)
    candidates = []
    if user < len(scorer.ranker.scores) - 1:
        for column, item in enumerate(items):
            if item not in banned and not seen[item]:
                value = float(scorer.ranker.scores[user, column])
                for at, rule in active:
                    if rule.kind == "boost" and rules.touched[at, item]:
                        value = naive_boost(rule, value)
                candidates.append((item, np.float32(value)))
    candidates.sort(key=lambda pair: (-pair[1], pair[0]))
    listed = naive_mmr(candidates, mmr, caps, n, rules) if mmr else naive_walk(candidates, caps, n)
    counts = scorer.catalogue.item_counts
    for item in sorted(np.flatnonzero(counts), key=lambda item: (-counts[item], item)):
        own = [one for one, _ in listed]
        if len(listed) < n and item not in own and item not in banned and not seen[item] and fits(item, own, caps):
            listed.append((int(item), None))
    return listed


def naive_boost(rule, value):
    if rule.add is not None:
        return value + rule.add
    return value * rule.factor if value > 0 else value / rule.factor


def naive_values(rules, at):
    """The values of each item that a cap counts; an item without one has the value None."""
    column = rules._items[rules.rules.rule[at].column].to_pylist()
    return [
        ({None} if value is None else set(value)) if rules.touched[at, item] else set()
        for item, value in enumerate(column)
    ]


def fits(item, listed, caps):
    return all(
        sum(value in values[other] for other in listed) < rule.at_most
        for rule, values in caps
        for value in values[item]
    )


def naive_walk(candidates, caps, n):
    listed = []
    for item, score in candidates:
        if len(listed) < n and fits(item, [one for one, _ in listed], caps):
            listed.append((item, score))
    return listed


def naive_mmr(candidates, mmr, caps, n, rules):
    values = [set(value or ()) for value in rules._items[mmr.by].to_pylist()]
    size = max(mmr.pool, n)
    while True:
        pool, listed = candidates[:size], []
        unit = float(pool[0][1]) - float(pool[-1][1]) if pool else 0.0
        cost = (1 - mmr.relevance) / mmr.relevance * (unit or 1.0)
        while len(listed) < n:
            above = [item for item, _ in listed]
            best = [
                (-np.float32(float(score) - cost * max((jaccard(values[item], values[one]) for one in above), default=0.0)), item)
                for item, score in pool
                if item not in above and fits(item, above, caps)
            ]  # fmt: skip
            if not best:
                break
            value, item = min(best)
            listed.append((item, -value))
        if len(listed) == n or len(pool) == len(candidates):
            return listed
        size *= 2


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0.0


@st.composite
def cases(draw):
    n_users, n_items = draw(st.integers(2, 5)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kept = np.flatnonzero(rng.random(n_items) < 0.8)
    kept = kept if len(kept) else np.arange(n_items)
    scores = rng.choice([-2.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0], (n_users, len(kept)))
    counts = rng.integers(0, 3, n_items)
    counts[rng.integers(n_items)] = 2
    kinds = draw(st.lists(st.sampled_from(["deny", "allow", "cap", "boost", "mmr"]), min_size=1, max_size=5))
    rules = [draw(rule_of(kind)) for kind in kinds]
    share = [{"deny": 0.3, "allow": 0.3, "mmr": 1.1}.get(kind, 0.6) for kind in kinds]
    touched = rng.random((len(kinds), n_items)) < np.array(share)[:, None]
    holds = rng.random((n_users, len(kinds))) < 0.7
    tags = [None if rng.random() < 0.2 else list(rng.choice(list("abcd"), rng.integers(0, 3))) for _ in range(n_items)]
    columns = {"tags": pa.array(tags, pa.list_(pa.string()))}
    seen = rng.random((n_users, n_items)) < 0.25
    n = draw(st.integers(1, 7))
    return scorer_of(scores, kept, counts, n, told(rules, touched, holds, columns)), seen, holds


@st.composite
def rule_of(draw, kind):
    if kind in ("deny", "allow"):
        return {"kind": kind, **ANY_ITEM}
    if kind == "cap":
        return {"kind": kind, "column": "tags", "at_most": draw(st.integers(1, 2))}
    if kind == "mmr":
        return {
            "kind": kind,
            "by": "tags",
            "lambda": draw(st.sampled_from([0.1, 0.5, 1.0])),
            "pool": draw(st.integers(1, 6)),
        }
    boost = draw(
        st.sampled_from([{"add": 1.0}, {"add": -0.25}, {"factor": 2.0}, {"factor": 0.5}, {"factor": 1e6}, {"add": 1e9}])
    )
    return {"kind": kind, **ANY_ITEM, **boost}


class TestAgainstTheTwin:
    @settings(max_examples=300, deadline=None)
    @given(cases(), st.sampled_from([1, 3, 1 << 22]), st.sampled_from([1, 6]))
    def test_lists_are_the_naive_lists(self, case, cells, wider):
        scorer, seen, holds = case
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lists_module, "CELLS", cells)
            patch.setattr(lists_module, "DEEPER", 2)
            patch.setattr(policy_module, "WIDER", wider)
            found = lists_of(scorer, seen)
        for user in range(len(seen)):
            expected = naive_list(scorer, scorer.rules, seen[user], user, holds[user])
            listed = [int(item) for item in found.item_index[user] if item >= 0]
            assert listed == [item for item, _ in expected]
            ranked = [score for _, score in expected if score is not None]
            assert_array_equal(found.score[user, : len(ranked)], np.array(ranked, np.float32))
            assert [int(source) for source in found.source[user, : len(listed)]] == [
                0 if score is not None else 2 for _, score in expected
            ]
            # the contract: scores never rise with rank, ties go by item
            for (left, one), (right, other) in pairwise(expected):
                assert other is None or other < one or (other == one and right > left)

    @settings(max_examples=100, deadline=None)
    @given(cases())
    def test_effects_are_counted(self, case):
        scorer, seen, holds = case
        found = lists_of(scorer, seen)
        plain = lists_of(Scorer(**{**vars_of(scorer), "rules": None}), seen)
        assert plain.effects is None
        effects = found.effects
        before, after = (rows_of(lists.item_index) for lists in (plain, found))
        assert (effects.lists, effects.rows_without, effects.rows) == (len(seen), len_of(before), len_of(after))
        assert effects.changed == sum(one != other for one, other in zip(before, after, strict=True))
        assert effects.short == sum(len(one) < scorer.n for one in after)
        for at, rule in enumerate(scorer.rules.rules.rule):
            removed = added = moved = 0
            for user in range(len(seen)):
                active = [r for k, r in enumerate(scorer.rules.rules.rule) if holds[user, k]]
                banned = {
                    item for k, r in enumerate(scorer.rules.rules.rule) if holds[user, k] and r.kind in ("deny", "allow")
                    for item in np.flatnonzero(scorer.rules.touched[k])
                }  # fmt: skip
                first_mmr = next((r for r in active if r.kind == "mmr"), None)
                if not holds[user, at] or (rule.kind == "mmr" and rule is not first_mmr):
                    continue
                gone = [i for i in before[user] if i not in after[user] and scorer.rules.touched[at, i]]
                if rule.kind in ("deny", "allow"):
                    removed += len(gone)
                    continue
                gone = [item for item in gone if item not in banned]
                if rule.kind == "cap":
                    values = naive_values(scorer.rules, at)
                    removed += sum(not fits(item, after[user], [(rule, values)]) for item in gone)
                    continue
                mine = [item for item in after[user] if scorer.rules.touched[at, item]]
                removed += len(gone)
                added += sum(item not in before[user] for item in mine)
                moved += sum(i in before[user] and before[user].index(i) != after[user].index(i) for i in mine)
            assert (effects.removed[at], effects.added[at], effects.moved[at]) == (removed, added, moved)

    @settings(max_examples=50, deadline=None)
    @given(cases(), st.integers(1, 3))
    def test_a_list_depends_on_its_own_person_alone(self, case, size):
        scorer, seen, _ = case
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("recsys.score.lists.ROW_GROUP_ROWS", size * scorer.n)
            n = len(seen)
            people = People(
                np.arange(n, dtype=np.int32), csr_matrix((n, len(scorer.catalogue.items)), dtype=np.float32),
                csr_matrix(np.asarray(seen, np.int8)), np.ones(n, bool),
            )  # fmt: skip
            blocks = list(scorer.blocks(people))
        whole = lists_of(scorer, seen)
        assert_array_equal(np.concatenate([block.item_index for block in blocks]), whole.item_index)
        assert np.concatenate([block.score for block in blocks]).tobytes() == whole.score.tobytes()


def vars_of(scorer):
    return {name: getattr(scorer, name) for name in scorer.__dataclass_fields__}


def rows_of(lists):
    return [[int(item) for item in row if item >= 0] for row in lists]


def len_of(lists):
    return sum(map(len, lists))


# by hand

COLUMNS = {"tags": pa.array([["a"], ["a"], ["a"], ["b"], ["b", "a"], None], pa.list_(pa.string()))}
SCORES = [[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [0.0] * 6]  # of the second user the ranker knows nothing
EVERY = [[1] * 6]


def example_lists(*rules, touched=None, n=3, seen=None, scores=SCORES):
    touched = EVERY * len(rules) if touched is None else touched
    made = told(list(rules), touched, np.ones((2, len(rules)), bool), COLUMNS)
    found = lists_of(scorer_of(scores, range(6), [6, 5, 4, 3, 2, 1], n, made), [[0] * 6] * 2 if seen is None else seen)
    return rows_of(found.item_index), found


class TestByHand:
    def test_a_denied_item_is_in_no_list_popular_rows_included(self):
        rows, found = example_lists({"kind": "deny", **ANY_ITEM}, touched=[[1, 0, 1, 0, 0, 0]])
        assert rows == [[1, 3, 4], [1, 3, 4]]
        assert found.source[1].tolist() == [2, 2, 2]
        assert (found.effects.removed[0], found.effects.changed) == (4, 2)

    def test_a_cap_passes_over_what_is_one_too_many(self):
        assert example_lists({"kind": "cap", "column": "tags", "at_most": 1})[0] == [[0, 3, 5], [0, 3, 5]]

    def test_where_caps_leave_nothing_the_list_is_short(self):
        rows, found = example_lists({"kind": "cap", "column": "tags", "at_most": 1}, n=5)
        assert rows == [[0, 3, 5], [0, 3, 5]]
        assert found.effects.short == 2

    def test_a_boost_reorders_ranked_rows_and_leaves_popular_ones(self):
        rows, found = example_lists({"kind": "boost", "add": 2.5, **ANY_ITEM}, touched=[[0, 0, 0, 1, 1, 0]])
        assert rows == [[0, 3, 1], [0, 1, 2]]
        assert found.score[0].tolist() == [6.0, 5.5, 5.0]
        assert (found.effects.added[0], found.effects.moved[0], found.effects.removed[0]) == (1, 0, 0)

    def test_a_factor_lifts_a_negative_score_too(self):
        scores = [[-6.0, -5.0, -4.0, -3.0, -2.0, -1.0], [0.0] * 6]
        rows, found = example_lists(
            {"kind": "boost", "factor": 4, **ANY_ITEM}, touched=[[1, 0, 0, 0, 0, 0]], scores=scores
        )
        assert rows[0] == [5, 0, 4]
        assert found.score[0].tolist() == [-1.0, -1.5, -2.0]

    def test_mmr_takes_the_unlike_first_and_says_what_that_costs(self):
        """Of 6, 5, 4, 3, 2, 1 with lambda 1/2 a likeness of 1 costs the pool's range, 5."""
        rows, found = example_lists({"kind": "mmr", "lambda": 0.5, "by": "tags"})
        assert rows[0] == [0, 3, 5]
        assert found.score[0].tolist() == [6.0, 3.0, 1.0]

    def test_a_pool_bounds_what_mmr_may_bring_up(self):
        assert example_lists({"kind": "mmr", "lambda": 0.5, "by": "tags", "pool": 4})[0][0] == [0, 3, 1]

    def test_lambda_1_is_the_ranking(self):
        rows, found = example_lists({"kind": "mmr", "lambda": 1, "by": "tags"})
        assert rows[0] == [0, 1, 2]
        assert found.score[0].tolist() == [6.0, 5.0, 4.0]

    def test_boosted_scores_that_collapse_are_a_tie_by_item(self):
        """1e9 swallows the differences: six equal float32, of which the ranker's first two alone were fetched."""
        rows, found = example_lists(
            {"kind": "boost", "add": 1e9, **ANY_ITEM}, n=1, scores=[[1, 2, 3, 4, 5, 6], [0] * 6]
        )
        assert rows[0] == [0]
        assert found.score[0].tolist() == [1e9]


class TestColumns:
    def test_values_between_bars_count_each(self):
        values = values_of(pa.array(["a| b", "b", None, "", "a|a"]), np.array([1, 1, 1, 1, 1], bool), unknown=True)
        assert np.diff(values.indptr).tolist() == [2, 1, 1, 0, 1]
        sets = [set(values.codes[s:e]) for s, e in zip(values.indptr, values.indptr[1:], strict=False)]
        assert sets[0] > sets[1]
        assert sets[4] < sets[0]
        assert not sets[2] & sets[0]

    def test_vectors_are_compared_by_cosine(self):
        likeness = likeness_of(pa.array([[3.0, 4.0], None, [0.0, 0.0]], pa.list_(pa.float64())), "v")
        assert likeness.vectors.tolist() == [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]]

    @pytest.mark.parametrize("vectors", [[[1.0], [1.0, 2.0]], [[np.nan]], [[None]]])
    def test_vectors_that_cannot_be_compared_are_refused(self, vectors):
        with pytest.raises(Exception, match="cannot be compared"):
            likeness_of(pa.array(vectors, pa.list_(pa.float64())), "v")
