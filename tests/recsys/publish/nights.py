"""Small complete runs, made from ratings in memory: no download, no reader, no TensorFlow."""

from datetime import date

import numpy as np
import pyarrow as pa

from recsys import tables
from recsys.config import RunConfig
from recsys.evaluate import stage as evaluate_stage
from recsys.gate.stage import judge
from recsys.prepare.write import write_prepared
from recsys.publish.mend import mend
from recsys.publish.stage import publish
from recsys.ratings import ItemsFormat, Ratings, RatingsFormat, Scale, Snapshot
from recsys.read.stream import Stream
from recsys.rules.source import take_rules
from recsys.rules.stage import settle
from recsys.run import Run
from recsys.score.stage import score, score_shard
from recsys.store import sealed_stage
from recsys.train.stage import fit, refit

NIGHT = date(2026, 1, 31)
N_USERS, N_ITEMS = 30, 12


def ratings_of(dense, *, refused=(), id_type="integer", first_ids=(100, 10)):
    """Valid ratings from an (n_users, n_items) array, NaN where there is none; `refused` pairs are seen, not rated."""
    dense = np.asarray(dense, dtype=np.float32)
    user, item = (index.astype(np.int32) for index in np.nonzero(~np.isnan(dense)))
    users, items = (first + np.arange(size) for first, size in zip(first_ids, dense.shape, strict=True))
    pairs = np.array(list(refused), dtype=np.int32).reshape(-1, 2)
    return Ratings(
        user_ids=pa.array(users, pa.int64()) if id_type == "integer" else pa.array([f"u{u}" for u in users]),
        item_ids=pa.array(items, pa.int64()) if id_type == "integer" else pa.array([f"i{i}" for i in items]),
        user_index=user,
        item_index=item,
        rating=dense[user, item],
        timestamp=None,
        seen_user_index=pairs[:, 0],
        seen_item_index=pairs[:, 1],
        quarantine=tables.QUARANTINE.empty_table(),
        rows_read=len(user) + len(pairs),
        repeated=0,
    )


def example_ratings(seed=1):
    """(N_USERS, N_ITEMS): two tastes, so that a ranker is better than popularity; user 0 has rated everything."""
    rng = np.random.default_rng(seed)
    likes = (np.arange(N_USERS)[:, None] % 2) == (np.arange(N_ITEMS)[None, :] % 2)
    dense = np.where(rng.random(likes.shape) < np.where(likes, 0.8, 0.15), rng.integers(1, 6, likes.shape), np.nan)
    dense[0] = rng.integers(1, 6, N_ITEMS)
    dense[np.isnan(dense).all(axis=1), 0] = 3.0
    return dense


def config_of(**sections):
    values = {
        "train": {"rater": "means"},
        "prepare": {"top_items": 10},
        "evaluate": {"bootstrap_samples": 20},
        "score": {"top_n": 5},
        "compute": {"threads": 1},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return RunConfig.model_validate(values)


def make_run(
    store,
    *,
    night=NIGHT,
    fingerprint="f" * 64,
    config=None,
    dense=None,
    id_type="integer",
    refused=((1, 2),),
    rules=None,
    first_ids=(100, 10),
    token=0,
    uri="",
):
    """A run whose ratings are prepared; `rules` is a rules file."""
    snapshot = Snapshot(
        dataset="made", ratings=("nowhere",), items=(), ratings_format=RatingsFormat(), items_format=ItemsFormat(),
        scale=Scale(1.0, 5.0, 1.0), fingerprint=fingerprint, origin="memory", trust="generated",
    )  # fmt: skip
    source = take_rules(rules and str(rules), snapshot, store / "raw")
    run = Run(store, night, config or config_of(), snapshot, None, token, source, uri)
    ratings = ratings_of(
        example_ratings() if dense is None else dense, refused=refused, id_type=id_type, first_ids=first_ids
    )
    titles = [f"Title {place}" for place in range(ratings.n_items)]
    genres = pa.array([None] * ratings.n_items, pa.string())
    items = pa.table({"item_id": ratings.item_ids, "title": pa.array(titles), "genres": genres})
    with sealed_stage(run.folder / "prepared", run.record("prepare")) as folder:
        if folder is not None:
            write_prepared(
                folder, Stream.of(ratings), None, titles=lambda item_ids: items, config=run.config.prepare,
                top_items=run.top_items, scale=snapshot.scale, seed=run.config.seed, compute=run.config.compute,
            )  # fmt: skip
    return run


def score_run(run):
    """All stages up to the verdict."""
    settle(run)
    fit(run, "ranker")
    fit(run, "rater")
    evaluate_run(run)
    refit(run, "ranker")
    refit(run, "rater")
    for shard in run.shards:
        score_shard(run, shard)
    score(run)
    judge(run)
    return run


def evaluate_run(run):
    """The stage with its shards."""
    for shard in run.shards:
        evaluate_stage.evaluate_shard(run, shard)
    return evaluate_stage.evaluate(run)


def publish_night(store, **given):
    """A published night: the run and what publishing said."""
    run = make_run(store, **given)
    mend(run)
    return score_run(run), publish(run)
