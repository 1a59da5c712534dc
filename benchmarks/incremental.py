"""The Gram matrix of a night, in full and from that of the night before, with 1% new ratings.

    RECSYS_MIRROR=/data/movielens python -m benchmarks.incremental

On ml-1m, and on generated ratings of ml-25m's shape, each with the 10,000 most rated items at most. Full: from the
memory-mapped ratings to the sums. Incremental: to the same sums, reading last night's and its ratings and finding what
has changed included. Both in turn on one thread, and the least of each counts: CPU time, which other work on the
machine disturbs less than wall time. `own`: without the system's part of it, most of which goes to finding 200 MB for
the sums, once in either way, and is more the less memory lies free. What is done either way is not in it: counting the
ratings by item, making float64 of the sums, writing them down for the next night. "Additions" are those of the update
as a share of the full computation's.

What is new, 1% of the ratings each time:

- the latest: by time
- sessions: the latest 20 to 99 ratings of users drawn by their activity
- new users: all ratings of users drawn evenly
- anywhere: ratings drawn evenly
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.kept import Figures
from benchmarks.measured import Clock
from benchmarks.page import Given
from recsys.config import load
from recsys.download.stage import take_inputs
from recsys.identifiers import UNKNOWN, IdMap
from recsys.models.cooccurrence import WeightedRows, upper_gram
from recsys.models.kept_gram import KeptGram
from recsys.models.triangle import Triangle
from recsys.prepare.prepared import Prepared
from recsys.prepare.training_set import TrainingSet, build_training_set
from recsys.ratings import Ratings
from recsys.read import read_ratings
from recsys.store import Store

SHARE, TURNS, POWER, TOP_ITEMS, THREADS = 0.01, 4, 0.7, 10_000, 1
OWN = "Own: CPU time without the system's part, most of which goes to finding memory for the matrix, in either way."
ML_25M = {"users": 162_541, "items": 59_047, "ratings": 25_000_095}
DATASETS: dict[str, dict[str, Any]] = {
    "ml-1m": {"dataset": "ml-1m", "mirror": os.environ.get("RECSYS_MIRROR", "../shared/data")},
    "ml-25m's shape": {"dataset": "demo", "demo": ML_25M},
}


def main() -> None:
    """Measure and print."""
    for row in rows():
        print(json.dumps(row), flush=True)


def for_page(given: Given) -> Figures:
    """A row a dataset and kind of news; only ml-1m where it is to be small."""
    measured = rows(list(DATASETS)[:1] if given.small else DATASETS)
    return {"rows": [shown(row) for row in measured], "notes": [OWN]}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the page."""
    clocks = ("cpu_seconds", "own_seconds", "seconds")
    cpu, own, wall = (row[f"incremental_{clock}"] / row[f"full_{clock}"] for clock in clocks)
    return {
        "ratings": row["dataset"], "new": row["new"], "users changed": row["rows_changed"],
        "additions": f"{row['work']:.1%}", "full, CPU s": f"{row['full_cpu_seconds']:.3f}",
        "incremental, CPU s": f"{row['incremental_cpu_seconds']:.3f}", "ratio": f"{cpu:.1%}",
        "ratio of own": f"{own:.1%}", "ratio of wall": f"{wall:.1%}",
    }  # fmt: skip


def rows(names: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    """A row a dataset and kind of news; every matrix is compared, to the bit."""
    for name, options in ((name, DATASETS[name]) for name in names or DATASETS):
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder).resolve()
            config = load(None, {**options, "store": str(store)})
            ratings = read_ratings(take_inputs(config, Store(store))[0], config.input)
            now = _prepare(ratings, store / "runs/now/prepared")
            for kind, news in NEWS.items():
                _prepare(without(ratings, news(ratings)), store / f"runs/{kind}/prepared")
                yield {"dataset": name, "new": kind, **compare(store, kind, now)}


def latest(ratings: Ratings) -> NDArray[np.bool_]:
    """By time."""
    assert ratings.timestamp is not None
    return _first(np.argsort(-ratings.timestamp, kind="stable"), ratings)


def sessions(ratings: Ratings) -> NDArray[np.bool_]:
    """The latest 20 to 99 ratings of users drawn by their activity."""
    assert ratings.timestamp is not None
    rng = np.random.default_rng(0)
    order = np.lexsort((-ratings.timestamp, ratings.user_index))
    count = np.bincount(ratings.user_index)
    place = np.arange(len(ratings)) - np.repeat(np.cumsum(count) - count, count)
    length, turn = rng.integers(20, 100, len(count)), rng.exponential(size=len(count)) / count
    some = order[place < np.repeat(length, count)]
    return _first(some[np.argsort(turn[ratings.user_index[some]], kind="stable")], ratings)


def new_users(ratings: Ratings) -> NDArray[np.bool_]:
    """All ratings of users drawn evenly."""
    turn = np.random.default_rng(0).random(ratings.n_users)
    return _first(np.argsort(turn[ratings.user_index], kind="stable"), ratings)


