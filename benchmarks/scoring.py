"""Top-n of all users by factors: ours beside the bare matrix product, `implicit`, RecTools, NumPy and TensorFlow.

    python -m benchmarks.scoring --mirror DIR

40,000 users x 20,000 items x 64 factors, 100 seen items a user, 10 wanted; random normal factors, the same with
log-normal lengths of the items, and factors of implicit ALS trained on ml-1m with its own ratings as the seen items.
All run in one process, on the same number of threads, in rounds that take each way once; a figure is the median over
the rounds, of wall seconds and of CPU seconds, which what else runs hardly changes. The bare product is NumPy's in
float32, in blocks that stay in a cache, its result thrown away. Lists are compared with naive ones for some users.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.environments import ROOT, python_of
from benchmarks.kept import Figures
from benchmarks.measured import Clock
from benchmarks.page import Given
from recsys.compute import one_blas_thread, over_ranges, thread_count
from recsys.config import ComputeConfig
from recsys.score.engine import top_n
from recsys.score.formula import product

N_USERS, N_ITEMS, FACTORS, SEEN, N = 40_000, 20_000, 64, 100, 10
BARE, IMPLICIT = "bare product", "implicit"
RECTOOLS = ("rectools==0.19.0", "typeguard==4.6.0")  # it asks for NumPy 1; its ranker runs without
CHECKED = 50  # users whose lists are compared with naive ones
BARE_ROWS, BARE_COLUMNS = 512, 512  # of the bare product's blocks: 1 MiB, the quickest shape of those tried
BLOCK = 1_024  # users at a time of the ways that have no blocks of their own: 80 MB of scores

Lists = np.ndarray


@dataclass(frozen=True, eq=False)
class Work:
    """What is scored.

    Attributes:
        users: (n_users, size) float32.     items: (n_items, size) float32.
        seen: (n_users, n_items) CSR float32.
    """

    users: np.ndarray
    items: np.ndarray
    seen: csr_matrix


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", help="folder that holds ml-1m.zip; without it the trained factors are left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=N_USERS, help="of the random factors")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--json", action="store_true", help="figures instead of a table")
    given = parser.parse_args()
    threads = thread_count(ComputeConfig(threads=given.threads))
    measured = measure_all(given.mirror, given.users, threads, given.rounds)
    print(json.dumps(measured) if given.json else "\n".join(report(measured)))


def for_page(given: Given) -> Figures:
    """Measured where `implicit` and RecTools' ranker, which stands on it, can be imported beside this project."""
    python = python_of("implicit", beside=True, bare=RECTOOLS)
    command = [str(python), "-m", "benchmarks.scoring", "--json", "--mirror", str(given.mirror)]
    command += ["--rounds", str(given.rounds), "--users", str(2_000 if given.small else N_USERS)]
    figures: Figures = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return figures


def measure_all(mirror: str | None, n_users: int, threads: int, rounds: int) -> Figures:
    """threads, rounds, and by data (work) its shape and rows: way, seconds, cpu_seconds, to_bare, to_implicit, equal.

    A row of a way that cannot run has a reason instead, and so has data that is not there.
    """
    works: dict[str, Figures] = {}
    for name, make in _works(mirror, n_users, threads).items():
        made = make()
        works[name] = {"missing": made} if isinstance(made, str) else measure(made, threads, rounds)
    return {"threads": threads, "rounds": rounds, "n": N, "work": works}


def _works(mirror: str | None, n_users: int, threads: int) -> dict[str, Callable[[], Work | str]]:
    return {
        "normal factors": lambda: random_work(n_users, skewed=False),
        "log-normal lengths": lambda: random_work(n_users, skewed=True),
        "implicit ALS of ml-1m": lambda: trained_work(mirror, threads),
    }


