"""The stage `score`: write the tables of a run."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys import tables
from recsys.models.base import Ranker, Rater
from recsys.parquet import ROW_GROUP_ROWS, write_parts
from recsys.prepare.prepared import Prepared
from recsys.prepare.training_set import TrainingSet, by_popularity
from recsys.run import Run
from recsys.score.lists import Scorer, to_table
from recsys.score.neighbours import embedding_tables, similar_table
from recsys.store import sealed_stage
from recsys.train.stage import fitted_on_all, load_ranker, load_rater

log = logging.getLogger("recsys")


def table_metadata(run: Run) -> dict[str, str]:
    """Key-value metadata of every published file."""
    return {
        "schema_version": tables.SCHEMA_VERSION,
        "run_id": run.run_id,
        "run_date": run.run_date.isoformat(),
        "ranker": run.config.train.ranker,
        "rater": run.config.train.rater,
        "id_map_sha256": run.prepared.ids.sha256,
    }


def score(run: Run) -> int:
    """Write the tables, each once; returns the rows of the recommendations."""
    prepared, training_set = run.prepared, run.prepared.published_set(run.config.train.refit)
    ranker, rater = load_ranker(fitted_on_all(run, "ranker"), run), load_rater(fitted_on_all(run, "rater"), run)
    _write(run, "popular_items", popular_table(training_set, prepared))
    _write(run, "quarantine", prepared.quarantine().cast(tables.QUARANTINE))
    similar = ranker.similar(run.config.score.top_n, run.config.compute)
    if similar is not None:
        _write(run, "similar_items", similar_table(similar, ranker.items, prepared.ids))
    model = ranker if ranker.embeddings() is not None else rater
    for name, table in embedding_tables(model, prepared.ids).items():
        _write(run, name, table)
    return _write_recommendations(run, training_set, ranker, rater)


def popular_table(training_set: TrainingSet, prepared: Prepared) -> pa.Table:
    """All items with a rating, by (ratings descending, item_id ascending)."""
    counts = training_set.item_counts
    order = by_popularity(counts)[: np.count_nonzero(counts)]
    ids = prepared.ids.item_ids
    columns = [
        pa.array(np.arange(1, len(order) + 1, dtype=np.int32)),
        ids.take(pa.array(order)),
        pa.array(counts[order].astype(np.int64)),
        pa.array(training_set.item_sums[order] / counts[order]),
    ]
    return pa.Table.from_arrays(columns, schema=tables.popular_items(ids.type))


def served_users(prepared: Prepared) -> NDArray[np.int32]:
    """user_index of every user of the input, ascending; a given hold-out alone makes nobody a user."""
    return np.flatnonzero(prepared.array("served")).astype(np.int32)


def _write_recommendations(run: Run, training_set: TrainingSet, ranker: Ranker, rater: Rater) -> int:
    prepared = run.prepared
    with sealed_stage(run.folder / "recommendations", run.record("score")) as folder:
        if folder is not None:
            n, ids, users = run.config.score.top_n, prepared.ids, served_users(prepared)
            scorer = Scorer(training_set, prepared.seen("all"), ranker, rater, prepared.scale, n, run.config.compute)
            write_parts(
                folder,
                tables.recommendations(ids.user_ids.type, ids.item_ids.type),
                (to_table(block, ids) for block in scorer.blocks(users)),
                total_rows=len(users) * n,
                metadata=table_metadata(run),
            )
    rows = sum(pq.read_metadata(part).num_rows for part in (run.folder / "recommendations").glob("part-*"))
    log.info("score: %s rows of recommendations", f"{rows:,}")
    return rows


def _write(run: Run, name: str, table: pa.Table) -> None:
    with sealed_stage(run.folder / name, run.record(f"write_{name}")) as folder:
        if folder is not None:
            slices = (table.slice(start, ROW_GROUP_ROWS) for start in range(0, table.num_rows, ROW_GROUP_ROWS))
            write_parts(folder, table.schema, slices, total_rows=table.num_rows, metadata=table_metadata(run))
