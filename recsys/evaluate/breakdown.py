"""Where the metrics come from: by how active users are, how popular items are, and how high ratings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.evaluate import lists as list_metrics
from recsys.evaluate import ranking
from recsys.evaluate.groups import N_GROUPS, group_names, group_of
from recsys.evaluate.sums import DETAIL_AT, RankingSums, RatingSums
from recsys.prepare.prepared import Prepared

BREAKDOWN = "breakdown.json"  # in a run's folder
PER_USER = ("ndcg", "precision", "recall", "hit_rate")
Rows = list[dict[str, Any]]


def breakdown(
    prepared: Prepared, ranked: Mapping[str, RankingSums], rated: Mapping[str, RatingSums], cutoffs: Sequence[int]
) -> dict[str, Any]:
    """What breakdown.json holds; groups are of ratings in training, and those with nothing in them are left out.

    Returns:
        k: the cut-off of everything about lists.
        rankers: by name, by_activity: group, users, ndcg, precision, recall, hit_rate (over the users with a held-out
            rating), lists' coverage and novelty; by_popularity: group, items, listed (share of all places), coverage
            (share of the group's items that stand in a list), held_out (ratings), found (share of those in lists).
        raters: by name, by_activity and by_popularity: group, ratings, rmse, mae; by_level: rating, ratings, predicted
            (mean), bias, rmse, mae; calibration: predicted (mean), rating (mean), ratings; density: ratings of each
            level by cell of the predicted rating, the cells parting `scale`.
    """
    training_set = prepared.training_set("split")
    counts, n_users = training_set.item_counts, training_set.n_users
    return {
        "k": DETAIL_AT,
        "scale": list(prepared.scale),
        "rankers": {
            name: {
                "by_activity": _lists_by_activity(sums, counts, n_users, cutoffs),
                "by_popularity": _lists_by_popularity(sums, counts),
            }
            for name, sums in ranked.items()
        },
        "raters": {
            name: {
                "by_activity": _errors(sums.by_activity),
                "by_popularity": _errors(sums.by_popularity),
                "by_level": _levels(sums.by_level),
                "calibration": _cells(sums.by_cell),
                "density": sums.density[sums.by_level[:, 0] > 0].tolist(),
            }
            for name, sums in rated.items()
        },
    }


def _lists_by_activity(sums: RankingSums, counts: NDArray[np.int64], n_users: int, cutoffs: Sequence[int]) -> Rows:
    place = ranking.names(cutoffs).index
    rows = []
    for group, name in enumerate(group_names()):
        total, listed = sums.by_activity[group], sums.listed[group]
        if total[-1]:
            means = {metric: total[place(f"{metric}@{DETAIL_AT}")] / total[-1] for metric in PER_USER}
            rows.append(
                {"group": name, "users": int(total[-1])}
                | {metric: float(mean) for metric, mean in means.items()}
                | {
                    "coverage": list_metrics.coverage(listed, counts),
                    "novelty": list_metrics.novelty(listed, counts, n_users),
                }
            )
    return rows


def _lists_by_popularity(sums: RankingSums, counts: NDArray[np.int64]) -> Rows:
    group, times = group_of(counts), sums.listed.sum(axis=0, dtype=np.int64)
    columns = np.stack([np.ones(len(counts), np.int64), times > 0, times, *sums.found])
    by_group = np.stack([np.bincount(group, weights=column, minlength=N_GROUPS) for column in columns], axis=1)
    return [
        {
            "group": name,
            "items": int(items),
            "listed": places / max(times.sum(), 1),
            "coverage": covered / items,
            "held_out": int(held_out),
            "found": found / held_out if held_out else None,
        }
        for name, (items, covered, places, held_out, found) in zip(group_names(), by_group.tolist(), strict=True)
        if items
    ]


def _errors(by_group: NDArray[np.float64]) -> Rows:
    return [
        {"group": name, "ratings": int(ratings), "rmse": (squared / ratings) ** 0.5, "mae": absolute / ratings}
        for name, (squared, absolute, ratings) in zip(group_names(), by_group.tolist(), strict=True)
        if ratings
    ]


def _levels(by_level: NDArray[np.float64]) -> Rows:
    return [
        {
            "rating": total / ratings,
            "ratings": int(ratings),
            "predicted": (total + error) / ratings,
            "bias": error / ratings,
            "rmse": (squared / ratings) ** 0.5,
            "mae": absolute / ratings,
        }
        for ratings, total, error, squared, absolute in by_level.tolist()
        if ratings
    ]


def _cells(by_cell: NDArray[np.float64]) -> Rows:
    return [
        {"predicted": predicted / ratings, "rating": rating / ratings, "ratings": int(ratings)}
        for ratings, predicted, rating in by_cell.tolist()
        if ratings
    ]
