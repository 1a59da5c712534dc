"""An independent reading of the contract: says in words where a published store departs from it.

It shares no code with the product. `check_published` returns a list of violations, each as "rule: words (detail)"; an
empty list says that all is well. RULES names every rule; test_contract_checker.py shows for each that it can fail.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# The one place to adapt when the product spells a key otherwise: concept -> accepted spellings; a dot goes a level in.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "pointer.run_date": ("run_date",),
    "pointer.run_id": ("run_id",),
    "pointer.path": ("path",),
    "manifest.schema_version": ("schema_version",),
    "manifest.run_id": ("run_id",),
    "manifest.run_date": ("run_date",),
    "manifest.files": ("files",),
    "manifest.input_fingerprint": ("input.fingerprint",),
    "manifest.input_origin": ("input.origin",),
    "manifest.config": ("config", "configuration"),
    "manifest.versions": ("versions", "library_versions"),
    "manifest.seed": ("seed",),
    "manifest.metrics": ("metrics",),
    "manifest.gate_verdict": ("gate.verdict",),
    "manifest.gate_reasons": ("gate.reasons",),
    "manifest.sources": ("sources", "source_counts", "counts_by_source"),
    "manifest.timings": ("timings",),
    "file.path": ("path",),
    "file.rows": ("rows",),
    "file.bytes": ("bytes",),
    "file.sha256": ("sha256",),
    "metadata.schema_version": ("schema_version",),
    "metadata.run_id": ("run_id",),
    "metadata.run_date": ("run_date",),
    "metadata.models": ("models", "model_names", "model", "ranker"),
}
REFUSING_VERDICTS = ("refuse", "fail", "reject", "closed", "false")  # a refused run is never published
UNNAMED_ALLOWED = frozenset({"manifest.json"})  # a manifest cannot hold its own hash
REQUIRED_IN_RUN = ("evaluation.json", "prepared", "model", "report/index.html")
REQUIRED_TABLES = ("recommendations", "popular_items")
TABLES = (*REQUIRED_TABLES, "similar_items", "item_embeddings", "user_embeddings", "quarantine")
SOURCES = ("model", "fold_in", "popular")
LARGEST_FILE_BYTES = 256 * 2**20
SMALLEST_PART_BYTES = 64_000_000  # of a table in several parts; MB read in favour of the writer at both ends
LARGEST_ROW_GROUP = 2**20  # rows; Arrow's own default, above it nothing can be skipped by user
MEAN_TOLERANCE = 1e-5  # float32 carries about seven digits
SAMPLE = 3  # offending rows shown with a violation

RULES: dict[str, str] = {
    "pointer": "published/CURRENT.json is a JSON object with run_date, run_id and path",
    "pointer_folder": "the pointer's path is the folder runs/run_date=<date>/run_id=<id> of this store",
    "pointer_current": "published/current is a symlink to the pointer's folder",
    "run_complete": "the run's folder holds its evaluation, prepared and model",
    "evaluation_json": "evaluation.json is a JSON object of strict JSON",
    "manifest": "manifest.json is a JSON object of strict JSON",
    "manifest_keys": "the manifest has every key the contract names, filled",
    "manifest_identity": "run_id and run_date in the manifest are the pointer's",
    "manifest_gate": "a published run's gate verdict is no refusal and its reasons are a list",
    "manifest_timings": "timings by stage are finite and not negative",
    "manifest_sources": "counts by source in the manifest are the table's own",
    "file_entry": "each file in the manifest is named once, inside the run's folder, with rows, bytes and sha256",
    "file_missing": "each file that the manifest names is there",
    "file_unnamed": "each file of the run is named in the manifest",
    "file_bytes": "bytes in the manifest are the file's own",
    "file_sha256": "SHA-256 in the manifest is the file's own",
    "file_rows": "rows in the manifest are the file's own",
    "table_missing": "the tables that every run has are there, with at least one part",
    "part_name": "a table's folder holds nothing but files named part-*.parquet",
    "part_unreadable": "each part is a readable Parquet file",
    "part_metadata": "key-value metadata has the run's schema version, run_id, run_date and model names",
    "part_compression": "each column is compressed with zstd",
    "part_too_large": "no file is larger than 256 MB",
    "part_too_small": "a table has one file, or parts of at least 64 MB (the last may be smaller)",
    "row_group_statistics": "each row group of recommendations has user_id statistics",
    "row_group_overlap": "row groups of recommendations do not overlap in user_id",
    "row_group_size": "a row group of recommendations is small enough to be worth skipping",
    "columns": "column names and their order are the contract's",
    "types": "Arrow types are the contract's",
    "nulls": "columns that are not nullable have no null",
    "readers": "pandas, Polars and DuckDB read the folder with the same rows and columns",
    "rec_sorted": "recommendations are sorted by (user_id, rank) within and across parts",
    "rec_rank": "each user's ranks go from 1 without gaps",
    "rec_rated": "no user is recommended an item that the user has rated",
    "rec_seen_extra": "no user is recommended an item that counts as seen though its rating was refused",
    "rec_twice": "no item comes twice for a user",
    "rec_unknown_item": "each recommended item is in the input",
    "rec_unknown_user": "only users with a valid rating have rows",
    "rec_row_count": "each user has n rows, or as many as there are candidates",
    "rec_source": "source is model, fold_in or popular",
    "rec_score_null": "model and fold_in rows have a score",
    "rec_score_finite": "score is finite",
    "rec_score_rises": "score never rises with rank",
    "rec_score_ties": "equal scores are ordered by item_id",
    "rec_popular_score": "popular rows have no score",
    "rec_popular_last": "popular rows stand last",
    "rec_popular_order": "popular rows are ordered by (ratings descending, item_id ascending)",
    "rec_popular_head": "popular rows are the most popular candidates not already in the user's list",
    "rec_predicted_range": "predicted_rating is within the range of the input's ratings",
    "rec_because_seen": "because_item_id is an item that the user rated",
    "rec_because_popular": "because_item_id is null in popular rows",
    "popular_all": "popular_items has each item of the input once, and no other",
    "popular_ratings": "ratings in popular_items are the input's counts",
    "popular_mean": "mean_rating in popular_items is the input's mean",
    "popular_rank": "rank in popular_items follows (ratings descending, item_id ascending) from 1",
    "similar_rank": "each item's similar items have ranks from 1 without gaps",
    "similar_itself": "no item is similar to itself",
    "similar_twice": "no similar item comes twice for an item",
    "similar_unknown": "item_id and similar_item_id are in the input",
    "similar_finite": "similarity is finite",
    "similar_rises": "similarity never rises with rank",
    "similar_ties": "equal similarities are ordered by similar_item_id",
    "quarantine_blank": "each quarantined row says its file, line and reason",
    "embedding_unique": "each id has one embedding",
    "embedding_unknown": "each embedded id is in the input",
    "embedding_finite": "embeddings have finite values and one length",
}

ROW_RULES: dict[str, dict[str, str]] = {
    "recommendations": {
        "rec_sorted": """
            SELECT user_id, rank FROM (SELECT *, lag(user_id) OVER w AS user_before, lag(rank) OVER w AS rank_before
                                       FROM recommendations WINDOW w AS (ORDER BY position))
            WHERE user_before > user_id OR (user_before = user_id AND rank_before > rank)""",
        "rec_rank": """
            SELECT user_id, rank FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY rank) AS expected
                                       FROM recommendations)
            WHERE rank <> expected""",
        "rec_rated": "SELECT user_id, item_id FROM recommendations SEMI JOIN ratings USING (user_id, item_id)",
        "rec_seen_extra": "SELECT user_id, item_id FROM recommendations SEMI JOIN extra USING (user_id, item_id)",
        "rec_twice": """
            SELECT user_id, item_id, count(*) AS times FROM recommendations
            GROUP BY user_id, item_id HAVING times > 1""",
        "rec_unknown_item": "SELECT user_id, item_id FROM recommendations ANTI JOIN items USING (item_id)",
        "rec_unknown_user": "SELECT DISTINCT user_id FROM recommendations ANTI JOIN ratings USING (user_id)",
        "rec_row_count": """
            SELECT user_id, coalesce(rows, 0) AS rows, expected FROM expected_rows
            LEFT JOIN (SELECT user_id, count(*) AS rows FROM recommendations GROUP BY user_id) USING (user_id)
            WHERE coalesce(rows, 0) <> expected""",
        "rec_source": "SELECT user_id, rank, source FROM recommendations WHERE NOT list_contains($sources, source)",
        "rec_score_null": """
            SELECT user_id, rank, source FROM recommendations WHERE source <> 'popular' AND score IS NULL""",
        "rec_score_finite": "SELECT user_id, rank, score FROM recommendations WHERE NOT isfinite(score)",
        "rec_score_rises": """
            SELECT user_id, rank, score FROM (SELECT *, lag(score) OVER w AS before FROM recommendations
                                              WHERE isfinite(score) WINDOW w AS (PARTITION BY user_id ORDER BY rank))
            WHERE score > before""",
        "rec_score_ties": """
            SELECT user_id, rank, item_id FROM (
                SELECT *, lag(score) OVER w AS before, lag(item_id) OVER w AS item_before FROM recommendations
                WHERE score IS NOT NULL WINDOW w AS (PARTITION BY user_id ORDER BY rank))
            WHERE score = before AND item_before > item_id""",
        "rec_popular_score": """
            SELECT user_id, rank, score FROM recommendations WHERE source = 'popular' AND score IS NOT NULL""",
        "rec_popular_last": """
            SELECT user_id, rank, source FROM (
                SELECT *, min(rank) FILTER (source = 'popular') OVER (PARTITION BY user_id) AS first_popular
                FROM recommendations)
            WHERE source <> 'popular' AND rank > first_popular""",
        "rec_popular_order": """
            SELECT user_id, rank, item_id FROM (SELECT *, lag(popularity) OVER w AS before FROM popular_rows
                                                WINDOW w AS (PARTITION BY user_id ORDER BY rank))
            WHERE before > popularity""",
        "rec_popular_head": """
            WITH reach AS (SELECT user_id, max(popularity) AS reach FROM popular_rows GROUP BY user_id),
                 taken AS (SELECT user_id, item_id FROM seen UNION SELECT user_id, item_id FROM recommendations)
            SELECT user_id, any_value(reach) AS reach, count(*) AS seen_or_listed
            FROM reach JOIN taken USING (user_id) JOIN items USING (item_id)
            WHERE popularity <= reach GROUP BY user_id HAVING count(*) < any_value(reach)""",
        "rec_predicted_range": """
            SELECT user_id, rank, predicted_rating
            FROM recommendations, (SELECT min(rating)::FLOAT AS low, max(rating)::FLOAT AS high FROM ratings)
            WHERE NOT isfinite(predicted_rating) OR predicted_rating < low OR predicted_rating > high""",
        "rec_because_seen": """
            SELECT user_id, rank, because_item_id FROM recommendations AS listed
            WHERE because_item_id IS NOT NULL AND NOT EXISTS (
                FROM seen WHERE seen.user_id = listed.user_id AND seen.item_id = listed.because_item_id)""",
        "rec_because_popular": """
            SELECT user_id, rank, because_item_id FROM recommendations
            WHERE source = 'popular' AND because_item_id IS NOT NULL""",
    },
    "popular_items": {
        "popular_all": """
            SELECT item_id, count(p.rank) AS times FROM items FULL JOIN popular_items AS p USING (item_id)
            GROUP BY item_id HAVING times <> 1 OR count(items.popularity) = 0""",
        "popular_ratings": """
            SELECT item_id, p.ratings, items.ratings AS expected FROM popular_items AS p JOIN items USING (item_id)
            WHERE p.ratings <> items.ratings""",
        "popular_mean": """
            SELECT item_id, p.mean_rating, items.mean_rating AS expected
            FROM popular_items AS p JOIN items USING (item_id)
            WHERE NOT abs(p.mean_rating - items.mean_rating) <= $tolerance * greatest(1, abs(items.mean_rating))""",
        "popular_rank": """
            SELECT item_id, rank, popularity AS expected FROM popular_items JOIN items USING (item_id)
            WHERE rank <> popularity""",
    },
    "similar_items": {
        "similar_rank": """
            SELECT item_id, rank FROM (SELECT *, row_number() OVER (PARTITION BY item_id ORDER BY rank) AS expected
                                       FROM similar_items)
            WHERE rank <> expected""",
        "similar_itself": "SELECT item_id, rank FROM similar_items WHERE item_id = similar_item_id",
        "similar_twice": """
            SELECT item_id, similar_item_id, count(*) AS times FROM similar_items
            GROUP BY item_id, similar_item_id HAVING times > 1""",
        "similar_unknown": """
            SELECT item_id, similar_item_id FROM similar_items
            WHERE item_id NOT IN (SELECT item_id FROM items) OR similar_item_id NOT IN (SELECT item_id FROM items)""",
        "similar_finite": "SELECT item_id, rank, similarity FROM similar_items WHERE NOT isfinite(similarity)",
        "similar_rises": """
            SELECT item_id, rank, similarity FROM (SELECT *, lag(similarity) OVER w AS before FROM similar_items
                                                   WHERE isfinite(similarity)
                                                   WINDOW w AS (PARTITION BY item_id ORDER BY rank))
            WHERE similarity > before""",
        "similar_ties": """
            SELECT item_id, rank, similar_item_id FROM (
                SELECT *, lag(similarity) OVER w AS before, lag(similar_item_id) OVER w AS item_before
                FROM similar_items WINDOW w AS (PARTITION BY item_id ORDER BY rank))
            WHERE similarity = before AND item_before > similar_item_id""",
    },
    "quarantine": {
        "quarantine_blank": """
            SELECT file, line, reason FROM quarantine
            WHERE trim(coalesce(file, '')) = '' OR trim(coalesce(line::VARCHAR, '')) = ''
               OR trim(coalesce(reason, '')) = ''""",
    },
    "item_embeddings": {
        "embedding_unique": "SELECT item_id FROM item_embeddings GROUP BY item_id HAVING count(*) > 1",
        "embedding_unknown": "SELECT item_id FROM item_embeddings ANTI JOIN ratings USING (item_id)",
    },
    "user_embeddings": {
        "embedding_unique": "SELECT user_id FROM user_embeddings GROUP BY user_id HAVING count(*) > 1",
        "embedding_unknown": "SELECT user_id FROM user_embeddings ANTI JOIN ratings USING (user_id)",
    },
}

INPUT_VIEWS = """
    CREATE TABLE seen AS SELECT user_id, item_id FROM ratings UNION SELECT user_id, item_id FROM extra;
    CREATE TABLE items AS
        SELECT *, row_number() OVER (ORDER BY ratings DESC, item_id) AS popularity
        FROM (SELECT item_id, count(*) AS ratings, avg(rating) AS mean_rating FROM ratings GROUP BY item_id);
