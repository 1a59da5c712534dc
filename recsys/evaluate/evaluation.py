"""One evaluation: both models beside their baselines, with intervals over users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import ahead
from recsys.config import ComputeConfig, EvaluateConfig
from recsys.evaluate import lists as list_metrics
from recsys.evaluate import ranking, rating
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.sums import RankingSums, RatingSums, ranking_sums, rating_sums
from recsys.identifiers import UNKNOWN, IdMap
from recsys.models.base import Ranker, Rater
from recsys.parquet import write_parts
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.score.lists import People, Scorer, to_table
from recsys.tables import recommendations

FORMULAS = {**ranking.FORMULAS, **rating.FORMULAS, **list_metrics.FORMULAS}
Values = dict[str, Any]
# Metrics by id, {value, low, high} each, and the resamples of those that are means over users or ratings.
Measured = tuple[Values, dict[str, NDArray[np.float64]]]


def evaluate(
    prepared: Prepared,
    ranked: Mapping[str, RankingSums],
    rated: Mapping[str, RatingSums],
    config: EvaluateConfig,
    seed: int,
) -> Values:
    """The record of an evaluation.

    Args:
        ranked: sums over all shards by ranker: the one on trial first, then `popular`.
        rated: likewise by rater: the one on trial first, then `means`. A model that is its own baseline stands once.

    Returns:
        ranker, rater, protocol, formulas, metrics {id: {value, low, high}}, baselines {model: {id: ...}}, and for
        each model on trial `differences` {id: {value, low, high}}: itself less its baseline, paired over users.
    """
    bootstrap = Bootstrap(config.bootstrap_samples, config.confidence, seed)
    lists = {name: ranking_metrics(sums, prepared, config, bootstrap) for name, sums in ranked.items()}
    errors = {name: rating_metrics(sums, bootstrap) for name, sums in rated.items()}
    ranker, rater = next(iter(lists)), next(iter(errors))
    return {
        "ranker": ranker,
        "rater": rater,
        "protocol": _protocol(int(rated[rater].total[-1]), int(ranked[ranker].total[-1]), config),
        "metrics": lists[ranker][0] | errors[rater][0],
        "baselines": {"popular": lists["popular"][0], "means": errors["means"][0]},
        "differences": _differences(lists[ranker], lists["popular"], bootstrap)
        | _differences(errors[rater], errors["means"], bootstrap),
        "formulas": FORMULAS,
    }


def list_shard(
    folder: Path, prepared: Prepared, shard: Shard, ranker: Ranker, cutoffs: Sequence[int], compute: ComputeConfig
) -> None:
    """A ranker's lists for a shard's users, in the published format; nothing of the hold-out counts as seen."""
    ids, n = prepared.ids_of(shard), max(cutoffs)
    scorer = Scorer(prepared.catalogue("split"), ranker, None, prepared.scale, n, compute)
    people = People.of_shard(prepared, "split", shard, seen="split")
    schema = recommendations(ids.user_ids.type, ids.item_ids.type)
    batches = (to_table(block, ids, shard.start) for block in ahead(scorer.blocks(people)))
    write_parts(folder, schema, batches, total_rows=len(people) * n, metadata={})


def read_lists(folder: Path, ids: IdMap, shard: Shard, n: int) -> NDArray[np.int32]:
    """(stop - start, n) int32 item_index by rank of a shard's users from their table; -1 where a list is short."""
    table = pq.read_table(folder, columns=["user_id", "rank", "item_id"])
    lists = np.full((shard.stop - shard.start, n), UNKNOWN, dtype=np.int32)
    users = ids.user_index(table["user_id"].combine_chunks()) - shard.start
    lists[users, table["rank"].to_numpy() - 1] = ids.item_index(table["item_id"].combine_chunks())
    return lists


def sum_lists(
    folder: Path, prepared: Prepared, shard: Shard, config: EvaluateConfig, bootstrap: Bootstrap
) -> RankingSums:
    """Measure the table that `list_shard` wrote."""
    ids = prepared.ids
    user, item, _ = prepared.holdout(shard)
    lists = read_lists(folder, ids, shard, max(config.cutoffs))
    shape = (ids.n_users, ids.n_items)
    return ranking_sums(lists, (user, item), _activity(prepared, shard), shard, shape, config.cutoffs, bootstrap)


def sum_errors(prepared: Prepared, shard: Shard, rater: Rater, means: Rater, bootstrap: Bootstrap) -> RatingSums:
    """Measure a rater on a shard's held-out ratings."""
    return _rated(rater, means, prepared.holdout(shard), prepared, shard, bootstrap)


def _rated(
    rater: rating.Predicts, means: Rater, holdout: rating.Holdout, prepared: Prepared, shard: Shard,
    bootstrap: Bootstrap,
) -> RatingSums:  # fmt: skip
    user, item, _ = holdout
    predicted, stood_in = rating.predictions(rater, means, holdout, prepared.scale)
    errors = rating.sum_by_user(holdout, predicted, stood_in)
    counts = _activity(prepared, shard)[user - shard.start], prepared.training_set("split").item_counts[item]
    return rating_sums(errors, holdout, predicted, counts, prepared.scale, shard, bootstrap)


def _activity(prepared: Prepared, shard: Shard) -> NDArray[np.int64]:
    """(stop - start,) ratings of items kept that each user has in training."""
    return np.diff(prepared.array("split/indptr", shard.start, shard.stop + 1))


