"""A night's figures, and what changed since the run that is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.drift.churn import listed, overlap, rank_biased_overlap
from recsys.evaluate.champion import Champion
from recsys.prepare.prepared import Prepared
from recsys.tables import SOURCE_FOLD_IN, SOURCE_MODEL, SOURCE_POPULAR

BINS = 20  # of the rating scale: MovieLens' ten half stars fall into one each
LEAST = 1e-4  # share of an empty bin, so that the index stays finite
SAMPLE = 100_000  # users whose lists are compared; more move the third digit by nothing

Figures = dict[str, Any]


def figures(folder: Path, prepared: Prepared, champion: Champion | None, n: int) -> Figures:
    """What `drift.json` holds.

    Args:
        folder: tonight's run, its lists written.
        champion: the published run; None where there is none to compare with.
        n: length of a list.

    Returns:
        run_id of the published run; now and before, figures of each night alone; change, between the two. Those of a
        night before are None where there is none, or where it kept none.
    """
    now = _alone(folder, prepared)
    before = None if champion is None else _kept(champion.folder)
    if champion is None or before is None:
        return {"run_id": None, "now": now, "before": None, "change": None}
    return {
        "run_id": champion.run_id,
        "now": now,
        "before": before,
        "change": _users_and_items(champion)
        | {"rating_psi": stability_index(now, before), "changed_ratings": _changed_ratings(champion)}
        | _churn(folder, champion, n),
    }


def _kept(folder: Path) -> Figures | None:
    try:
        return json.loads((folder / "drift.json").read_text())["now"]  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError):
        return None


def _alone(folder: Path, prepared: Prepared) -> Figures:
    counts = prepared.counts
    rows, times = _rows(folder, prepared)
    total, popularity = max(sum(rows.values()), 1), prepared.array("all/item_counts")
    histogram, mean = _ratings(prepared)
    return {
        "ratings": counts.ratings,
        "users": counts.users,
        "items": counts.items,
        "refused_share": counts.refused / max(counts.rows_read, 1),
        "rating_mean": mean,
        "rating_scale": list(prepared.scale),
        "rating_histogram": histogram.tolist(),
        "rows": rows,
        "fallback_share": rows[SOURCE_POPULAR] / total,
        "coverage": int(np.count_nonzero(times)),
        "mean_popularity": float(times @ popularity / max(times.sum(), 1) / max(counts.users, 1)),
    }


def _rows(folder: Path, prepared: Prepared) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Rows by source, and (n_items,) how often each item is listed."""
    rows = dict.fromkeys((SOURCE_MODEL, SOURCE_FOLD_IN, SOURCE_POPULAR), 0)
    times = np.zeros(prepared.counts.items, dtype=np.int64)
    for group in _groups(folder / "recommendations", ["item_id", "source"]):
        times += np.bincount(prepared.ids.item_index(group["item_id"].combine_chunks()), minlength=len(times))
        for value in group["source"].combine_chunks().value_counts().to_pylist():
            rows[value["values"]] += value["counts"]
    return rows, times


def _groups(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    for part in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(part) as opened:
            for place in range(opened.num_row_groups):
                yield opened.read_row_group(place, columns=columns)


def _ratings(prepared: Prepared) -> tuple[NDArray[np.int64], float]:
    """(BINS,) ratings by equal parts of the scale, and their mean."""
    lowest, highest = prepared.scale
    counts, total, n = np.zeros(BINS, dtype=np.int64), 0.0, 0
    for shard in prepared.shards:
        bounds = prepared.array("indptr", shard.start, shard.stop + 1)
        rating = prepared.array("rating", bounds[0], bounds[-1]).astype(np.float64)
        place = np.clip((rating - lowest) / max(highest - lowest, 1e-9) * BINS, 0, BINS - 1).astype(np.int64)
        counts += np.bincount(place, minlength=BINS)
        total, n = total + float(rating.sum()), n + len(rating)
    return counts, total / max(n, 1)


def stability_index(now: Figures, before: Figures) -> float | None:
    """Population stability index of the ratings: sum (p - q) ln(p / q) over the bins of the scale, p now, q before.

    0 is no change; 0.1 to 0.25 a moderate one and above a large one (Siddiqi, Credit Risk Scorecards, 2006). None where
    the scale itself is another one.
    """
    if now["rating_scale"] != before["rating_scale"]:
        return None
    p, q = (_shares(figures["rating_histogram"]) for figures in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def _shares(counts: list[int]) -> NDArray[np.float64]:
    values = np.asarray(counts, dtype=np.float64)
    return np.maximum(values / max(values.sum(), 1.0), LEAST)


def _users_and_items(champion: Champion) -> Figures:
    found: Figures = {}
    for name, index, n_before in (
        ("users", champion.user_of, champion.theirs.counts.users),
        ("items", champion.item_of, champion.theirs.counts.items),
    ):
        common = int(np.count_nonzero(index >= 0))
        found |= {f"new_{name}": len(index) - common, f"vanished_{name}": n_before - common}
    return found


def _changed_ratings(champion: Champion) -> float:
    """Share of tonight's ratings by which the users' numbers of ratings differ: what is new or gone."""
    now, before = (np.diff(prepared.array("indptr")) for prepared in (champion.prepared, champion.theirs))
    known = champion.user_of >= 0
    differ = np.abs(now[known] - before[champion.user_of[known]]).sum()
    gone = before.sum() - before[champion.user_of[known]].sum()
    return float((differ + now[~known].sum() + gone) / max(now.sum(), 1))


def _churn(folder: Path, champion: Champion, n: int) -> Figures:
    common = np.flatnonzero(champion.user_of >= 0)
    sample = common[:: max(1, -(-len(common) // SAMPLE))]
    users = champion.prepared.ids.user_ids.take(pa.array(sample))
    if not len(sample):
        return {"lists_compared": 0, "list_overlap": None, "list_rbo": None}
    now, before = (
        listed(_groups(each / "recommendations", ["user_id", "rank", "item_id"]), users, champion.prepared.ids, n)
        for each in (folder, champion.folder)
    )
    return {
        "lists_compared": len(sample),
        "list_overlap": float(overlap(now, before).mean()),
        "list_rbo": float(rank_biased_overlap(now, before).mean()),
    }
