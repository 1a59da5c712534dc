"""Shows that the checker accepts a correct store, and that each of its rules can fail."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RUN_DATE, RUN_ID = "2024-05-06", "0a1b2c3d"
N = 3
Row = dict[str, Any]
Check = Callable[..., list[str]]

# Popularity is 10 (3 ratings), 20 and 30 (2 each), 40, 50, 60: ties by id. User 3 has a single candidate, 60.
RATINGS = [
    *[(1, 10, 5.0), (1, 20, 3.0), (2, 10, 4.0), (2, 30, 2.0)],
    *[(3, 10, 1.5), (3, 20, 5.0), (3, 30, 4.0), (3, 40, 3.0), (3, 50, 2.0), (4, 60, 3.0)],
]
RECOMMENDATIONS = [
    (1, 1, 40, 0.9, 4.0, "model", 10),
    (1, 2, 50, 0.5, 3.0, "model", 20),
    (1, 3, 30, None, 3.5, "popular", None),
    (2, 1, 20, 0.7, None, "fold_in", None),
    (2, 2, 40, 0.7, 1.5, "fold_in", 30),
    (2, 3, 50, 0.2, 5.0, "fold_in", 30),
    (3, 1, 60, 0.1, None, "model", 50),
    (4, 1, 10, None, 3.5, "popular", None),
    (4, 2, 20, None, 4.0, "popular", None),
    (4, 3, 30, None, None, "popular", None),
]
POPULAR = [(1, 10, 3, 3.5), (2, 20, 2, 4.0), (3, 30, 2, 3.0), (4, 40, 1, 3.0), (5, 50, 1, 2.0), (6, 60, 1, 3.0)]
SIMILAR = [(10, 1, 20, 0.9), (10, 2, 30, 0.4), (10, 3, 40, 0.4), (20, 1, 10, 0.9)]
QUARANTINE = [("7", "10", "nine", "", "ratings.csv", "12", "rating: not a number")]

ID_COLUMNS = ("user_id", "item_id", "because_item_id", "similar_item_id")
SCHEMAS = {
    "recommendations": pa.schema(
        [
            ("user_id", pa.int64()),
            ("rank", pa.int32()),
            ("item_id", pa.int64()),
            ("score", pa.float32()),
            ("predicted_rating", pa.float32()),
            ("source", pa.string()),
            ("because_item_id", pa.int64()),
        ]
    ),
    "popular_items": pa.schema(
        [("rank", pa.int32()), ("item_id", pa.int64()), ("ratings", pa.int64()), ("mean_rating", pa.float32())]
    ),
    "similar_items": pa.schema(
        [("item_id", pa.int64()), ("rank", pa.int32()), ("similar_item_id", pa.int64()), ("similarity", pa.float32())]
    ),
    "quarantine": pa.schema(
        [(name, pa.string()) for name in ("user_id", "item_id", "rating", "timestamp", "file", "line", "reason")]
    ),
    "item_embeddings": pa.schema([("item_id", pa.int64()), ("embedding", pa.list_(pa.float32()))]),
    "user_embeddings": pa.schema([("user_id", pa.int64()), ("embedding", pa.list_(pa.float32()))]),
}


def ratings_frame() -> pd.DataFrame:
    return pd.DataFrame(RATINGS, columns=["user_id", "item_id", "rating"])


def correct_rows() -> dict[str, list[Row]]:
    tuples: dict[str, list[tuple[Any, ...]]] = {
        "recommendations": [*RECOMMENDATIONS],
        "popular_items": [*POPULAR],
        "similar_items": [*SIMILAR],
        "quarantine": [*QUARANTINE],
        "item_embeddings": [(item, [0.5, float(item)]) for item in (10, 20, 30)],
        "user_embeddings": [(user, [1.0, -float(user)]) for user in (1, 2, 3)],
    }
    return {name: [dict(zip(SCHEMAS[name].names, row, strict=True)) for row in rows] for name, rows in tuples.items()}


@dataclass
class Draft:
    """A correct store, on its way to disk: a mutation changes one thing in it, or adds a step for after writing."""

    store: Path
    rows: dict[str, list[Row]] = field(default_factory=correct_rows)
    schemas: dict[str, pa.Schema] = field(default_factory=lambda: dict(SCHEMAS))
    row_group_size: int = 4
    part_size: int = 1000
    compression: str = "zstd"
    statistics: bool = True
    metadata: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    pointer: dict[str, Any] = field(default_factory=dict)
    after: list[Callable[[Draft], object]] = field(default_factory=list)
    before_manifest: list[Callable[[Draft], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = f"runs/run_date={RUN_DATE}/run_id={RUN_ID}"
        self.pointer |= {"run_date": RUN_DATE, "run_id": RUN_ID, "path": path}
        self.metadata |= {"schema_version": "1", "run_id": RUN_ID, "run_date": RUN_DATE, "models": '["ease"]'}
        self.folder = self.store / path
        self.current = self.store / "published" / "current"
        self.part = self.folder / "recommendations" / "part-00000.parquet"

    def row(self, user: int, rank: int) -> Row:
        rows = self.rows["recommendations"]
        return next(row for row in rows if (row["user_id"], row["rank"]) == (user, rank))

    def write(self) -> None:
        for table in self.rows:
            self.write_table(table)
        self.write_text("evaluation.json", '{"rmse": 0.9}')
        self.write_text("report/index.html", "<html></html>")
        self.write_text("prepared/ids.json", "{}")
        self.write_text("model/weights.bin", "w")
        run_all(self.before_manifest, self)
        self.write_text("manifest.json", json.dumps(self.full_manifest()))
        self.write_pointer()
        run_all(self.after, self)

    def write_table(self, table: str) -> None:
        schema = self.schemas[table].with_metadata(self.metadata)
        rows = self.rows[table]
        for number, start in enumerate(range(0, len(rows), self.part_size)):
            chosen = pa.Table.from_pylist(rows[start : start + self.part_size], schema=schema)
            path = self.folder / table / f"part-{number:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                chosen,
                path,
                compression=self.compression,
                row_group_size=self.row_group_size,
                write_statistics=self.statistics,
            )

    def write_text(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def write_pointer(self) -> None:
        self.current.parent.mkdir(parents=True)
        (self.current.parent / "CURRENT.json").write_text(json.dumps(self.pointer))
        self.current.symlink_to(Path("..") / self.folder.relative_to(self.store))

    def full_manifest(self) -> dict[str, Any]:
        sources = [row["source"] for row in self.rows["recommendations"]]
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {
            "schema_version": 1,
            "run_id": RUN_ID,
            "run_date": RUN_DATE,
            "files": [file_entry(self.folder, path) for path in files],
            "input": {"fingerprint": "sha256:abc", "origin": "file:///ratings.csv"},
            "config": {"ranker": "ease"},
            "versions": {"numpy": "2"},
            "seed": 0,
            "metrics": {"rmse": 0.9},
            "gate": {"verdict": "passed", "reasons": []},
            "sources": {source: sources.count(source) for source in ("model", "fold_in", "popular")},
            "timings": {"train": 1.5, "score": 0.2},
        } | self.manifest


def file_entry(folder: Path, path: Path) -> dict[str, Any]:
    try:
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    except pa.ArrowInvalid:
        rows = 0
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "rows": rows, "bytes": len(content), "sha256": digest}


def run_all(steps: list[Callable[[Draft], object]], draft: Draft) -> None:
    for step in steps:
        step(draft)


# --- mutations: each takes a correct draft and breaks one thing -------------------------------------------------------

Mutation = Callable[[Draft], object]


def rec(user: int, at: int, /, **changes: Any) -> Mutation:
    """Change cells of one recommendation."""
    return lambda draft: draft.row(user, at).update(changes)


def cell(table: str, index: int, **changes: Any) -> Mutation:
    return lambda draft: draft.rows[table][index].update(changes)


def add(table: str, *values: Any) -> Mutation:
    return lambda draft: draft.rows[table].append(dict(zip(draft.schemas[table].names, values, strict=True)))


def drop(table: str, index: int) -> Mutation:
    return lambda draft: draft.rows[table].__delitem__(index)


def chain(*mutations: Mutation) -> Mutation:
    return lambda draft: [mutation(draft) for mutation in mutations]


def swap_items(user: int, one: int, other: int) -> Mutation:
    """Exchange the items of two ranks of a user."""

    def swap(draft: Draft) -> None:
        left, right = draft.row(user, one), draft.row(user, other)
        left["item_id"], right["item_id"] = right["item_id"], left["item_id"]

    return swap


def swap_rows(table: str, one: int, other: int) -> Mutation:
    def swap(draft: Draft) -> None:
        rows = draft.rows[table]
        rows[one], rows[other] = rows[other], rows[one]

    return swap


def retype(table: str, column: str, kind: pa.DataType) -> Mutation:
    def change(draft: Draft) -> None:
        schema = draft.schemas[table]
        draft.schemas[table] = schema.set(schema.get_field_index(column), pa.field(column, kind))

    return change


def reorder(table: str, *names: str) -> Mutation:
    def change(draft: Draft) -> None:
        draft.schemas[table] = pa.schema([draft.schemas[table].field(name) for name in names])

    return change


def put(**values: Any) -> Mutation:
    """Set fields of the draft itself: how files are written."""
    return lambda draft: draft.__dict__.update(values)


def manifest(**values: Any) -> Mutation:
    return lambda draft: draft.manifest.update(values)


def pointer(**values: Any) -> Mutation:
    return lambda draft: draft.pointer.update(values)


def metadata(**values: str) -> Mutation:
    return lambda draft: draft.metadata.update(values)


def after(step: Mutation) -> Mutation:
    """Do something to the written store, behind the manifest's back."""
    return lambda draft: draft.after.append(step)


