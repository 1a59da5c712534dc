"""One evaluation: both models beside their baselines, with intervals over users."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.config import ComputeConfig, EvaluateConfig
from recsys.evaluate import lists as list_metrics
from recsys.evaluate import ranking, rating
from recsys.evaluate.bootstrap import Bootstrap
from recsys.identifiers import UNKNOWN, IdMap
from recsys.models.base import Ranker, Rater
from recsys.parquet import write_parts
from recsys.prepare.prepared import Prepared
from recsys.prepare.training_set import TrainingSet
from recsys.score.lists import Scorer, to_table
from recsys.tables import recommendations

FORMULAS = {**ranking.FORMULAS, **rating.FORMULAS, **list_metrics.FORMULAS}
Values = dict[str, Any]
# Metrics by id, {value, low, high} each, and the resamples of those that are means over users or ratings.
Measured = tuple[Values, dict[str, NDArray[np.float64]]]


def evaluate(
    prepared: Prepared,
    lists: dict[str, Path],
    raters: dict[str, Rater],
    config: EvaluateConfig,
    seed: int,
) -> Values:
    """Measure on the hold-out.

    Args:
        lists: tables in the published format by ranker: the one on trial first, then `popular`.
        raters: the one on trial first, then `means`. If a model is its own baseline it stands once.

    Returns:
        ranker, rater, protocol, formulas, metrics {id: {value, low, high}}, baselines {model: {id: ...}}, and for
        each model on trial `differences` {id: {value, low, high}}: itself less its baseline, paired over users.
    """
    training_set = prepared.training_set("split")
    holdout = prepared.holdout()
    bootstrap = Bootstrap(config.bootstrap_samples, config.confidence, seed)
    ranked = {
        name: measure_lists(read_lists(folder, prepared.ids), holdout, training_set, config, bootstrap)
        for name, folder in lists.items()
    }
    rated = {
        name: measure_errors(
            rating.errors_by_user(rater, raters["means"], holdout, prepared.scale, prepared.ids.n_users), bootstrap
        )
        for name, rater in raters.items()
    }
    ranker, rater = next(iter(lists)), next(iter(raters))
    return {
        "ranker": ranker,
        "rater": rater,
        "protocol": _protocol(holdout, config),
        "metrics": ranked[ranker][0] | rated[rater][0],
        "baselines": {"popular": ranked["popular"][0], "means": rated["means"][0]},
        "differences": _differences(ranked[ranker], ranked["popular"], bootstrap)
        | _differences(rated[rater], rated["means"], bootstrap),
        "formulas": FORMULAS,
    }


def write_lists(folder: Path, prepared: Prepared, ranker: Ranker, n: int, compute: ComputeConfig) -> None:
    """A ranker's lists of n for all users, in the published format; nothing of the hold-out counts as seen."""
    ids = prepared.ids
    scorer = Scorer(prepared.training_set("split"), prepared.seen("split"), ranker, None, prepared.scale, n, compute)
    users = np.arange(ids.n_users, dtype=np.int32)
    batches = (to_table(block, ids) for block in scorer.blocks(users))
    schema = recommendations(ids.user_ids.type, ids.item_ids.type)
    write_parts(folder, schema, batches, total_rows=len(users) * n, metadata={})


def read_lists(folder: Path, ids: IdMap) -> NDArray[np.int32]:
    """(n_users, n) int32 item_index by rank from a recommendations table; -1 where a list is short."""
    table = pq.read_table(folder, columns=["user_id", "rank", "item_id"])
    rank = table["rank"].to_numpy()
    lists = np.full((ids.n_users, int(rank.max()) if len(rank) else 1), UNKNOWN, dtype=np.int32)
    users = ids.user_index(table["user_id"].combine_chunks())
    lists[users, rank - 1] = ids.item_index(table["item_id"].combine_chunks())
    return lists


def measure_lists(
    lists: NDArray[np.int32], holdout: Any, training_set: TrainingSet, config: EvaluateConfig, bootstrap: Bootstrap
) -> Measured:
    """Measure a ranker.

    Args:
        lists: (n_users, n) int32 item_index by rank, as `read_lists` gives them.
        holdout: user_index, item_index and rating of the held-out ratings.
    """
    values: Values = {}
    drawn: dict[str, NDArray[np.float64]] = {}
    if len(holdout[0]):
        by_user = ranking.per_user(
            ranking.relevance(lists, holdout[0], holdout[1], training_set.n_items), config.cutoffs
        )
        stacked = np.stack(list(by_user.values()), axis=1)
        samples = bootstrap.ratios(stacked, np.ones_like(stacked))
        drawn = {name: samples[:, place] for place, name in enumerate(by_user)}
        values = {name: asdict(bootstrap.interval(value.mean(), drawn[name])) for name, value in by_user.items()}
    for k in sorted(set(config.cutoffs)):
        values |= {
            f"{name}@{k}": {"value": value}
            for name, value in _of_lists(lists[:, :k], training_set, bootstrap.seed).items()
        }
    return values, drawn


def _of_lists(lists: NDArray[np.int32], training_set: TrainingSet, seed: int) -> dict[str, float]:
    counts = training_set.item_counts
    return {
        "coverage": list_metrics.coverage(lists, counts),
        "novelty": list_metrics.novelty(lists, counts, training_set.n_users),
        "diversity": list_metrics.diversity(lists, training_set.binary, training_set.column_of, seed),
        "gini": list_metrics.gini(lists, counts),
    }


def measure_errors(errors: rating.Errors, bootstrap: Bootstrap) -> Measured:
    """Measure a rater by its errors on the held-out ratings."""
    if not len(errors.count):
        return {}, {}
    ratios = bootstrap.ratios(
        np.stack([errors.squared, errors.absolute], axis=1), np.stack([errors.count, errors.count], axis=1)
    )
    drawn = {"rmse": np.sqrt(ratios[:, 0]), "mae": ratios[:, 1]}
    values: Values = {
        "rmse": asdict(bootstrap.interval(errors.rmse, drawn["rmse"])),
        "mae": asdict(bootstrap.interval(errors.mae, drawn["mae"])),
    }
    values["rmse"]["stood_in"] = errors.stood_in
    return values, drawn


def _differences(own: Measured, other: Measured, bootstrap: Bootstrap) -> Values:
    return {
        name: asdict(bootstrap.interval(own[0][name]["value"] - other[0][name]["value"], samples - other[1][name]))
        for name, samples in own[1].items()
    }


def _protocol(holdout: Any, config: EvaluateConfig) -> Values:
    return {
        "held_out_ratings": len(holdout[0]),
        "users": len(np.unique(holdout[0])),
        "relevant": "every held-out rating",
        "candidates": "all items the user has not rated in training",
        "interval": f"{config.confidence:.0%}, {config.bootstrap_samples} resamples of users",
    }