"""
RECOMMENDATION_VIEWS = """
    CREATE VIEW popular_rows AS
        SELECT user_id, rank, item_id, popularity FROM recommendations JOIN items USING (item_id)
        WHERE source = 'popular'
"""
EXPECTED_ROWS = """
    CREATE TABLE expected_rows AS
        SELECT user_id, least($n, (SELECT count(*) FROM items) - count(*)) AS expected
        FROM seen SEMI JOIN items USING (item_id) SEMI JOIN ratings USING (user_id) GROUP BY user_id
"""


class Unreadable(ValueError):
    """A file that is not there, or not what its name says."""


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, whether a type is right for it, that type in words, whether it may be null."""

    name: str
    fits: Callable[[pa.DataType], bool]
    words: str
    nullable: bool = False


@dataclass(frozen=True)
class Published:
    """The run that the pointer names, opened, with the input beside it."""

    store: Path
    folder: Path
    pointer: Mapping[str, Any]
    manifest: Mapping[str, Any]
    con: duckdb.DuckDBPyConnection
    id_types: Mapping[str, str]
    smallest_part_bytes: int
    footers: dict[str, dict[Path, pq.FileMetaData]] = field(default_factory=dict)


def check_published(
    store: Path,
    ratings: Any,
    n: int = 10,
    seen_extra: Any = None,
    *,
    smallest_part_bytes: int = SMALLEST_PART_BYTES,
) -> list[str]:
    """Compare what a local store publishes with the contract.

    Args:
        store: the store's folder.
        ratings: the valid ratings as the test itself reads them, columns user_id, item_id, rating: a pandas, Polars or
            Arrow table, or the path of a Parquet or CSV file. Each row counts as one rating.
        n: the length asked of each user's list.
        seen_extra: pairs (user_id, item_id) that count as seen though their rating was refused: a table, or pairs.
        smallest_part_bytes: 0 for a run that was told to write small parts.

    Returns:
        Violations in words, empty where all is well.
    """
    store = Path(store)
    try:
        pointer = _read_object(store / "published" / "CURRENT.json")
        folder = _pointed_folder(store, pointer)
    except Unreadable as error:
        return [_violation("pointer", str(error))]
    try:
        manifest = _read_object(folder / "manifest.json")
    except Unreadable as error:
        return [*_check_pointer(store, folder, pointer), _violation("manifest", str(error))]
    with duckdb.connect(config={"threads": 1}) as con:  # tables of this size are read sooner by one thread than by two
        id_types = _load_input(con, ratings, seen_extra, n)
        run = Published(store, folder, pointer, manifest, con, id_types, smallest_part_bytes)
        return [*_check_pointer(store, folder, pointer), *_check_run(run)]