def before_manifest(step: Mutation) -> Mutation:
    """Do something to the run's folder that the manifest then takes account of."""
    return lambda draft: draft.before_manifest.append(step)


def edit_entry(path: str, **values: Any) -> Mutation:
    """Change the manifest's words on one file."""

    def change(draft: Draft) -> None:
        told = json.loads((draft.folder / "manifest.json").read_text())
        next(entry for entry in told["files"] if entry["path"] == path).update(values)
        draft.write_text("manifest.json", json.dumps(told))

    return after(change)


def name_twice(draft: Draft) -> None:
    told = json.loads((draft.folder / "manifest.json").read_text())
    draft.write_text("manifest.json", json.dumps(told | {"files": [*told["files"], told["files"][0]]}))


def name_outsider(draft: Draft) -> None:
    told = json.loads((draft.folder / "manifest.json").read_text())
    outsider = {"path": "../../../published/CURRENT.json", "rows": None, "bytes": 1, "sha256": "0"}
    draft.write_text("manifest.json", json.dumps(told | {"files": [*told["files"], outsider]}))


def flip_last_byte(draft: Draft) -> None:
    page = draft.folder / "report" / "index.html"
    page.write_bytes(page.read_bytes()[:-1] + b"!")


def copy_current(draft: Draft) -> None:
    draft.current.unlink()
    draft.current.mkdir()


