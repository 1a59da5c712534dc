"""The published tables: names, columns, types, nullability and sort order, in one place."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

SCHEMA_VERSION = "1"

SOURCE_MODEL = "model"
SOURCE_FOLD_IN = "fold_in"
SOURCE_POPULAR = "popular"


def _field(name: str, kind: pa.DataType, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


def recommendations(user_id: pa.DataType, item_id: pa.DataType) -> pa.Schema:
    """Top-n lists, sorted by (user_id, rank)."""
    return pa.schema(
        [
            _field("user_id", user_id),
            _field("rank", pa.int32()),
            _field("item_id", item_id),
            _field("score", pa.float32(), nullable=True),
            _field("predicted_rating", pa.float32(), nullable=True),
            _field("source", pa.string()),
            _field("because_item_id", item_id, nullable=True),
        ]
    )


def popular_items(item_id: pa.DataType) -> pa.Schema:
    """All items by (ratings descending, item_id ascending)."""
    return pa.schema(
        [
            _field("rank", pa.int32()),
            _field("item_id", item_id),
            _field("ratings", pa.int64()),
            _field("mean_rating", pa.float64()),
        ]
    )


def similar_items(item_id: pa.DataType) -> pa.Schema:
    """Nearest items of each item, sorted by (item_id, rank)."""
    return pa.schema(
        [
            _field("item_id", item_id),
            _field("rank", pa.int32()),
            _field("similar_item_id", item_id),
            _field("similarity", pa.float32()),
        ]
    )


def embeddings(id_name: str, id_type: pa.DataType) -> pa.Schema:
    """Vectors of a model's own space, sorted by id; all of one length."""
    return pa.schema([_field(id_name, id_type), _field("embedding", pa.list_(_field("item", pa.float32())))])


def predictions(user_id: pa.DataType, item_id: pa.DataType) -> pa.Schema:
    """Predicted ratings of given pairs, in the order they were given; an id that cannot be one is null."""
    return pa.schema(
        [
            _field("user_id", user_id, nullable=True),
            _field("item_id", item_id, nullable=True),
            _field("predicted_rating", pa.float32(), nullable=True),
        ]
    )


def comparison(metrics: Mapping[str, bool]) -> pa.Schema:
    """Models measured on one split: rankers, then raters, each after their baseline.

    Args:
        metrics: the metrics by id, in the order of their columns, and whether they have an interval.
    """
    fields = [
        _field("role", pa.string()),  # ranker or rater
        _field("model", pa.string()),
        _field("baseline", pa.bool_()),
        _field("settings", pa.string()),  # JSON
        _field("failed", pa.string(), nullable=True),  # why there are no figures
        _field("fit_seconds", pa.float64(), nullable=True),
        _field("score_seconds", pa.float64(), nullable=True),
        _field("peak_memory_mib", pa.int64(), nullable=True),
    ]
    for name, bounded in metrics.items():
        columns = (name, f"{name}_low", f"{name}_high") if bounded else (name,)
        fields += [_field(column, pa.float64(), nullable=True) for column in columns]
    return pa.schema(fields)


QUARANTINE = pa.schema(
    [
        _field("file", pa.string()),  # name of the input file, without its folder
        _field("line", pa.int64()),  # from 1, a header counted; in Parquet the row, from 1
        _field("reason", pa.string()),
        _field("text", pa.string()),  # the row as it stood; bytes that are not UTF-8 as \xNN
    ]
)

NIGHTS = pa.schema(  # a row a run, published or refused; what is unknown is null
    [
        _field("run_date", pa.date32()),
        _field("run_id", pa.string()),
        _field("verdict", pa.string()),
        _field("dataset", pa.string()),
        _field("ratings", pa.int64()),
        _field("users", pa.int64()),
        _field("items", pa.int64()),
        _field("refused_share", pa.float64()),  # of the rows read
        *(
            _field(f"{what}_{of}", pa.int64(), nullable=True)  # since the published run
            for what in ("new", "vanished")
            for of in ("users", "items")
        ),
        _field("rating_mean", pa.float64()),
        _field("rating_psi", pa.float64(), nullable=True),  # population stability index
        *(
            _field(f"{metric}{bound}", pa.float64(), nullable=True)
            for metric in ("ndcg@10", "rmse")
            for bound in ("", "_low", "_high")
        ),
        _field("coverage@10", pa.float64(), nullable=True),
        _field("novelty@10", pa.float64(), nullable=True),
        *(_field(f"rows_{source}", pa.int64()) for source in (SOURCE_MODEL, SOURCE_FOLD_IN, SOURCE_POPULAR)),
        _field("fallback_share", pa.float64()),
        _field("list_overlap", pa.float64(), nullable=True),
        _field("list_rbo", pa.float64(), nullable=True),  # rank-biased overlap, p = 0.9
        _field("mean_popularity", pa.float64()),  # share of the users who rated the listed item, mean over the rows
        _field("seconds", pa.float64()),
        _field("peak_memory_mib", pa.int64()),
    ]
)
