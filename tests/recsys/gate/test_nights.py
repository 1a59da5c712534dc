"""Whole nights before the gate: noise, a ranker that learned nonsense, one that learned the hold-out, lists that stand still."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from nights import NIGHT, config_of, make_run, publish_night, score_run
from scipy.sparse import csr_matrix

from recsys.drift.nights import read_nights
from recsys.errors import GateRefused
from recsys.evaluate.champion import champion_of
from recsys.gate.stage import verdict_of
from recsys.prepare.training_set import TrainingSet
from recsys.publish.mend import mend
from recsys.publish.stage import publish
from recsys.store import REFUSED, Store
from recsys.train import stage as train_stage

N_USERS, N_ITEMS = 150, 40
NEXT = NIGHT + timedelta(days=1)


def ratings(seed, density=0.5):
    """Two tastes, clear enough for a ranker to be far better than popularity."""
    rng = np.random.default_rng(seed)
    likes = (np.arange(N_USERS)[:, None] % 2) == (np.arange(N_ITEMS)[None, :] % 2)
    given = rng.random(likes.shape) < np.where(likes, density, 0.05)
    dense = np.where(given, rng.integers(1, 6, likes.shape), np.nan)
    dense[np.isnan(dense).all(axis=1), 0] = 3.0
    return dense


def with_new(dense, seed, share=0.01):
    """The same ratings and a few new ones."""
    rng = np.random.default_rng(seed)
    new = np.isnan(dense) & (rng.random(dense.shape) < share)
    return np.where(new, rng.integers(1, 6, dense.shape), dense)


def config(**gate):
    return config_of(prepare={"top_items": 0}, gate=gate, evaluate={"bootstrap_samples": 200})


def second_night(store, dense, settings, fingerprint="e" * 64):
    run = make_run(store, night=NEXT, dense=dense, config=settings, fingerprint=fingerprint, refused=())
    mend(run)
    return run


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_neither_rejected_nor_suspicious(tmp_path, seed):
    first = ratings(seed)
    publish_night(tmp_path, dense=first, config=config(), refused=())
    run = score_run(second_night(tmp_path, with_new(first, 100 + seed), config()))
    verdict = verdict_of(run)
    assert verdict.verdict == "PROMOTED", verdict.reasons
    assert publish(run).outcome == "published"
    record = json.loads((run.folder / "evaluation.json").read_text())["champion"]
    assert record["users"] >= 50
    assert record["differences"]["ndcg@10"]["low"] <= 0.02


def refused(run, monkeypatch, changed):
    """The verdict of a night whose models are fitted on another training set."""
    plain = train_stage.model_class

    def spoilt(fitted):
        class Spoilt(plain(fitted)):
            @classmethod
            def fit(cls, training_set, *args):
                return super().fit(changed(training_set), *args)

        Spoilt.__name__ = plain(fitted).__name__
        return Spoilt

    with monkeypatch.context() as patch:
        patch.setattr(train_stage, "model_class", spoilt)
        score_run(run)
    with pytest.raises(GateRefused) as told:
        publish(run)
    assert (run.folder / REFUSED).exists()
    assert not run.complete
    return verdict_of(run), told.value


def shuffled_ids(training_set: TrainingSet) -> TrainingSet:
    order = np.random.default_rng(5).permutation(len(training_set.items))
    matrix = training_set.ratings[:, order].copy()
    matrix.sort_indices()
    return replace(training_set, ratings=matrix)


def test_a_ranker_trained_on_shuffled_ids_is_rejected(tmp_path, monkeypatch):
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first, config=config(), refused=())
    run = second_night(tmp_path, with_new(first, 2), config(ranker_beats_popular=False))
    verdict, told = refused(run, monkeypatch, shuffled_ids)
    assert verdict.verdict == "REJECTED"
    assert any("worse by more than 2%" in reason for reason in verdict.blocking)
    assert f"runs promote {run.run_id}" in told.todo
    assert Store(tmp_path).current().run_id == before.run_id
    with pytest.raises(GateRefused):  # the same night again finds it made, and refused
        publish(run)


def test_a_leak_of_the_hold_out_into_training_is_suspicious(tmp_path, monkeypatch):
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first, config=config(), refused=())
    run = second_night(tmp_path, with_new(first, 2), config())

    def leaked(training_set):
        user, item, value = run.prepared.holdout()
        hidden = csr_matrix((value, (user, training_set.column_of[item])), shape=training_set.ratings.shape)
        matrix = (training_set.ratings + hidden).tocsr()
        matrix.sort_indices()
        return replace(training_set, ratings=matrix)

    verdict, _ = refused(run, monkeypatch, leaked)
    assert verdict.verdict == "SUSPICIOUS", verdict.reasons
    assert any("has it learned the hold-out?" in reason for reason in verdict.blocking)
    assert Store(tmp_path).current().run_id == before.run_id


def test_lists_that_stand_still_though_the_input_moved_are_suspicious(tmp_path):
    """As where a cache serves last night's model: half of the users have new ratings, nobody another list."""
    first = ratings(1)
    publish_night(tmp_path, dense=first, config=config(), refused=())
    run = second_night(tmp_path, with_new(first, 2, 0.05), config(max_list_overlap=0.0))
    verdict = verdict_of(score_run(run))
    assert verdict.verdict == "SUSPICIOUS"
    assert "have the models learned from them?" in verdict.blocking[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_growth": 1.0}, "more than 1 times"),
        ({"min_list_overlap": 1.0}, "of a user's list stayed"),
        ({"max_rating_psi": 0.0}, "population stability index"),
    ],
)
def test_each_bound_of_drift_is_heeded_and_may_be_made_a_mere_remark(tmp_path, settings, words):
    first = ratings(1)
    publish_night(tmp_path, dense=first, config=config(), refused=())
    for action, refuses in (("refuse", True), ("publish", False)):
        run = second_night(tmp_path, with_new(first, 2, 0.1), config(**settings, on_suspicious=action))
        verdict = verdict_of(score_run(run))
        assert (verdict.verdict, verdict.publish) == ("SUSPICIOUS", not refuses)
        assert any(words in reason for reason in verdict.blocking)