def point_current_elsewhere(draft: Draft) -> None:
    draft.current.unlink()
    draft.current.symlink_to(draft.store / "runs")


def move_run(draft: Draft) -> None:
    moved = draft.store / "runs" / "elsewhere"
    draft.folder.rename(moved)
    draft.current.unlink()
    draft.current.symlink_to(moved)
    (draft.store / "published" / "CURRENT.json").write_text(json.dumps(draft.pointer | {"path": "runs/elsewhere"}))


def remove_table(table: str) -> Mutation:
    return lambda draft: draft.rows.pop(table)


def empty_table(draft: Draft) -> None:
    draft.rows.pop("similar_items")
    (draft.folder / "similar_items").mkdir(parents=True)


def swap_parts(draft: Draft) -> None:
    """Exchange the content of two parts: each stays sorted, the folder does not."""
    first, second = draft.part, draft.part.with_name("part-00001.parquet")
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])


def uncompress_one(draft: Draft) -> None:
    pq.write_table(pq.read_table(draft.part, partitioning=None), draft.part, compression="snappy", row_group_size=4)


def write_other_schema(draft: Draft) -> None:
    """A second part of popular_items with another type in a column: readers of the folder stumble."""
    part = draft.folder / "popular_items" / "part-00000.parquet"
    whole = pq.read_table(part, partitioning=None)
    texts = whole.slice(3).set_column(3, "mean_rating", whole["mean_rating"].slice(3).cast(pa.string()))
    for name, table in (("part-00000.parquet", whole.slice(0, 3)), ("part-00001.parquet", texts)):
        pq.write_table(table, part.with_name(name), compression="zstd")