def _check_run(run: Published) -> Iterator[str]:
    yield from _check_complete(run)
    yield from _check_manifest(run)
    yield from _check_files(run)
    for table in TABLES:
        yield from _check_table(run, table)
    if "recommendations" in run.footers:
        yield from _check_row_groups(run.footers["recommendations"])


def _violation(rule: str, detail: str) -> str:
    return f"{rule}: departs from '{RULES[rule]}' ({detail})"


def _look_up(concept: str, where: Mapping[str, Any]) -> Any:
    """The value of a concept under any of its accepted spellings; None where it is absent."""
    for spelling in SPELLINGS[concept]:
        value: Any = where
        for step in [spelling] if spelling in where else spelling.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"{path}: expected an object, found {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --- pointer and manifest ---------------------------------------------------------------------------------------------


def _pointed_folder(store: Path, pointer: Mapping[str, Any]) -> Path:
    """The folder the pointer names: relative to the store or to published/, absolute, or a file URI."""
    values = {key: _look_up(f"pointer.{key}", pointer) for key in ("run_date", "run_id", "path")}
    absent = [key for key, value in values.items() if not isinstance(value, str) or not value]
    if absent:
        raise Unreadable(f"lacks {', '.join(absent)}")
    try:
        date.fromisoformat(values["run_date"])
    except ValueError as error:
        raise Unreadable(f"run_date {values['run_date']!r} is not YYYY-MM-DD") from error
    path = str(values["path"]).removeprefix("file://")
    folders = [store / path, store / "published" / path]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _check_pointer(store: Path, folder: Path, pointer: Mapping[str, Any]) -> Iterator[str]:
    run_date, run_id = _look_up("pointer.run_date", pointer), _look_up("pointer.run_id", pointer)
    expected = store / "runs" / f"run_date={run_date}" / f"run_id={run_id}"
    if not folder.is_dir() or folder.resolve() != expected.resolve():
        yield _violation("pointer_folder", f"names {folder}, expected {expected}")
    current = store / "published" / "current"
    if not current.is_symlink():
        yield _violation("pointer_current", f"{current} is no symlink")
    elif current.resolve() != folder.resolve():
        yield _violation("pointer_current", f"leads to {current.resolve()}")