def random_work(n_users: int, *, skewed: bool, seed: int = 0) -> Work:
    """Normal factors; `skewed`: each item's times exp of a standard normal number."""
    rng = np.random.default_rng(seed)
    users, items = (rng.standard_normal((n, FACTORS), np.float32) for n in (n_users, N_ITEMS))
    if skewed:
        items *= np.exp(rng.standard_normal((N_ITEMS, 1), np.float32))
    # 100 different items a user: a random one of each 200.
    column = rng.integers(0, N_ITEMS // SEEN, (n_users, SEEN)) + np.arange(0, N_ITEMS, N_ITEMS // SEEN)
    indptr = np.arange(0, n_users * SEEN + 1, SEEN)
    ones = np.ones(n_users * SEEN, np.float32)
    return Work(users, items, csr_matrix((ones, column.ravel().astype(np.int32), indptr), shape=(n_users, N_ITEMS)))


def trained_work(mirror: str | None, threads: int) -> Work | str:
    """Factors of `ials` with its defaults on all of ml-1m; why not, where the data is missing."""
    if mirror is None or not (Path(mirror) / "ml-1m.zip").exists():
        return "no ml-1m.zip in the mirror"
    from benchmarks.tutorials import ratings_of
    from recsys.models.base import FitContext
    from recsys.models.ials import Ials, IalsSettings
    from recsys.prepare.training_set import build_training_set

    ratings = ratings_of("ml-1m", mirror)
    training_set = build_training_set(
        ratings.user_index, ratings.item_index, ratings.rating, (ratings.n_users, ratings.n_items),
        top_items=0, min_user_ratings=1,
    )  # fmt: skip
    model = Ials.fit(training_set, IalsSettings(), FitContext(0, ComputeConfig(threads=threads)))
    return Work(model.user_factors, model.item_factors, training_set.binary)


def measure(work: Work, threads: int, rounds: int) -> Figures:
    """One work's shape and rows."""
    ways = {name: make(work, threads) for name, make in WAYS.items()}
    runs = {name: way for name, way in ways.items() if not isinstance(way, str)}
    naive = naive_lists(work, np.linspace(0, len(work.users) - 1, CHECKED).astype(int))
    equal = {name: _as_naive(run(), naive) for name, run in runs.items()}  # the first run also compiles and warms up
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            clock = Clock()
            run()
            taken[name].append(clock.read())
    figures = {name: _medians(each) for name, each in taken.items()}
    rows = [
        {"way": name, "missing": ways[name]}
        if name not in figures
        else {"way": name, **figures[name], **_ratios(figures, name), "equal": equal[name]}
        for name in WAYS
    ]
    return {"users": len(work.users), "items": len(work.items), "factors": work.items.shape[1], "rows": rows}


def _medians(taken: list[dict[str, float]]) -> dict[str, float]:
    return {clock: median(each[clock] for each in taken) for clock in ("seconds", "cpu_seconds")}


def _ratios(figures: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float | None]:
    """Times the bare product's wall and CPU seconds, and `implicit`'s over its own."""
    own, bare, peer = figures[name], figures[BARE], figures.get(IMPLICIT)
    return {
        "to_bare": own["seconds"] / bare["seconds"],
        "cpu_to_bare": own["cpu_seconds"] / bare["cpu_seconds"],
        "to_implicit": peer["seconds"] / own["seconds"] if peer else None,
        "cpu_to_implicit": peer["cpu_seconds"] / own["cpu_seconds"] if peer else None,
    }


def naive_lists(work: Work, users: np.ndarray) -> dict[int, np.ndarray]:
    """Columns of a full sort, by float32 of float64 sums and then by column, of some users."""
    lists = {}
    for user in users:
        scores = np.zeros(len(work.items))
        for factor in range(work.items.shape[1]):
            scores += float(work.users[user, factor]) * work.items[:, factor].astype(np.float64)
        scores = scores.astype(np.float32)
        scores[work.seen[user].indices] = -np.inf
        lists[int(user)] = np.argsort(-scores, kind="stable")[:N]
    return lists


def _as_naive(lists: Lists | None, naive: Mapping[int, np.ndarray]) -> float | None:
    """The share of the naive lists that are equal."""
    if lists is None:
        return None
    return float(np.mean([np.array_equal(lists[user], columns) for user, columns in naive.items()]))


Way = Callable[[], Lists | None]


def bare(work: Work, threads: int) -> Way:
    """NumPy's float32 product, block by block."""

    def blocks(first: int, last: int) -> None:
        space = np.empty(BARE_ROWS * BARE_COLUMNS, np.float32)
        for start in range(first * BARE_ROWS, min(last * BARE_ROWS, len(work.users)), BARE_ROWS):
            users = work.users[start : start + BARE_ROWS]
            for column in range(0, len(work.items), BARE_COLUMNS):
                items = work.items[column : column + BARE_COLUMNS]
                np.matmul(users, items.T, out=space[: len(users) * len(items)].reshape(len(users), len(items)))

    def run() -> None:
        with one_blas_thread():
            over_ranges(blocks, -(-len(work.users) // BARE_ROWS), threads)

    return run


def ours(prune: bool | None) -> Callable[[Work, int], Way]:
    """This library's engine."""

    def make(work: Work, threads: int) -> Way:
        return lambda: top_n(product(work.users, work.items), work.seen, N, threads, prune=prune)[0]

    return make


def implicit_topk(work: Work, threads: int) -> Way | str:
    """`implicit.cpu.topk`, what its models' recommend calls. One BLAS thread, as its documentation asks for."""
    topk = _module("implicit.cpu.topk")
    if topk is None:
        return NOT_INSTALLED

    def run() -> Lists:
        with threadpool_limits(1, user_api="blas"):
            return topk.topk(work.items, work.users, N, filter_query_items=work.seen, num_threads=threads)[0]

    return run


def rectools_ranker(work: Work, threads: int) -> Way | str:
    """RecTools' vector ranker, which most of its vector models use."""
    rank = _module("rectools.models.rank")
    if rank is None or not hasattr(rank, "ImplicitRanker"):
        return NOT_INSTALLED
    ranker = rank.ImplicitRanker(rank.Distance.DOT, work.users, work.items, num_threads=threads)

    def run() -> Lists:
        with threadpool_limits(1, user_api="blas"):
            _, items, _ = ranker.rank(np.arange(len(work.users)), k=N, filter_pairs_csr=work.seen)
        return np.asarray(items).reshape(len(work.users), N)

    return run


def argpartition(work: Work, threads: int) -> Way:
    """NumPy: product, seen ones out, argpartition, sort."""

    def run() -> Lists:
        lists = np.empty((len(work.users), N), np.int64)
        with threadpool_limits(threads, user_api="blas"):
            for rows, seen in _blocks(work):
                scores = work.users[rows] @ work.items.T
                scores[seen] = -np.inf
                best = np.argpartition(-scores, N, axis=1)[:, :N]
                order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
                lists[rows] = np.take_along_axis(best, order, axis=1)
        return lists

    return run


def tensorflow(work: Work, threads: int) -> Way | str:
    """TensorFlow: matmul, seen ones out, top_k."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no greeting
    tf = _module("tensorflow")
    if tf is None:
        return NOT_INSTALLED
    with suppress(RuntimeError):  # it has run before in this process and keeps its first setting
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    items = tf.constant(work.items)

    @tf.function(reduce_retracing=True)
    def best(users: Any, seen: Any) -> Any:
        scores = tf.matmul(users, items, transpose_b=True)
        gone = tf.fill([tf.shape(seen)[0]], np.float32(-np.inf))
        return tf.math.top_k(tf.tensor_scatter_nd_update(scores, seen, gone), N).indices

    def run() -> Lists:
        return np.concatenate([best(work.users[rows], np.stack(seen, axis=1)).numpy() for rows, seen in _blocks(work)])

    return run


def _blocks(work: Work) -> Iterator[tuple[slice, tuple[np.ndarray, np.ndarray]]]:
    """Slices of users, and row and column of what they have seen."""
    for start in range(0, len(work.users), BLOCK):
        rows = slice(start, min(start + BLOCK, len(work.users)))
        seen = work.seen[rows]
        yield rows, (np.repeat(np.arange(seen.shape[0], dtype=np.int32), np.diff(seen.indptr)), seen.indices)


def _module(name: str) -> Any:
    """A peer's module; None where it is not installed."""
    with suppress(ImportError):
        return import_module(name)
    return None


NOT_INSTALLED = "not installed"
WAYS: Mapping[str, Callable[[Work, int], Way | str]] = {
    BARE: bare,
    "ours, product": ours(False),
    "ours, pruning": ours(True),
    "ours, automatic": ours(None),
    IMPLICIT: implicit_topk,
    "RecTools": rectools_ranker,
    "NumPy argpartition": argpartition,
    "TensorFlow top_k": tensorflow,
}


def report(measured: Figures) -> list[str]:
    """Lines of Markdown."""
    lines = [f"{measured['n']} wanted, {measured['threads']} threads, medians of {measured['rounds']} rounds."]
    for name, work in measured["work"].items():
        if "missing" in work:
            lines += ["", f"**{name}**: {work['missing']}."]
            continue
        lines += [
            "",
            f"**{name}**, {work['users']:,} users x {work['items']:,} items x {work['factors']}:",
            "",
            "| | seconds | CPU seconds | x bare product: wall | CPU | faster than `implicit`: wall | CPU | as naive |",
            "|---|---|---|---|---|---|---|---|",
            *(_line(row) for row in work["rows"]),
        ]
    return lines


def _line(row: Mapping[str, Any]) -> str:
    if "missing" in row:
        return f"| {row['way']} | {row['missing']} |" + " |" * 6
    peer = ["" if row[key] is None else f"{row[key]:.2f} x" for key in ("to_implicit", "cpu_to_implicit")]
    equal = "" if row["equal"] is None else f"{row['equal']:.0%}"
    cells = [
        row["way"], f"{row['seconds']:.2f}", f"{row['cpu_seconds']:.2f}", f"{row['to_bare']:.2f}",
        f"{row['cpu_to_bare']:.2f}", *peer, equal,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