NAN, INFINITE = math.nan, math.inf
GATE = {"verdict": "passed", "reasons": []}
ORDER = SCHEMAS["recommendations"].names

# (rule, mutation, other rules that the same mutation must break)
MUTATIONS: list[tuple[str, Mutation, set[str]]] = [
    ("pointer", after(lambda d: (d.store / "published" / "CURRENT.json").unlink()), set()),
    ("pointer", pointer(run_id=None), set()),
    ("pointer", pointer(run_date="yesterday"), set()),
    ("pointer_folder", after(move_run), set()),
    ("pointer_folder", pointer(path="runs/nowhere"), {"pointer_current", "manifest"}),
    ("pointer_current", after(copy_current), set()),
    ("pointer_current", after(point_current_elsewhere), set()),
    ("run_complete", before_manifest(lambda d: shutil.rmtree(d.folder / "prepared")), set()),
    ("evaluation_json", before_manifest(lambda d: d.write_text("evaluation.json", '{"rmse": NaN}')), set()),
    ("manifest", after(lambda d: d.write_text("manifest.json", '{"schema_version": 1')), set()),
    ("manifest", after(lambda d: (d.folder / "manifest.json").unlink()), set()),
    ("manifest_keys", manifest(versions={}), set()),
    ("manifest_keys", manifest(config=None), set()),
    ("manifest_keys", manifest(seed=None), set()),
    ("manifest_keys", manifest(seed="zero"), set()),
    ("manifest_keys", manifest(metrics={}), set()),
    ("manifest_keys", manifest(sources=None), set()),
    ("manifest_keys", manifest(timings={}), set()),
    ("manifest_keys", manifest(input={"fingerprint": "abc"}), set()),
    ("manifest_keys", manifest(input={"origin": "abc"}), set()),
    ("manifest_keys", manifest(gate={"reasons": []}), set()),
    ("manifest_keys", manifest(schema_version=None), {"part_metadata"}),
    ("manifest_keys", manifest(files=[]), {"file_unnamed"}),
    ("manifest_identity", manifest(run_id="another"), set()),
    ("manifest_identity", manifest(run_date="2024-05-05"), set()),
    ("manifest_gate", manifest(gate={"verdict": "refused", "reasons": ["rmse"]}), set()),
    ("manifest_gate", manifest(gate={"verdict": "passed", "reasons": "none"}), set()),
    ("manifest_timings", manifest(timings={"train": -1}), set()),
    ("manifest_timings", manifest(timings={"train": "long"}), set()),
    ("manifest_sources", manifest(sources={"model": 9, "fold_in": 3, "popular": 4}), set()),
    ("manifest_sources", manifest(sources={"model": 3, "popular": 4}), set()),
    ("file_entry", after(name_twice), set()),
    ("file_entry", after(name_outsider), set()),
    ("file_entry", edit_entry("evaluation.json", sha256=None), set()),
    ("file_entry", edit_entry("popular_items/part-00000.parquet", rows=None), set()),
    ("file_missing", after(lambda d: (d.folder / "model" / "weights.bin").unlink()), set()),
    ("file_missing", after(lambda d: (d.folder / "popular_items" / "part-00000.parquet").unlink()), {"table_missing"}),
    ("file_unnamed", after(lambda d: d.write_text("model/more.bin", "w")), set()),
    ("file_bytes", edit_entry("model/weights.bin", bytes=2), set()),
    ("file_sha256", after(flip_last_byte), set()),
    ("file_rows", edit_entry("popular_items/part-00000.parquet", rows=7), set()),
    ("table_missing", remove_table("popular_items"), set()),
    ("table_missing", empty_table, set()),
    ("part_name", before_manifest(lambda d: d.part.rename(d.part.with_name("data.parquet"))), {"table_missing"}),
    ("part_name", before_manifest(lambda d: (d.part.parent / "_SUCCESS").touch()), set()),
    ("part_unreadable", before_manifest(lambda d: d.part.write_bytes(b"PAR1PAR1")), set()),
    ("part_metadata", metadata(run_id="another"), set()),
    ("part_metadata", metadata(run_date="2024-05-05"), set()),
    ("part_metadata", metadata(schema_version="2"), set()),
    ("part_metadata", metadata(models=""), set()),
    ("part_compression", put(compression="snappy"), set()),
    ("part_compression", before_manifest(uncompress_one), set()),
    ("part_too_small", put(part_size=6), set()),
    ("row_group_statistics", put(statistics=False), set()),
    ("row_group_overlap", chain(put(part_size=6), before_manifest(swap_parts)), {"rec_sorted", "part_too_small"}),
    ("columns", reorder("recommendations", *ORDER[1:], ORDER[0]), set()),
    ("columns", reorder("recommendations", *ORDER[:-1]), set()),
    ("columns", reorder("quarantine", "user_id", "file", "line"), set()),
    ("columns", reorder("similar_items", "rank", "item_id", "similar_item_id", "similarity"), set()),
    ("columns", reorder("popular_items", "item_id", "rank", "ratings", "mean_rating"), set()),
    ("columns", reorder("item_embeddings", "embedding"), set()),
    ("types", retype("recommendations", "rank", pa.int64()), set()),
    ("types", retype("recommendations", "user_id", pa.int32()), set()),
    ("types", retype("recommendations", "item_id", pa.int32()), set()),
    ("types", retype("recommendations", "score", pa.float64()), set()),
    ("types", retype("recommendations", "predicted_rating", pa.float64()), set()),
    ("types", retype("recommendations", "source", pa.dictionary(pa.int32(), pa.string())), set()),
    ("types", retype("recommendations", "because_item_id", pa.float64()), set()),
    ("types", retype("similar_items", "similar_item_id", pa.int32()), set()),
    ("types", retype("popular_items", "ratings", pa.float64()), set()),
    ("types", chain(retype("quarantine", "user_id", pa.int64()), cell("quarantine", 0, user_id=7)), set()),
    ("types", reorder("user_embeddings", "user_id"), set()),
    ("nulls", rec(1, 1, source=None), {"manifest_sources"}),
    ("nulls", cell("popular_items", 0, mean_rating=None), set()),
    ("nulls", cell("similar_items", 0, similarity=None), set()),
    ("readers", before_manifest(write_other_schema), {"types", "part_too_small"}),
    ("rec_sorted", swap_rows("recommendations", 0, 1), set()),
    ("rec_rank", rec(1, 3, rank=4), set()),
    ("rec_rank", rec(3, 1, rank=0), set()),
    ("rec_rank", rec(1, 2, rank=1), set()),
    ("rec_rated", rec(2, 1, item_id=10), set()),
    ("rec_twice", rec(1, 2, item_id=40), set()),
    ("rec_unknown_item", rec(2, 3, item_id=70), set()),
    ("rec_unknown_user", add("recommendations", 5, 1, 10, 0.1, None, "model", None), set()),
    ("rec_row_count", drop("recommendations", 2), set()),
    ("rec_row_count", drop("recommendations", 6), set()),
    ("rec_row_count", add("recommendations", 4, 4, 40, None, None, "popular", None), set()),
    ("rec_source", rec(1, 1, source="magic"), {"manifest_sources"}),
    ("rec_score_null", rec(1, 1, score=None), set()),
    ("rec_score_finite", rec(2, 3, score=NAN), set()),
    ("rec_score_finite", rec(2, 1, score=INFINITE), set()),
    ("rec_score_rises", rec(2, 3, score=0.8), set()),
    ("rec_score_ties", swap_items(2, 1, 2), set()),
    ("rec_popular_score", rec(1, 3, score=0.1), set()),
    (
        "rec_popular_last",
        chain(rec(1, 1, source="popular", score=None, because_item_id=None), rec(1, 3, source="model", score=0.1)),
        set(),
    ),
    ("rec_popular_order", swap_items(4, 1, 2), set()),
    ("rec_popular_order", swap_items(4, 2, 3), set()),
    ("rec_popular_head", rec(1, 3, item_id=60), set()),
    ("rec_predicted_range", rec(1, 1, predicted_rating=5.1), set()),
    ("rec_predicted_range", rec(1, 1, predicted_rating=1.4), set()),
    ("rec_predicted_range", rec(1, 1, predicted_rating=NAN), set()),
    ("rec_because_seen", rec(1, 1, because_item_id=30), set()),
    ("rec_because_popular", rec(1, 3, because_item_id=10), set()),
    ("popular_all", drop("popular_items", 5), set()),
    ("popular_all", add("popular_items", 7, 70, 1, 3.0), set()),
    ("popular_all", add("popular_items", 6, 60, 1, 3.0), set()),
    ("popular_ratings", cell("popular_items", 0, ratings=4), set()),
    ("popular_mean", cell("popular_items", 0, mean_rating=3.501), set()),
    ("popular_mean", cell("popular_items", 0, mean_rating=NAN), set()),
    ("popular_rank", chain(cell("popular_items", 1, rank=3), cell("popular_items", 2, rank=2)), set()),
    ("popular_rank", cell("popular_items", 0, rank=0), set()),
    ("similar_rank", cell("similar_items", 3, rank=2), set()),
    ("similar_itself", cell("similar_items", 3, similar_item_id=20), set()),
    ("similar_twice", cell("similar_items", 1, similar_item_id=20), set()),
    ("similar_unknown", cell("similar_items", 2, similar_item_id=70), set()),
    ("similar_unknown", cell("similar_items", 3, item_id=5), set()),
    ("similar_finite", cell("similar_items", 3, similarity=NAN), set()),
    ("similar_finite", cell("similar_items", 0, similarity=INFINITE), set()),
    ("similar_rises", cell("similar_items", 2, similarity=0.5), set()),
    ("similar_ties", cell("similar_items", 1, similar_item_id=50), set()),
    ("quarantine_blank", cell("quarantine", 0, reason=""), set()),
    ("quarantine_blank", cell("quarantine", 0, line=None), set()),
    ("quarantine_blank", cell("quarantine", 0, file=None), set()),
    ("embedding_unique", cell("item_embeddings", 1, item_id=10), set()),
    ("embedding_unique", cell("user_embeddings", 1, user_id=1), set()),
    ("embedding_unknown", cell("user_embeddings", 1, user_id=9), set()),
    ("embedding_unknown", cell("item_embeddings", 1, item_id=70), set()),
    ("embedding_finite", cell("item_embeddings", 1, embedding=[NAN, 0.0]), set()),
    ("embedding_finite", cell("item_embeddings", 1, embedding=[0.0, None]), set()),
    ("embedding_finite", cell("item_embeddings", 1, embedding=[0.0]), set()),
    ("embedding_finite", cell("user_embeddings", 1, embedding=None), set()),
]
OPTIONAL = ("similar_items", "quarantine", "item_embeddings", "user_embeddings")
LEAN = ("pointer", "run_", "evaluation", "manifest", "file_", "part_", "row_group", "rec_", "popular_")
RULES_WITH_A_TEST_OF_THEIR_OWN = {"rec_seen_extra", "part_too_large", "row_group_size"}


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "store")