def _check_complete(run: Published) -> Iterator[str]:
    absent = [name for name in REQUIRED_IN_RUN if not (run.folder / name).exists()]
    if absent:
        yield _violation("run_complete", f"absent: {', '.join(absent)}")
    try:
        _read_object(run.folder / "evaluation.json")
    except Unreadable as error:
        yield _violation("evaluation_json", str(error))


def _check_manifest(run: Published) -> Iterator[str]:
    yield from _check_manifest_keys(run.manifest)
    for key in ("run_id", "run_date"):
        ours, theirs = _look_up(f"manifest.{key}", run.manifest), _look_up(f"pointer.{key}", run.pointer)
        if ours != theirs:
            yield _violation("manifest_identity", f"{key} is {ours!r}, the pointer's {theirs!r}")
    verdict = _look_up("manifest.gate_verdict", run.manifest)
    if any(word in str(verdict).lower() for word in REFUSING_VERDICTS):
        yield _violation("manifest_gate", f"verdict {verdict!r}")
    if not isinstance(_look_up("manifest.gate_reasons", run.manifest), list):
        yield _violation("manifest_gate", "reasons are no list")
    yield from _check_timings(_look_up("manifest.timings", run.manifest))


def _check_manifest_keys(manifest: Mapping[str, Any]) -> Iterator[str]:
    may_be_empty = {"manifest.gate_reasons", "manifest.gate_verdict", "manifest.seed"}
    for concept in (concept for concept in SPELLINGS if concept.startswith("manifest.")):
        value = _look_up(concept, manifest)
        if value is None or (concept not in may_be_empty and value in ("", {}, [])):
            yield _violation("manifest_keys", f"no {' or '.join(SPELLINGS[concept])}")
    seed = _look_up("manifest.seed", manifest)
    if seed is not None and not isinstance(seed, int):
        yield _violation("manifest_keys", f"seed {seed!r} is no integer")