def test_half_of_the_users_gone_is_suspicious(tmp_path):
    first = ratings(1)
    publish_night(tmp_path, dense=first, config=config(), refused=())
    fewer = make_run(tmp_path, night=NEXT, dense=first[:60], config=config(min_users=10), refused=())
    mend(fewer)
    verdict = verdict_of(score_run(fewer))
    assert verdict.verdict == "SUSPICIOUS"
    assert any("60.0%, more than 50%, of the users vanished" in reason for reason in verdict.blocking)


def test_a_champion_of_other_ids_knows_whom_it_knows(tmp_path):
    """The same people in an input with new users and items before them: indices move, ids do not."""
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first[20:, 5:], config=config(), refused=(), first_ids=(120, 15))
    run = second_night(tmp_path, first, config())
    champion = champion_of(run)
    assert champion.run_id == before.run_id
    np.testing.assert_array_equal(champion.user_of, [-1] * 20 + list(range(130)))
    np.testing.assert_array_equal(champion.item_of, [-1] * 5 + list(range(35)))
    shard = run.prepared.shards[0]
    seen = run.prepared.seen("split", shard).toarray().astype(bool)
    lists = champion.lists(shard, 10, run.config.compute)
    for user, row in enumerate(lists):
        assert not seen[user, row[row >= 0]].any()
        assert len(set(row[row >= 0])) == (row >= 0).sum()
    assert (lists[lists >= 0] >= 5).all()


def test_users_of_whom_the_champion_learned_the_hold_out_are_left_out(tmp_path):
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first, config=config(), refused=())
    run = second_night(tmp_path, with_new(first, 2, 0.2), config())
    learned = {}
    theirs = before.prepared
    for part in theirs.shards:
        history = theirs.seen("split", part)
        learned |= {part.start + row: set(history[row].indices) for row in range(len(part))}
    user, item, _ = run.prepared.holdout()
    spoilt = {u for u, i in zip(user, item, strict=True) if i in learned[u]}
    clean = champion_of(run).unspoilt(run.prepared.shards[0])
    assert 0 < len(spoilt) < N_USERS
    assert set(np.flatnonzero(~clean)) == spoilt


def test_a_champion_that_cannot_be_read_leaves_the_night_ungated(tmp_path):
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first, config=config(), refused=())
    (before.folder / "model" / "judged" / "ranker" / "model.json").write_text("{}")
    run = second_night(tmp_path, with_new(first, 2), config())
    verdict = verdict_of(score_run(run))
    assert verdict.verdict == "UNGATED"
    assert "cannot be used" in verdict.blocking[0]
    assert publish(run).outcome == "published"


def test_a_row_a_night_is_kept(tmp_path):
    first = ratings(1)
    before, _ = publish_night(tmp_path, dense=first, config=config(), refused=())
    run = score_run(second_night(tmp_path, with_new(first, 2), config()))
    publish(run)
    rows = read_nights(tmp_path).to_pylist()
    assert [(row["run_id"], row["verdict"]) for row in rows] == [(before.run_id, "UNGATED"), (run.run_id, "PROMOTED")]
    assert rows[0]["list_overlap"] is None
    assert 0.5 < rows[1]["list_rbo"] <= 1.0
    assert (rows[1]["new_users"], rows[1]["vanished_items"]) == (0, 0)
    assert rows[1]["ratings"] > rows[0]["ratings"]
    assert rows[1]["rows_model"] + rows[1]["rows_fold_in"] + rows[1]["rows_popular"] > 0
    assert rows[1]["ndcg@10_low"] <= rows[1]["ndcg@10"] <= rows[1]["ndcg@10_high"]
