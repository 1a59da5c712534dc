"""The rankers by the protocol of Anelli et al. 2022 (arXiv 2203.01155) on ml-1m, beside the paper's figures.

python -m benchmarks.ranking_records --mirror DIR --splits 5

Ratings of 4 and 5 only, as binary; users and items with fewer than 10 are dropped until none is left; ceil(20%) of each
user's ratings are held out at random (so do the splits that the paper's authors published: 116,671 held out of
571,531); all other items are ranked. ndcg@10 has its ideal cut at 10. The splits are ours, seeds 0, 1, ...

No setting was chosen on a held-out rating of these splits: they are the models' defaults, EASE's published lambda, and
for "ease, lambda 800" the best of 100, 238.6, 400 and 800 on a validation slice.
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
from recsys.prepare.split import per_user_split
from recsys.prepare.training_set import TrainingSet, build_training_set

LEAST = 10  # ratings of a user and of an item
METRICS = ("ndcg@10", "recall@10", "precision@10")
WINNER, BASELINE = "weighted_edlae", "ease, lambda 238.6"


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        model: its name here.
        settings: what differs from its defaults.
        published: the paper's ndcg@10, None where it has none.
    """

    model: str
    settings: Mapping[str, Any]
    published: float | None = None


ENTRIES: Mapping[str, Entry] = {
    "popular": Entry("popular", {}),
    "item_knn": Entry("item_knn", {}),
    "ials": Entry("ials", {}, 0.306),
    BASELINE: Entry("ease", {"reg": 238.6}, 0.336),
    "ease, lambda 800": Entry("ease", {"reg": 800.0}),
    "edlae": Entry("edlae", {}),
    WINNER: Entry(WINNER, {}),
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
    """By entry, each metric's values by user, and "seconds" of the fit (one value)."""
    user, item = pairs
    held = per_user_split(user, 0.2, seed)
    shape = (int(user.max()) + 1, int(item.max()) + 1)
    training_set = build_training_set(
        user[~held], item[~held], np.ones(int((~held).sum()), np.float32), shape, top_items=0, min_user_ratings=1
    )
    return {
        name: measure_entry(entry, training_set, (user[held], item[held]), seed, compute)
        for name, entry in ENTRIES.items()
    }


def measure_entry(
    entry: Entry, training_set: TrainingSet, held: Pairs, seed: int, compute: ComputeConfig
) -> dict[str, NDArray[np.float64]]:
    """Fit, list and compare with what is held out."""
    users = np.arange(training_set.n_users, dtype=np.int32)
    histories = Histories(users, training_set.ratings, training_set.ratings)
    started = time.monotonic()
    model = ranker(entry.model).fit(training_set, settings_of(entry.model, entry.settings), FitContext(seed, compute))
    seconds = time.monotonic() - started
    columns = model.top_n(histories, 10, compute).columns
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
    for other in (BASELINE, "ease, lambda 800", "edlae"):
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
