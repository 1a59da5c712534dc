"""The rankers by the protocol of Anelli et al. 2022 (arXiv 2203.01155) on ml-1m, beside the paper's figures.

python -m benchmarks.ranking_records --mirror DIR --splits 5

Ratings of 4 and 5 only, as binary; users and items with fewer than 10 are dropped until none is left; ceil(20%) of each
user's ratings are held out at random (so do the splits that the paper's authors published: 116,671 held out of
571,531); all other items are ranked. ndcg@10 has its ideal cut at 10. The splits are ours, seeds 0, 1, ...

The rows "tuned" choose their settings anew for each split, on 20% of each user's ratings of its training part; nothing
of the split's held-out ratings is looked at before the last fit. The others have the models' defaults, which were found
on a validation slice of another split of the same ratings, or a published lambda.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel, wilcoxon

from recsys.config import ComputeConfig
from recsys.evaluate.ranking import per_user, relevance
from recsys.models.base import FitContext, Histories
from recsys.models.registry import ranker, settings_of
from recsys.prepare.training_set import TrainingSet, build_training_set

LEAST = 10  # ratings of a user and of an item
METRICS = ("ndcg@10", "recall@10", "precision@10")
WINNER, BASELINES = "weighted_edlae, tuned", ("ease, lambda 238.6", "ease, tuned")


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        model: its name here.
        grid: what differs from its defaults; of several the best on the validation slice is taken.
        published: the paper's ndcg@10, None where it has none.
    """

    model: str
    grid: tuple[Mapping[str, Any], ...] = ({},)
    published: float | None = None


ENTRIES: Mapping[str, Entry] = {
    "popular": Entry("popular"),
    "item_knn": Entry("item_knn"),
    "ials": Entry("ials", published=0.306),
    BASELINES[0]: Entry("ease", ({"reg": 238.6},), 0.336),
    BASELINES[1]: Entry("ease", tuple({"reg": reg} for reg in (238.6, 500.0, 800.0, 1_200.0, 1_800.0))),
    "edlae": Entry("edlae"),
    "weighted_edlae": Entry("weighted_edlae"),
    WINNER: Entry(
        "weighted_edlae",
        tuple(
            {"reg": reg, "dropout": dropout, "item_power": item_power}
            for reg, dropout in ((500.0, 0.5), (800.0, 0.6), (800.0, 0.7))
            for item_power in (0.1, 0.2, 0.3)
        ),
    ),
}

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, required=True, help="the folder that holds ml-1m.zip")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    given = parser.parse_args()
    user, item = liked(given.mirror)
    print(f"{user.max() + 1:,} users, {item.max() + 1:,} items, {len(user):,} ratings of 4 and 5\n")
    compute = ComputeConfig(threads=given.threads)
    measured = [measure_split((user, item), seed, compute) for seed in range(given.splits)]
    print(report(measured))
    print(paired_tests(measured))


def liked(mirror: Path) -> Pairs:
    """user_index and item_index of the ratings of 4 and 5, iteratively reduced to users and items with `LEAST`."""
    with zipfile.ZipFile(mirror / "ml-1m.zip") as archive:
        text = archive.read("ml-1m/ratings.dat").decode("latin-1").replace("::", " ")
    user, item, rating, _ = np.loadtxt(io.StringIO(text), dtype=np.int64, unpack=True)
    user, item = user[rating >= 4], item[rating >= 4]
    while True:
        keep = (np.bincount(user)[user] >= LEAST) & (np.bincount(item)[item] >= LEAST)
        if keep.all():
            return dense(user), dense(item)
        user, item = user[keep], item[keep]