def sum_paired_lists(
    folder: Path,
    theirs: NDArray[np.int32],
    prepared: Prepared,
    shard: Shard,
    holdout: rating.Holdout,
    config: EvaluateConfig,
    bootstrap: Bootstrap,
) -> tuple[RankingSums, RankingSums]:
    """Measure the table that `list_shard` wrote and the champion's lists, both on `Champion.holdout`."""
    ids, pairs = prepared.ids, holdout[:2]
    shape = (ids.n_users, ids.n_items)
    own = read_lists(folder, ids, shard, max(config.cutoffs))
    activity = _activity(prepared, shard)
    sums = [ranking_sums(lists, pairs, activity, shard, shape, config.cutoffs, bootstrap) for lists in (own, theirs)]
    return sums[0], sums[1]


def sum_paired_errors(
    own: rating.Predicts,
    theirs: rating.Predicts,
    means: Rater,
    prepared: Prepared,
    shard: Shard,
    holdout: rating.Holdout,
    bootstrap: Bootstrap,
) -> tuple[RatingSums, RatingSums]:
    """Measure tonight's rater and the champion's, both on `Champion.holdout`."""
    sums = [_rated(side, means, holdout, prepared, shard, bootstrap) for side in (own, theirs)]
    return sums[0], sums[1]


def compare(
    own: tuple[RankingSums, RatingSums],
    theirs: tuple[RankingSums, RatingSums],
    config: EvaluateConfig,
    bootstrap: Bootstrap,
) -> Values:
    """Tonight's models beside the champion's.

    Returns:
        users compared, metrics {id: ...} of the champion, own {id: ...} of tonight's on the same users, and
        differences {id: {value, low, high}}, tonight's less the champion's, paired over users.
    """
    lists = [_user_means(side[0], config, bootstrap) for side in (own, theirs)]
    errors = [rating_metrics(side[1], bootstrap) for side in (own, theirs)]
    return {
        "users": int(own[0].total[-1]),
        "metrics": lists[1][0] | errors[1][0],
        "own": lists[0][0] | errors[0][0],
        "differences": _differences(lists[0], lists[1], bootstrap) | _differences(errors[0], errors[1], bootstrap),
    }


def _user_means(sums: RankingSums, config: EvaluateConfig, bootstrap: Bootstrap) -> Measured:
    """The metrics that are means over users."""
    if not sums.total[-1]:
        return {}, {}
    names = ranking.names(config.cutoffs)
    means = sums.total[:-1] / sums.total[-1]
    drawn = {name: _ratio(sums.drawn, place) for place, name in enumerate(names)}
    return {name: asdict(bootstrap.interval(mean, drawn[name])) for name, mean in zip(names, means, strict=True)}, drawn


def ranking_metrics(sums: RankingSums, prepared: Prepared, config: EvaluateConfig, bootstrap: Bootstrap) -> Measured:
    """The metrics of a ranker from the sums of all shards."""
    values, drawn = _user_means(sums, config, bootstrap)
    training_set = prepared.training_set("split")
    counts, n_users = training_set.item_counts, training_set.n_users
    distances = list_metrics.item_distances(sums.sampled, _learned(prepared), training_set.column_of)
    for k, times in zip(sorted(set(config.cutoffs)), sums.times, strict=True):
        found = {
            "coverage": list_metrics.coverage(times, counts),
            "novelty": list_metrics.novelty(times, counts, n_users),
            "diversity": list_metrics.diversity(sums.sampled[:, :k], distances),
            "gini": list_metrics.gini(times, counts),
        }
        values |= {f"{name}@{k}": {"value": value} for name, value in found.items()}
    return values, drawn


def rating_metrics(sums: RatingSums, bootstrap: Bootstrap) -> Measured:
    """The metrics of a rater from the sums of all shards."""
    if not sums.total[-1]:
        return {}, {}
    squared, absolute = sums.total[:-1] / sums.total[-1]
    drawn = {"rmse": np.sqrt(_ratio(sums.drawn, 0)), "mae": _ratio(sums.drawn, 1)}
    values: Values = {
        "rmse": asdict(bootstrap.interval(float(np.sqrt(squared)), drawn["rmse"])),
        "mae": asdict(bootstrap.interval(float(absolute), drawn["mae"])),
    }
    values["rmse"]["stood_in"] = int(sums.stood_in)
    return values, drawn


def _ratio(drawn: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    """(samples,) one metric's resampled sums over the resampled counts; NaN where a resample drew nobody."""
    counts = drawn[:, -1]
    return np.divide(drawn[:, place], counts, out=np.full(len(drawn), np.nan), where=counts > 0)


def _learned(prepared: Prepared) -> Iterator[csr_matrix]:
    """The binary training interactions, a shard at a time."""
    trained = prepared.training_set("split").trained
    for shard in prepared.shards:
        rows = prepared.histories("split", shard)[np.flatnonzero(trained[shard.start : shard.stop])]
        yield csr_matrix((np.ones(rows.nnz, np.float32), rows.indices, rows.indptr), shape=rows.shape)


def _differences(own: Measured, other: Measured, bootstrap: Bootstrap) -> Values:
    return {
        name: asdict(bootstrap.interval(own[0][name]["value"] - other[0][name]["value"], samples - other[1][name]))
        for name, samples in own[1].items()
    }


def _protocol(held_out: int, users: int, config: EvaluateConfig) -> Values:
    return {
        "held_out_ratings": held_out,
        "users": users,
        "relevant": "every held-out rating",
        "candidates": "all items the user has not rated in training",
        "interval": f"{config.confidence:.0%}, {config.bootstrap_samples} resamples of users",
    }
