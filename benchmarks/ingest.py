"""From a CSV of ratings to the prepared folder, beside Polars and DuckDB on the same file.

    python -m benchmarks.ingest
    python -m benchmarks.ingest --ratings 25000095 --users 162541 --items 59047

The ratings are the generated ones, of the given shape. Ours checks every row, drops repeats, sorts by user, draws a
hold-out and writes both training sets. The peers count, keep the most rated items, take off the overall, item and user
means, and write Parquet: less work, as there is no one call for all of it. Each runs in a process of its own; its
memory is the peak of what is resident, mapped files included.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks.kept import Figures
from benchmarks.measured import Clock, Measured, measure
from benchmarks.page import Given
from recsys.compute import thread_count
from recsys.config import ComputeConfig, DemoConfig, InputConfig, RunConfig
from recsys.demo import generate
from recsys.download.catalogue import HALF_STARS, MOVIES_CSV, RATINGS_CSV
from recsys.ratings import Snapshot

SHAPE = DemoConfig(users=13_000, items=10_000, ratings=2_000_000)
ML_25M = DemoConfig(users=162_541, items=59_047, ratings=25_000_095)
FIRST = DemoConfig(users=100, items=50, ratings=2_000)
TOP_ITEMS = 10_000
PEERS = ("polars", "duckdb")
RATIOS = {"ratio": "seconds", "cpu_ratio": "cpu_seconds"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CSV to the prepared folder, beside Polars and DuckDB")
    for name in ("ratings", "users", "items"):
        parser.add_argument(f"--{name}", type=int, default=getattr(SHAPE, name))
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--memory-mib", type=int, default=ComputeConfig().memory_mib)
    parser.add_argument("--once", nargs=3, metavar=("WAY", "IN", "OUT"), help="one way, in this process")
    given = parser.parse_args()
    compute = ComputeConfig(threads=given.threads, memory_mib=given.memory_mib)
    if given.once:
        way, source, target = given.once
        clock = Clock()
        WAYS[way](Path(source), Path(target), compute)
        print(json.dumps(clock.read()))
        return
    shape = DemoConfig(users=given.users, items=given.items, ratings=given.ratings)
    for row in compare(shape, compute):
        print(json.dumps(row))


def for_page(given: Given) -> Figures:
    """A row a way, at ml-25m's shape."""
    return {"rows": compare(SHAPE if given.small else ML_25M, ComputeConfig())}