def _check_timings(timings: Any) -> Iterator[str]:
    """Timings are {stage: seconds}, {stage: {..: seconds}} or a list of objects: every number in them is a duration."""
    wrong = [number for number in _numbers(timings) if not (math.isfinite(number) and number >= 0)]
    if wrong or (timings and not any(True for _ in _numbers(timings))):
        yield _violation("manifest_timings", f"{wrong[:SAMPLE]} of {timings!r:.200}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def _file_entries(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The manifest's files as a list of objects, whether it is one or an object keyed by path."""
    files = _look_up("manifest.files", manifest) or []
    if isinstance(files, Mapping):
        return [{SPELLINGS["file.path"][0]: path, **entry} for path, entry in files.items()]
    return [entry for entry in files if isinstance(entry, Mapping)]


def _check_files(run: Published) -> Iterator[str]:
    entries = _file_entries(run.manifest)
    paths = [str(_look_up("file.path", entry)) for entry in entries]
    for path, times in Counter(paths).items():
        if times > 1:
            yield _violation("file_entry", f"{path} is named {times} times")
    there = {file.relative_to(run.folder).as_posix() for file in run.folder.rglob("*") if not file.is_dir()}
    unnamed = sorted(there - set(paths) - UNNAMED_ALLOWED)
    if unnamed:
        yield _violation("file_unnamed", f"{len(unnamed)}, e.g. {', '.join(unnamed[:SAMPLE])}")
    for path, entry in zip(paths, entries, strict=True):
        yield from _check_file(run.folder, path, entry)


def _check_file(folder: Path, path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    file = folder / path
    if not file.resolve().is_relative_to(folder.resolve()):
        yield _violation("file_entry", f"{path} leads out of the run's folder")
        return
    if not file.is_file():
        yield _violation("file_missing", path)
        return
    size, sha256, rows = (_look_up(f"file.{key}", entry) for key in ("bytes", "sha256", "rows"))
    if size is None or sha256 is None or (rows is None and file.suffix == ".parquet"):
        yield _violation("file_entry", f"{path} has bytes {size}, sha256 {sha256}, rows {rows}")
        return
    if size != file.stat().st_size:
        yield _violation("file_bytes", f"{path}: {size}, found {file.stat().st_size}")
    if sha256 != _sha256(file):
        yield _violation("file_sha256", path)
    yield from _check_file_rows(file, path, rows)


def _check_file_rows(file: Path, path: str, rows: Any) -> Iterator[str]:
    if file.suffix != ".parquet":
        return
    try:
        found = pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError) as error:
        yield _violation("part_unreadable", f"{path}: {error}")
        return
    if rows != found:
        yield _violation("file_rows", f"{path}: {rows}, found {found}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- tables: files, schemas, rows -------------------------------------------------------------------------------------


def _check_table(run: Published, table: str) -> Iterator[str]:
    folder = run.folder / table
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    parts = [entry for entry in entries if entry.is_file() and fnmatch(entry.name, "part-*.parquet")]
    if not parts and (table in REQUIRED_TABLES or folder.exists()):
        yield _violation("table_missing", table)
    for entry in entries:
        if entry not in parts:
            yield _violation("part_name", f"{table}/{entry.name}")
    footers: dict[Path, pq.FileMetaData] = {}
    for part in parts:
        try:
            footers[part] = pq.read_metadata(part)
        except (pa.ArrowException, OSError):
            yield _violation("part_unreadable", f"{table}/{part.name}")
    if footers and len(footers) == len(parts):
        run.footers[table] = footers
        yield from _check_readable_table(run, table)


def _check_readable_table(run: Published, table: str) -> Iterator[str]:
    footers = run.footers[table]
    yield from _check_sizes(list(footers), run.smallest_part_bytes)
    for part, footer in footers.items():
        yield from _check_part(run, f"{table}/{part.name}", footer)
    yield from _check_readers(run, table)
    misfits = [misfit for part, footer in footers.items() for misfit in _check_schema(run, table, part, footer)]
    yield from misfits
    if not misfits:  # rows are only worth reading where the columns are the contract's
        _load_table(run.con, table, list(footers))
        yield from _check_nulls(run, table)
        yield from _check_rows(run, table)
        if table == "recommendations":
            yield from _check_sources(run)
        if table.endswith("_embeddings"):
            yield from _check_vectors(table, list(footers))


def _check_sizes(parts: list[Path], smallest: int) -> Iterator[str]:
    sizes = {part: part.stat().st_size for part in parts}
    for part, size in sizes.items():
        if size > LARGEST_FILE_BYTES:
            yield _violation("part_too_large", f"{part.parent.name}/{part.name}: {size} bytes")
    small = [f"{part.parent.name}/{part.name}" for part in parts[:-1] if sizes[part] < smallest]
    if small:
        yield _violation("part_too_small", f"{len(small)} of {len(parts)} parts, e.g. {small[0]}")


def _check_part(run: Published, name: str, footer: pq.FileMetaData) -> Iterator[str]:
    metadata = {key.decode(): value.decode(errors="replace") for key, value in (footer.metadata or {}).items()}
    expected = {
        "schema_version": str(_look_up("manifest.schema_version", run.manifest)),
        "run_id": _look_up("pointer.run_id", run.pointer),
        "run_date": _look_up("pointer.run_date", run.pointer),
    }
    for key, value in expected.items():
        found = _look_up(f"metadata.{key}", metadata)
        if found != value:
            yield _violation("part_metadata", f"{name}: {key} is {found!r}, expected {value!r}")
    if _look_up("metadata.models", metadata) in (None, "", "[]", "{}", "null", '""'):
        yield _violation("part_metadata", f"{name}: no {' or '.join(SPELLINGS['metadata.models'])}")
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    codecs = {group.column(index).compression for group in groups for index in range(group.num_columns)}
    if codecs - {"ZSTD"}:
        yield _violation("part_compression", f"{name}: {', '.join(sorted(codecs))}")


def _check_row_groups(footers: Mapping[Path, pq.FileMetaData]) -> Iterator[str]:
    """Statistics of user_id, row group by row group through all parts: each begins where the one before has ended.

    A user's rows may run on into the next group: the ends may be equal.
    """
    end: Any = None
    for part, footer in footers.items():
        for index in range(footer.num_row_groups):
            name, group = f"{part.name}, row group {index}", footer.row_group(index)
            if group.num_rows > LARGEST_ROW_GROUP:
                yield _violation("row_group_size", f"{name}: {group.num_rows} rows")
            statistics = _user_statistics(group)
            if statistics is None:
                yield _violation("row_group_statistics", name)
                continue
            if end is not None and statistics[0] < end:
                yield _violation("row_group_overlap", f"{name} begins at {statistics[0]!r}, before {end!r}")
            end = statistics[1]


def _user_statistics(group: pq.RowGroupMetaData) -> tuple[Any, Any] | None:
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema == "user_id" and column.statistics is not None and column.statistics.has_min_max:
            return column.statistics.min, column.statistics.max
    return None


def _check_readers(run: Published, table: str) -> Iterator[str]:
    """Open the folder as other teams do, by the symlink: from run_date= in a path DuckDB would make columns."""
    folder = run.store / "published" / "current" / table
    if not folder.is_dir():
        return  # pointer_current has said so
    glob = str(folder / "part-*.parquet").replace("'", "''")
    readers: dict[str, Callable[[], tuple[int, list[str]]]] = {
        "pandas": lambda: _shape_of_pandas(pd.read_parquet(folder)),
        "Polars": lambda: _shape_of_polars(pl.scan_parquet(folder)),
        "DuckDB": lambda: _shape_of_duckdb(run.con, glob),
    }
    parts = run.footers[table].values()
    expected = (sum(footer.num_rows for footer in parts), next(iter(parts)).schema.to_arrow_schema().names)
    for reader, shape in readers.items():
        try:
            found = shape()
        except Exception as error:  # whatever a reader raises, the folder cannot be read as it stands
            yield _violation("readers", f"{table}, {reader}: {type(error).__name__}: {str(error)[:200]}")
            continue
        if found != expected:
            yield _violation("readers", f"{table}, {reader}: {found}, expected {expected}")


def _shape_of_pandas(frame: pd.DataFrame) -> tuple[int, list[str]]:
    return len(frame), [str(name) for name in frame.columns]


def _shape_of_polars(frame: pl.LazyFrame) -> tuple[int, list[str]]:
    return frame.collect().height, frame.collect_schema().names()


def _shape_of_duckdb(con: duckdb.DuckDBPyConnection, glob: str) -> tuple[int, list[str]]:
    columns = [row["column_name"] for row in _query(con, f"DESCRIBE FROM read_parquet('{glob}')")]
    return _query(con, f"SELECT count(*) AS rows FROM read_parquet('{glob}')")[0]["rows"], columns


def _columns(run: Published, table: str) -> list[Column]:
    """The columns of a table in the contract's order; for quarantine and embeddings those that must be among them."""
    user, item = (_id_column(name, run.id_types[name]) for name in ("user_id", "item_id"))
    rank = Column("rank", pa.types.is_int32, "int32")
    tables = {
        "recommendations": [
            user,
            rank,
            item,
            Column("score", pa.types.is_float32, "float32", nullable=True),
            Column("predicted_rating", pa.types.is_float32, "float32", nullable=True),
            Column("source", pa.types.is_string, "string"),
            Column("because_item_id", item.fits, item.words, nullable=True),
        ],
        "popular_items": [
            rank,
            item,
            Column("ratings", pa.types.is_integer, "an integer type"),
            Column("mean_rating", pa.types.is_floating, "a floating type"),
        ],
        "similar_items": [
            item,
            rank,
            Column("similar_item_id", item.fits, item.words),
            Column("similarity", pa.types.is_floating, "a floating type"),
        ],
        "quarantine": [
            Column("file", pa.types.is_string, "string"),
            Column("line", lambda found: pa.types.is_string(found) or pa.types.is_integer(found), "string or integer"),
            Column("reason", pa.types.is_string, "string"),
        ],
        "item_embeddings": [item],
        "user_embeddings": [user],
    }
    return tables[table]


def _id_column(name: str, input_type: str) -> Column:
    if input_type == "BIGINT":
        return Column(name, pa.types.is_int64, "int64, as in the input")
    return Column(name, pa.types.is_string, "string, as in the input")


def _check_schema(run: Published, table: str, part: Path, footer: pq.FileMetaData) -> Iterator[str]:
    schema: pa.Schema = footer.schema.to_arrow_schema()
    name, columns = f"{table}/{part.name}", _columns(run, table)
    expected = [column.name for column in columns]
    open_ended = table == "quarantine" or table.endswith("_embeddings")
    found = [column for column in schema.names if column in expected] if open_ended else schema.names
    if sorted(found) != sorted(expected) if open_ended else found != expected:
        yield _violation("columns", f"{name}: {schema.names}, expected {expected}")
    for column in columns:
        if column.name in schema.names and not column.fits(schema.field(column.name).type):
            yield _violation("types", f"{name}: {column.name} is {schema.field(column.name).type}, not {column.words}")
    if table == "quarantine":
        yield from _check_text(name, schema, set(expected))
    if table.endswith("_embeddings") and not any(_is_vector(each.type) for each in schema):
        yield _violation("types", f"{name}: no column of floating values")


def _check_text(name: str, schema: pa.Schema, known: set[str]) -> Iterator[str]:
    for column in schema:
        if column.name not in known and not pa.types.is_string(column.type):
            yield _violation("types", f"{name}: {column.name} is {column.type}, not text")


def _check_nulls(run: Published, table: str) -> Iterator[str]:
    if table == "quarantine":  # a rule of its own says more there
        return
    names = [column.name for column in _columns(run, table) if not column.nullable]
    counts = ", ".join(f"count(*) - count({name}) AS {name}" for name in names)
    wrong = {name: count for name, count in _query(run.con, f"SELECT {counts} FROM {table}")[0].items() if count}
    if wrong:
        yield _violation("nulls", f"{table}: {wrong}")


def _check_rows(run: Published, table: str) -> Iterator[str]:
    if table == "recommendations":
        run.con.execute(RECOMMENDATION_VIEWS)
    parameters = {"sources": list(SOURCES), "tolerance": MEAN_TOLERANCE}
    for rule, sql in ROW_RULES[table].items():
        used = {name: value for name, value in parameters.items() if f"${name}" in sql}
        wrong = _query(run.con, sql, used)
        if wrong:
            yield _violation(rule, f"{table}, {len(wrong)} found, e.g. {'; '.join(map(str, wrong[:SAMPLE]))}")


def _check_sources(run: Published) -> Iterator[str]:
    counts = _query(run.con, "SELECT source, count(*) AS rows FROM recommendations GROUP BY source")
    found = {row["source"]: row["rows"] for row in counts}
    named = _look_up("manifest.sources", run.manifest)
    if named is None:
        return  # manifest_keys has said so
    told = {source: count for source, count in named.items() if count} if isinstance(named, Mapping) else named
    if told != found:
        yield _violation("manifest_sources", f"{named}, found {found}")


def _is_vector(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return bool(pa.types.is_floating(kind.value_type if any(is_list(kind) for is_list in lists) else kind))


def _check_vectors(table: str, parts: Iterable[Path]) -> Iterator[str]:
    rows = pa.concat_tables([pq.read_table(part, partitioning=None) for part in parts])
    for column in (each.name for each in rows.schema if _is_vector(each.type)):
        values = rows[column].combine_chunks()
        if not pa.types.is_floating(values.type):
            if len(pc.unique(pc.list_value_length(values))) > 1:
                yield _violation("embedding_finite", f"{table}: {column} has vectors of several lengths")
            values = pc.list_flatten(values)
        finite = pc.sum(pc.is_finite(values)).as_py() or 0
        if finite != len(values) or rows[column].null_count:
            yield _violation("embedding_finite", f"{table}: {column} has {len(values) - finite} values not finite")


# --- loading into DuckDB ----------------------------------------------------------------------------------------------


def _load_input(con: duckdb.DuckDBPyConnection, ratings: Any, seen_extra: Any, n: int) -> dict[str, str]:
    """Make the tables ratings, extra, seen, items (with popularity, from 1) and expected_rows; return types of ids."""
    _register(con, "given", ratings)
    given = {row["column_name"]: row["column_type"] for row in _query(con, "DESCRIBE given")}
    ids = {name: "BIGINT" if "INT" in given[name] else "VARCHAR" for name in ("user_id", "item_id")}
    casts = ", ".join(f"{name}::{kind} AS {name}" for name, kind in ids.items())
    con.execute(f"CREATE TABLE ratings AS SELECT {casts}, rating::DOUBLE AS rating FROM given")
    pairs = [] if seen_extra is None else seen_extra
    if isinstance(pairs, list | tuple | set | frozenset):
        pairs = pd.DataFrame(sorted(pairs), columns=["user_id", "item_id"])
    _register(con, "given_extra", pairs)
    con.execute(f"CREATE TABLE extra AS SELECT {casts} FROM given_extra")
    con.execute(INPUT_VIEWS)
    con.execute(EXPECTED_ROWS, {"n": n})
    return ids


def _register(con: duckdb.DuckDBPyConnection, name: str, table: Any) -> None:
    if isinstance(table, str | Path):
        relation = con.read_parquet(str(table)) if str(table).endswith(".parquet") else con.read_csv(str(table))
        relation.create_view(name)
    else:
        con.register(name, table)


def _query(con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    cursor = con.execute(sql, parameters) if parameters else con.execute(sql)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _load_table(con: duckdb.DuckDBPyConnection, table: str, parts: list[Path]) -> None:
    """Read a table with the position of each row through its parts, in the order of their names."""
    con.execute(
        f"""CREATE TABLE {table} AS
            SELECT * EXCLUDE (filename, file_row_number),
                   row_number() OVER (ORDER BY filename, file_row_number) AS position
            FROM read_parquet($parts, hive_partitioning = false, filename = true, file_row_number = true)""",
        {"parts": [str(part) for part in parts]},
    )