def anywhere(ratings: Ratings) -> NDArray[np.bool_]:
    """Ratings drawn evenly."""
    return _first(np.random.default_rng(0).permutation(len(ratings)), ratings)


NEWS: dict[str, Callable[[Ratings], NDArray[np.bool_]]] = {
    "the latest": latest,
    "sessions": sessions,
    "new users": new_users,
    "anywhere": anywhere,
}


def compare(store: Path, kind: str, now: Path) -> dict[str, Any]:
    """The least seconds of both ways, and how much had changed."""
    before = KeptGram(store, now.parents[1] / kind / "prepared", "all", store / "way.json")
    _, its_rows = _rows_of(before.prepared)
    before.keep(upper_gram(its_rows, THREADS), its_rows, POWER)
    taken: dict[str, list[dict[str, float]]] = {"full": [], "incremental": []}
    for _ in range(TURNS):
        _, rows = _rows_of(now)
        clock, own = Clock(), _own_seconds()
        gram = upper_gram(rows, THREADS)
        taken["full"].append({**clock.read(), "own_seconds": _own_seconds() - own})
        digest = _digest(gram)
        del gram  # two of them at once, and the system takes longer to find memory for the other
        training_set, rows = _rows_of(now)
        clock, own = Clock(), _own_seconds()
        kept = KeptGram(store, now, "all", store / "way.json")
        updated = kept.updated(training_set, rows, POWER, THREADS)
        taken["incremental"].append({**clock.read(), "own_seconds": _own_seconds() - own})
        if _digest(updated.gram) != digest:
            raise RuntimeError("the two matrices differ")
        changed = {"rows_changed": updated.changed, "work": updated.work}
        del updated
    least = {f"{way}_{clock}": min(each[clock] for each in taken[way]) for way in taken for clock in taken[way][0]}
    return {**changed, **least}


def _rows_of(prepared: Path) -> tuple[TrainingSet, WeightedRows]:
    """What a fit has in hand before it asks for the matrix: the ratings by column are counted, for the penalty."""
    training_set = Prepared(prepared).training_set("all")
    rows = WeightedRows.of(training_set, POWER)
    assert rows.largest
    return training_set, rows


def _digest(gram: Triangle) -> bytes:
    return hashlib.sha256(gram.sums.astype(np.uint64).data).digest()


def _own_seconds() -> float:
    """CPU seconds of this process outside of the system."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _prepare(ratings: Ratings, folder: Path) -> Path:
    """A prepared folder with what a Gram matrix is made of."""
    (folder / "all").mkdir(parents=True)
    ids = IdMap(ratings.user_ids, ratings.item_ids)
    ids.save(folder)
    pairs = (ratings.user_index, ratings.item_index, ratings.rating)
    training_set = build_training_set(*pairs, (ids.n_users, ids.n_items), top_items=TOP_ITEMS, min_user_ratings=1)
    matrix = training_set.ratings
    arrays = {"indptr": matrix.indptr, "columns": matrix.indices, "ratings": matrix.data} | {
        name: getattr(training_set, name) for name in ("items", "trained", "item_counts", "item_sums")
    }
    for name, array in arrays.items():
        np.save(folder / "all" / f"{name}.npy", array)
    return folder


def without(ratings: Ratings, left_out: NDArray[np.bool_]) -> Ratings:
    """The ratings that are not left out, as if the input had held no others.

    Users and items without any rating left are gone, and so are pairs of refused rows that name one of them.

    Args:
        left_out: (n_ratings,) True where a rating goes.
    """
    keep = ~left_out
    user, item = ratings.user_index[keep], ratings.item_index[keep]
    new_user, new_item = _renumbered(user, ratings.n_users), _renumbered(item, ratings.n_items)
    seen_user, seen_item = new_user[ratings.seen_user_index], new_item[ratings.seen_item_index]
    known = (seen_user != UNKNOWN) & (seen_item != UNKNOWN)
    return replace(
        ratings,
        user_ids=ratings.user_ids.take(pa.array(np.flatnonzero(new_user != UNKNOWN))),
        item_ids=ratings.item_ids.take(pa.array(np.flatnonzero(new_item != UNKNOWN))),
        user_index=new_user[user],
        item_index=new_item[item],
        rating=ratings.rating[keep],
        timestamp=None if ratings.timestamp is None else ratings.timestamp[keep],
        seen_user_index=seen_user[known],
        seen_item_index=seen_item[known],
    )


def _renumbered(index: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """(size,) the new index of each old one, in the same order; `UNKNOWN` where it does not occur."""
    used = np.bincount(index, minlength=size) > 0
    return np.where(used, np.cumsum(used) - 1, UNKNOWN).astype(np.int32)


def _first(order: NDArray[np.integer], ratings: Ratings) -> NDArray[np.bool_]:
    """(n_ratings,) True for the first of an order, `SHARE` of all ratings."""
    mask = np.zeros(len(ratings), dtype=bool)
    mask[order[: round(SHARE * len(ratings))]] = True
    return mask


if __name__ == "__main__":
    main()