def compare(shape: DemoConfig, compute: ComputeConfig) -> list[Figures]:
    """A row a way, ours first: way, ratings, threads, seconds, cpu_seconds, peak_mib and ratios; or `missing`.

    The clocks start when the process has started; ratios are of the seconds to ours, so that below 1 is sooner.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, first = Path(folder) / "in", Path(folder) / "first"
        for made, size in ((first, FIRST), (source, shape)):
            made.mkdir()
            generate(size, made, rows_per_part=size.ratings)
        _row("recsys", first, Path(folder) / "once", FIRST, compute)  # compiled code is kept on disk from then on
        rows = [_row(way, source, Path(folder) / way, shape, compute) for way in WAYS]
    return [row | ({name: round(row[of] / rows[0][of], 2) for name, of in RATIOS.items() if of in row}) for row in rows]


def _row(way: str, source: Path, target: Path, shape: DemoConfig, compute: ComputeConfig) -> Figures:
    row: Figures = {"way": way, "ratings": shape.ratings, "threads": thread_count(compute)}
    if way in PEERS and find_spec(way) is None:
        return row | {"missing": "not installed"}
    target.mkdir()
    taken = _measured(way, source, target, compute)
    clocks = {name: round(value, 2) for name, value in json.loads(taken.out).items()}
    return row | clocks | {"peak_mib": round(taken.peak_mib)}


def _measured(way: str, source: Path, target: Path, compute: ComputeConfig) -> Measured:
    command = [sys.executable, "-m", "benchmarks.ingest", "--once", way, str(source), str(target)]
    command += ["--threads", str(compute.threads), "--memory-mib", str(compute.memory_mib)]
    threads = str(thread_count(compute))
    return measure(command, {**os.environ, "POLARS_MAX_THREADS": threads})


def ours(source: Path, target: Path, compute: ComputeConfig) -> None:
    """The stage `prepare` without its store."""
    from recsys.prepare.stage import prepare_inputs

    snapshot = Snapshot(
        "demo", (str(source / "ratings-00000.csv"),), (str(source / "items.csv"),), RATINGS_CSV, MOVIES_CSV,
        HALF_STARS, "0" * 64, "generated", "generated",
    )  # fmt: skip
    config = RunConfig(input=InputConfig(dataset="demo"), compute=compute)
    prepare_inputs(target, snapshot, None, config, top_items=TOP_ITEMS, refused=target / "refused")


def by_polars(source: Path, target: Path, compute: ComputeConfig) -> None:
    """Lazily, as its users would: one query, written by its streaming engine."""
    import polars as pl

    rows = pl.scan_csv(source / "ratings-00000.csv").with_columns(pl.col("rating").cast(pl.Float32))
    top = rows.group_by("movieId").len().sort("len", "movieId", descending=[True, False]).head(TOP_ITEMS)
    kept = rows.join(top.select("movieId"), on="movieId", how="semi")
    overall = kept.select(pl.col("rating").cast(pl.Float64).mean()).collect().item()
    rest = kept.with_columns(rest=pl.col("rating") - overall)
    items = rest.group_by("movieId").agg(item=pl.col("rest").mean())
    rest = rest.join(items, on="movieId").with_columns(rest=pl.col("rest") - pl.col("item")).drop("item")
    users = rest.group_by("userId").agg(user=pl.col("rest").mean())
    preferences = rest.join(users, on="userId").with_columns(preference=(pl.col("rest") - pl.col("user")))
    preferences.select("userId", "movieId", "rating", pl.col("preference").cast(pl.Float32), "timestamp").sort(
        "userId", "movieId"
    ).sink_parquet(target / "ratings.parquet", compression="zstd")


def by_duckdb(source: Path, target: Path, compute: ComputeConfig) -> None:
    """In a database on disk, within the same memory."""
    import duckdb

    with duckdb.connect(str(target / "work.db")) as base:
        base.execute(f"SET threads = {thread_count(compute)}")
        base.execute(f"SET memory_limit = '{compute.memory_mib}MiB'")
        base.execute(
            "CREATE TABLE rows AS SELECT userId, movieId, rating::FLOAT AS rating, timestamp FROM read_csv(?)",
            [str(source / "ratings-00000.csv")],
        )
        base.execute(DUCKDB_QUERY.format(top_items=TOP_ITEMS, target=target / "ratings.parquet"))


DUCKDB_QUERY = """
COPY (
    WITH top AS (SELECT movieId FROM rows GROUP BY movieId ORDER BY count(*) DESC, movieId LIMIT {top_items}),
    kept AS (SELECT * FROM rows SEMI JOIN top USING (movieId)),
    centred AS (SELECT *, rating - (SELECT avg(rating::DOUBLE) FROM kept) AS rest FROM kept),
    items AS (SELECT movieId, avg(rest) AS item FROM centred GROUP BY movieId),
    by_item AS (SELECT userId, movieId, rating, timestamp, rest - item AS rest FROM centred JOIN items USING (movieId)),
    users AS (SELECT userId, avg(rest) AS mean FROM by_item GROUP BY userId)
    SELECT userId, movieId, rating, (rest - mean)::FLOAT AS preference, timestamp
    FROM by_item JOIN users USING (userId) ORDER BY userId, movieId
) TO '{target}' (FORMAT parquet, COMPRESSION zstd)
"""

WAYS: Mapping[str, Callable[[Path, Path, ComputeConfig], None]] = {
    "recsys": ours,
    "polars": by_polars,
    "duckdb": by_duckdb,
}


if __name__ == "__main__":
    main()