def rules_of(violations: list[str]) -> set[str]:
    return {violation.partition(":")[0] for violation in violations}


def test_a_correct_store_has_no_violations(draft: Draft, check_published: Check) -> None:
    draft.write()
    assert check_published(draft.store, ratings_frame(), n=N) == []


@pytest.mark.parametrize(
    ("rule", "mutation", "others"),
    [pytest.param(*entry, id=f"{number}-{entry[0]}") for number, entry in enumerate(MUTATIONS)],
)
def test_each_rule_can_fail(
    rule: str, mutation: Mutation, others: set[str], draft: Draft, check_published: Check
) -> None:
    if rule.startswith(LEAN):  # other tables have no part in it, and half the time goes to them
        draft.rows = {table: rows for table, rows in draft.rows.items() if table not in OPTIONAL}
    mutation(draft)
    draft.write()
    assert rules_of(check_published(draft.store, ratings_frame(), n=N)) == {rule} | others


def test_every_rule_has_a_mutation(contract_checker: ModuleType) -> None:
    assert {rule for rule, _, _ in MUTATIONS} | RULES_WITH_A_TEST_OF_THEIR_OWN == set(contract_checker.RULES)


def test_a_violation_says_where_and_what(draft: Draft, check_published: Check) -> None:
    rec(1, 1, predicted_rating=5.5)(draft)
    draft.write()
    (violation,) = check_published(draft.store, ratings_frame(), n=N)
    assert "1 found, e.g. {'user_id': 1, 'rank': 1, 'predicted_rating': 5.5}" in violation