def dense(ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """0-based indices in the order of the ids."""
    return np.unique(ids, return_inverse=True)[1].astype(np.int32)


def measure_split(pairs: Pairs, seed: int, compute: ComputeConfig) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By entry, each metric's values by user, and "seconds" of the last fit (one value)."""
    train, held = parted(pairs, seed)
    inner, validation = parted(train, seed)
    shape = (int(pairs[0].max()) + 1, int(pairs[1].max()) + 1)
    training_set, tuning_set = (_training_set(each, shape) for each in (train, inner))
    values = {}
    for name, entry in ENTRIES.items():
        settings = best_of(entry, tuning_set, validation, seed, compute)
        values[name] = measure(entry.model, settings, training_set, held, seed, compute)
        print(f"split {seed}: {name} {dict(settings)} {values[name]['ndcg@10'].mean():.4f}", flush=True)
    return values


def best_of(
    entry: Entry, training_set: TrainingSet, validation: Pairs, seed: int, compute: ComputeConfig
) -> Mapping[str, Any]:
    """The settings of the grid with the highest ndcg@10 on the validation slice, the first of equals."""
    if len(entry.grid) == 1:
        return entry.grid[0]
    tried = [measure(entry.model, each, training_set, validation, seed, compute)["ndcg@10"] for each in entry.grid]
    return entry.grid[int(np.argmax([values.mean() for values in tried]))]


def parted(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """What is learned from, and the 20% of each user that are held out."""
    held = per_user_split(pairs[0], 0.2, seed)
    return (pairs[0][~held], pairs[1][~held]), (pairs[0][held], pairs[1][held])


def per_user_split(user: NDArray[np.int32], test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """(n,) True for ceil(test_fraction * n) of each user's n ratings, by the draws of one generator over the rows.

    The nightly split draws by ids instead; the published counts are those of this one.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(user)), user))
    count = np.bincount(user)
    place = np.empty(len(user), np.int64)
    place[order] = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    count = count[user]
    return place < np.minimum(np.ceil(test_fraction * count - 1e-9), count - 1)


def _training_set(pairs: Pairs, shape: tuple[int, int]) -> TrainingSet:
    return build_training_set(*pairs, np.ones(len(pairs[0]), np.float32), shape, top_items=0, min_user_ratings=1)


def measure(
    model: str, settings: Mapping[str, Any], training_set: TrainingSet, held: Pairs, seed: int, compute: ComputeConfig
) -> dict[str, NDArray[np.float64]]:
    """Fit, list and compare with what is held out."""
    users = np.arange(training_set.n_users, dtype=np.int32)
    histories = Histories(users, training_set.ratings, training_set.ratings)
    started = time.monotonic()
    fitted = ranker(model).fit(training_set, settings_of(model, settings), FitContext(seed, compute))
    seconds = time.monotonic() - started
    columns = fitted.top_n(histories, 10, compute).columns
    lists = np.where(columns >= 0, training_set.items[columns], np.int32(-1))
    values = per_user(relevance(lists, *held, training_set.n_items), (10,))
    return {metric: values[metric] for metric in METRICS} | {"seconds": np.array([seconds])}


def report(measured: list[dict[str, dict[str, NDArray[np.float64]]]]) -> str:
    """The table: means by split, then mean and standard deviation over the splits."""
    splits = range(len(measured))
    head = ["ranker", *(f"split {seed}" for seed in splits), "ndcg@10", "spread", "paper", *METRICS[1:], "fit s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, entry in ENTRIES.items():
        mean = {key: np.array([split[name][key].mean() for split in measured]) for key in (*METRICS, "seconds")}
        ndcg = mean["ndcg@10"]
        figures = [*ndcg, ndcg.mean(), ndcg.std(ddof=1) if len(ndcg) > 1 else np.nan]
        paper = f"{entry.published:.3f}" if entry.published else ""
        rest = [mean[metric].mean() for metric in METRICS[1:]]
        cells = [name, *(f"{x:.4f}" for x in figures), paper, *(f"{x:.4f}" for x in rest)]
        lines.append("| " + " | ".join([*cells, f"{mean['seconds'].mean():.1f}"]) + " |")
    return "\n".join(lines) + "\n"


def paired_tests(measured: list[dict[str, dict[str, NDArray[np.float64]]]]) -> str:
    """The winner against the others, paired by user: by split, and of each user's mean over the splits.

    Users are independent of each other; splits of the same ratings are not, so they are averaged, never pooled.
    """
    lines = []
    for other in (*BASELINES, "edlae"):
        pairs = [(split[WINNER]["ndcg@10"], split[other]["ndcg@10"]) for split in measured]
        over_splits = tuple(np.mean([pair[side] for pair in pairs], axis=0) for side in (0, 1))
        lines.append(f"{WINNER} less {other}, ndcg@10, paired by user:")
        for label, (ours, theirs) in [*((f"split {n}", pair) for n, pair in enumerate(pairs)), ("mean", over_splits)]:
            t, p = ttest_rel(ours, theirs)
            lines.append(
                f"  {label}: {np.mean(ours - theirs):+.4f}, t = {t:.1f} (p = {p:.1e}), "
                f"Wilcoxon p = {wilcoxon(ours, theirs).pvalue:.1e}, {len(ours):,} users"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
