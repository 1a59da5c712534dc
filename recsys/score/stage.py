"""The stage `score`: write the tables of a run."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys import tables
from recsys.compute import ahead
from recsys.identifiers import IdMap
from recsys.models.base import Model, Ranker, Rater
from recsys.parquet import ROW_GROUP_ROWS, row_groups, write_batches, write_parts
from recsys.prepare.prepared import Part, Prepared
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import Catalogue
from recsys.rules.effects import Effects
from recsys.rules.policy import Rules
from recsys.run import Run
from recsys.score.lists import Lists, People, Scorer, to_table
from recsys.score.neighbours import item_embeddings, similar_table, user_embeddings
from recsys.store import sealed_stage
from recsys.train.stage import fitted_on_all, forget_models, load_ranker, load_rater

log = logging.getLogger("recsys")

EFFECTS = "effects.json"  # of a shard: what rules changed there
NOBODY = Shard(0, 0)


def table_metadata(run: Run) -> dict[str, str]:
    """Key-value metadata of every published file."""
    return {
        "schema_version": tables.SCHEMA_VERSION,
        "run_id": run.run_id,
        "run_date": run.run_date.isoformat(),
        "ranker": run.config.train.ranker,
        "rater": run.config.train.rater,
        "id_map_sha256": run.prepared.id_map_sha256,
    }


def score_shard(run: Run, number: int) -> None:
    """Make the rows of one shard's users, each table once; `score` brings the shards together.

    A block is written while the next one is scored. The models are read anew for each shard, which takes a moment:
    pages of a mapped table of users that stayed would add up to all of it.
    """
    forget_models()
    with sealed_stage(_shard_folder(run, number), run.shard_record("score", number), under_way=run.under_way) as folder:
        if folder is not None:
            prepared, shard = run.prepared, run.prepared.shards[number]
            ids, ranker, rater = prepared.ids_of(shard), _ranker(run), _rater(run)
            part: Part = "all" if run.config.train.refit else "split"
            people = People.of_shard(prepared, part, shard, seen="all")
            served = np.flatnonzero(prepared.array("served", shard.start, shard.stop))
            people = people if len(served) == len(people) else people.take(served)
            scorer = Scorer(
                _catalogue(run), ranker, rater, prepared.scale, run.config.score.top_n, run.config.compute,
                Rules.of_run(run.folder),
            )  # fmt: skip
            changed: list[Effects | None] = []
            schema = tables.recommendations(ids.user_ids.type, ids.item_ids.type)
            blocks = (to_table(_noted(lists, changed), ids, shard.start) for lists in ahead(scorer.blocks(people)))
            write_batches(folder / "recommendations.parquet", schema, blocks)
            effects = [one for one in changed if one is not None]
            if effects:
                sum(effects[1:], effects[0]).save(folder / EFFECTS)
            model = _with_embeddings(ranker, rater)
            if model is not None:
                schema = tables.embeddings("user_id", ids.user_ids.type)
                write_batches(folder / "user_embeddings.parquet", schema, user_embeddings(model, ids, shard))


def score(run: Run) -> int:
    """Write the tables, each once, from the shards and the models; returns the rows of the recommendations."""
    started = time.monotonic()
    ids, ranker, rater = run.prepared.ids_of(NOBODY), _ranker(run), _rater(run)
    _write(run, "popular_items", popular_table(_catalogue(run), ids))
    _write(run, "quarantine", run.prepared.quarantine().cast(tables.QUARANTINE))
    similar = ranker.similar(run.config.score.top_n, run.config.compute)
    if similar is not None:
        _write(run, "similar_items", similar_table(similar, ranker.items, ids))
    model = _with_embeddings(ranker, rater)
    if model is not None:
        _write(run, "item_embeddings", item_embeddings(model, ids))
        _gather(run, "user_embeddings")
    forget_models()
    _gather(run, "recommendations")
    run.write_record_of_shards("score", time.monotonic() - started)
    rows = sum(pq.read_metadata(part).num_rows for part in (run.folder / "recommendations").glob("part-*"))
    log.info("score: %s rows of recommendations", f"{rows:,}")
    _tell_of_rules(rules_effects(run))
    return rows


def _ranker(run: Run) -> Ranker:
    return load_ranker(fitted_on_all(run, "ranker"), run)


def _rater(run: Run) -> Rater:
    return load_rater(fitted_on_all(run, "rater"), run)


def _catalogue(run: Run) -> Catalogue:
    """The published models' columns, with the popularity of all ratings."""
    return run.prepared.catalogue("all" if run.config.train.refit else "split", popularity="all")


def _with_embeddings(ranker: Ranker, rater: Rater) -> Model | None:
    """Whose vectors are published: the ranker's, else the rater's, where it has any."""
    return next((model for model in (ranker, rater) if model.embeddings() is not None), None)


def _noted(lists: Lists, changed: list[Effects | None]) -> Lists:
    changed.append(lists.effects)
    return lists


def _shard_folder(run: Run, number: int) -> Path:
    return run.work / "scored" / f"{number:05d}"


def _gather(run: Run, name: str) -> None:
    """One table from its shards, row group by row group."""
    shards = [_shard_folder(run, number) / f"{name}.parquet" for number in range(len(run.prepared.shards))]
    opened = [pq.read_metadata(shard) for shard in shards]
    with sealed_stage(run.folder / name, run.record(f"write_{name}"), under_way=run.under_way) as folder:
        if folder is not None:
            groups = (table for shard in shards for table in row_groups(shard))
            schema = opened[0].schema.to_arrow_schema()
            write_parts(folder, schema, ahead(groups), total_rows=sum(one.num_rows for one in opened),
                        metadata=table_metadata(run))  # fmt: skip


def popular_table(catalogue: Catalogue, ids: IdMap) -> pa.Table:
    """All items with a rating, by (ratings descending, item_id ascending)."""
    order, counts = catalogue.popular, catalogue.item_counts
    columns = [
        pa.array(np.arange(1, len(order) + 1, dtype=np.int32)),
        ids.item_ids.take(pa.array(order)),
        pa.array(counts[order].astype(np.int64)),
        pa.array(catalogue.item_sums[order] / counts[order]),
    ]
    return pa.Table.from_arrays(columns, schema=tables.popular_items(ids.item_ids.type))


def _tell_of_rules(effects: Effects | None) -> None:
    if effects is not None:
        lists = (f"{n:,}" for n in (effects.changed, effects.lists, effects.rows_without - effects.rows))
        log.info("score: rules changed %s of %s lists; they have %s rows fewer", *lists)


def rules_effects(run: Run) -> Effects | None:
    """What the rules changed over all shards; None without rules."""
    files = sorted(_shard_folder(run, 0).parent.glob(f"*/{EFFECTS}"))
    effects = [Effects.load(file) for file in files]
    return sum(effects[1:], effects[0]) if effects else None


def served_users(prepared: Prepared) -> NDArray[np.int32]:
    """user_index of every user of the input, ascending; a given hold-out alone makes nobody a user."""
    return np.flatnonzero(prepared.array("served")).astype(np.int32)


def _write(run: Run, name: str, table: pa.Table) -> None:
    with sealed_stage(run.folder / name, run.record(f"write_{name}"), under_way=run.under_way) as folder:
        if folder is not None:
            slices = (table.slice(start, ROW_GROUP_ROWS) for start in range(0, table.num_rows, ROW_GROUP_ROWS))
            write_parts(folder, table.schema, slices, total_rows=table.num_rows, metadata=table_metadata(run))