def test_a_refused_rating_counts_as_seen(draft: Draft, check_published: Check) -> None:
    draft.write()
    assert rules_of(check_published(draft.store, ratings_frame(), n=N, seen_extra=[(4, 10)])) == {"rec_seen_extra"}


def test_lists_without_the_refused_item_are_correct(draft: Draft, check_published: Check) -> None:
    for rank, item in ((1, 20), (2, 30), (3, 40)):
        rec(4, rank, item_id=item)(draft)
    draft.write()
    refused = pd.DataFrame({"user_id": [4, 9], "item_id": [10, 10]})
    assert check_published(draft.store, ratings_frame(), n=N, seen_extra=refused) == []
    assert rules_of(check_published(draft.store, ratings_frame(), n=N)) == {"rec_popular_head"}


def test_a_large_file_is_found(
    draft: Draft, contract_checker: ModuleType, check_published: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft.write()
    monkeypatch.setattr(contract_checker, "LARGEST_FILE_BYTES", draft.part.stat().st_size - 1)
    assert "part_too_large" in rules_of(check_published(draft.store, ratings_frame(), n=N))


def test_a_row_group_too_large_to_skip_is_found(
    draft: Draft, contract_checker: ModuleType, check_published: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft.write()
    monkeypatch.setattr(contract_checker, "LARGEST_ROW_GROUP", 3)
    assert rules_of(check_published(draft.store, ratings_frame(), n=N)) == {"row_group_size"}


def test_several_parts_are_one_table(draft: Draft, check_published: Check) -> None:
    draft.part_size = 4
    draft.write()
    assert check_published(draft.store, ratings_frame(), n=N, smallest_part_bytes=0) == []


def test_another_length_of_list_is_found(draft: Draft, check_published: Check) -> None:
    draft.write()
    assert rules_of(check_published(draft.store, ratings_frame(), n=2)) == {"rec_row_count"}


@pytest.mark.parametrize("table", OPTIONAL)
def test_tables_that_a_run_may_lack(table: str, draft: Draft, check_published: Check) -> None:
    draft.rows.pop(table)
    draft.write()
    assert check_published(draft.store, ratings_frame(), n=N) == []


def test_ids_that_are_strings(draft: Draft, check_published: Check) -> None:
    for table, rows in draft.rows.items():
        for column in set(ID_COLUMNS) & set(draft.schemas[table].names):
            retype(table, column, pa.string())(draft)
            for row in rows:
                row[column] = None if row[column] is None else str(row[column])
    draft.write()
    as_text = ratings_frame().astype({"user_id": str, "item_id": str})
    assert check_published(draft.store, as_text, n=N, seen_extra=[("9", "10")]) == []
    assert "types" in rules_of(check_published(draft.store, ratings_frame(), n=N))


def test_ratings_from_any_kind_of_table(draft: Draft, check_published: Check, tmp_path: Path) -> None:
    draft.write()
    frame = ratings_frame()
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    frame.to_parquet(tmp_path / "ratings.parquet")
    table = pa.Table.from_pandas(frame)
    for ratings in (tmp_path / "ratings.csv", str(tmp_path / "ratings.parquet"), table, pl.from_arrow(table)):
        assert check_published(draft.store, ratings, n=N) == []


def test_other_spellings_and_shapes_of_the_manifest(draft: Draft, check_published: Check) -> None:
    """Files keyed by path, timings as a list of objects, a pointer relative to published/."""
    draft.pointer["path"] = "../" + draft.pointer["path"]
    draft.manifest |= {"timings": [{"stage": "train", "seconds": 1.5}]}

    def key_by_path(written: Draft) -> None:
        told = json.loads((written.folder / "manifest.json").read_text())
        told["files"] = {entry.pop("path"): entry for entry in told["files"]}
        written.write_text("manifest.json", json.dumps(told))

    draft.after.append(key_by_path)
    draft.write()
    assert check_published(draft.store, ratings_frame(), n=N) == []


# --- readers.py: facts from the data's README, metrics by hand --------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "shape"),
    [
        ("read_ml_100k", (100_000, 943, 1_682)),
        ("read_ml_latest_small", (100_836, 610, 9_724)),
        ("read_ml_latest_small_2016", (100_004, 671, 9_066)),
        ("read_ml_1m", (1_000_209, 6_040, 3_706)),
    ],
)
def test_archives_have_the_published_sizes(reader: str, shape: tuple[int, int, int], readers: ModuleType) -> None:
    ratings: pd.DataFrame = getattr(readers, reader)()
    assert (len(ratings), ratings["user_id"].nunique(), ratings["item_id"].nunique()) == shape
    assert list(ratings.columns) == ["user_id", "item_id", "rating", "timestamp"]
    if reader == "read_ml_1m":
        assert ratings["rating"].value_counts().sort_index().tolist() == [56174, 107557, 261197, 348971, 226310]


def test_parts_of_ml_100k(readers: ModuleType) -> None:
    assert [len(readers.read_ml_100k(name)) for name in ("u1.base", "u1.test")] == [80_000, 20_000]


def test_an_absent_archive_skips_with_a_reason(
    readers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_TEST_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"ml-1m\.zip"):
        readers.read_ml_1m()
    monkeypatch.setenv("RECSYS_TEST_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.skip.Exception, match="RECSYS_TEST_DATA"):
        readers.read_ml_1m()


def test_ndcg_by_hand(readers: ModuleType) -> None:
    """User 1 hits at ranks 1 and 3 of two, user 2 has no list, user 3 hits below the cut, user 4 is not held out."""
    lists = pd.DataFrame(
        [(1, 1, 10), (1, 2, 20), (1, 3, 30), (3, 11, 10), (4, 1, 10)], columns=["user_id", "rank", "item_id"]
    )
    holdout = pd.DataFrame([(1, 10), (1, 30), (2, 10), (3, 10)], columns=["user_id", "item_id"])
    user_1 = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert readers.ndcg_at_10(lists, holdout) == pytest.approx(user_1 / 3, rel=1e-12)


def test_ideal_dcg_is_cut_at_ten(readers: ModuleType) -> None:
    lists = pd.DataFrame([(1, rank, rank) for rank in range(1, 11)], columns=["user_id", "rank", "item_id"])
    holdout = pd.DataFrame([(1, item) for item in range(1, 21)], columns=["user_id", "item_id"])
    assert readers.ndcg_at_10(lists, holdout) == pytest.approx(1.0, rel=1e-12)


def test_rmse_by_hand(readers: ModuleType) -> None:
    predictions = pd.DataFrame(
        [(1, 10, 4.0), (1, 20, 2.0), (2, 10, None)], columns=["user_id", "item_id", "predicted_rating"]
    )
    holdout = pd.DataFrame([(1, 10, 5.0), (1, 20, 2.0), (2, 10, 1.0)], columns=["user_id", "item_id", "rating"])
    assert readers.rmse(predictions, holdout) == pytest.approx(math.sqrt(0.5), rel=1e-12)
