"""Lists for people whom the published models were not fitted on, from their own ratings (fold-in)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys import tables
from recsys.config import ComputeConfig, DownloadConfig, InputConfig, ScoreConfig, validated
from recsys.download.own import take_own
from recsys.errors import sample
from recsys.identifiers import UNKNOWN, IdMap
from recsys.parquet import write_file
from recsys.prepare.training_set import Catalogue
from recsys.published import PublishedRun
from recsys.ratings import Ratings
from recsys.read import read_ratings
from recsys.rules.policy import Rules
from recsys.score.lists import People, Scorer, to_table

log = logging.getLogger("recsys")


@dataclass(frozen=True, eq=False)
class FoldIn:
    """Lists of new people.

    Attributes:
        run: the published run that they were made with.
        ratings: what the people have rated, as read; `item_ids` hold the run's items and the unknown ones.
        table: the lists, by the schema `recommendations`, with user ids in the type of the given ones.
    """

    run: PublishedRun
    ratings: Ratings
    table: pa.Table

    @cached_property
    def unknown_items(self) -> pa.Array:
        """Ids of rated items that the run does not know, ascending; they are left out."""
        return self.ratings.item_ids.filter(pa.array(_item_index(self.run, self.ratings) == UNKNOWN))

    @property
    def unknown_ratings(self) -> int:
        """Ratings of unknown items."""
        return int(np.sum(_item_index(self.run, self.ratings)[self.ratings.item_index] == UNKNOWN))

    def save(self, out: Path) -> None:
        """Write the table as one Parquet file, which appears whole or not at all.

        Raises:
            UsageError: `out` cannot be written.
        """
        write_file(self.table, out, _metadata(self.run))


def recommend(
    run: PublishedRun,
    ratings: pa.Table | Path | str,
    *,
    top_n: int | None = None,
    input: InputConfig | None = None,
    compute: ComputeConfig | None = None,
) -> FoldIn:
    """The best items for people by their own ratings alone, whatever the run knows of users with the same ids.

    The run's rules hold. Nothing is known of these people, so that what a rule takes from some users it takes from
    them, and what it favours some with they do not get.

    Args:
        ratings: a table, file, folder, glob or URI with item, rating and, unless all are one person's, user. Without
            a user column that person's id is 1. What makes a row valid is what made one valid for the run.
        top_n: length of a list; None: as long as the run's.
        input: names of the columns, share of bad rows allowed, scale; its `ratings` are not looked at.

    Raises:
        InputRefused: too many rows are not valid, or a column is missing.
        SourceUnavailable: nothing is there.
        UsageError: `top_n` is out of bounds, or the run's models cannot be read.
    """
    n = run.manifest["config"]["score"]["top_n"] if top_n is None else top_n
    n = validated(ScoreConfig, {"top_n": n}, "score.").top_n
    given = _read(run, ratings, input or InputConfig())
    ids = IdMap(given.user_ids, run.prepared.ids.item_ids)
    scorer = _scorer(run, n, compute or ComputeConfig())
    blocks = [to_table(lists, ids) for lists in scorer.blocks(_people(run, given, scorer.catalogue))]
    schema = tables.recommendations(ids.user_ids.type, ids.item_ids.type)
    fold_in = FoldIn(run, given, pa.concat_tables([schema.empty_table(), *blocks]))
    _tell(fold_in)
    return fold_in


def _read(run: PublishedRun, ratings: pa.Table | Path | str, input: InputConfig) -> Ratings:
    """The valid ratings. A table is checked as a file of it would be; copies of remote files are gone afterwards."""
    with TemporaryDirectory(prefix="recsys-") as folder:
        address = str(ratings)
        if isinstance(ratings, pa.Table):
            address = str(Path(folder) / "ratings.parquet")
            pq.write_table(ratings, address)
        wanted = input.model_copy(update={"ratings": address, "items": None})
        snapshot = take_own(wanted, DownloadConfig(), Path(folder), may_be_one_users=True)
        snapshot = replace(snapshot, dataset=Path(address).name, scale=run.prepared.declared_scale)
        return read_ratings(snapshot, input, known_items=run.prepared.ids.item_ids)


def _scorer(run: PublishedRun, n: int, compute: ComputeConfig) -> Scorer:
    refitted = run.manifest["config"]["train"]["refit"]
    catalogue = run.prepared.catalogue("all" if refitted else "split", popularity="all")
    rules = Rules.of_run(run.part("rules").parent)
    return Scorer(catalogue, run.ranker(), run.rater(), run.prepared.scale, n, compute, rules)


def _people(run: PublishedRun, ratings: Ratings, catalogue: Catalogue) -> People:
    n = ratings.n_users
    histories = _histories(run, ratings, catalogue)
    return People(np.arange(n, dtype=np.int32), histories, _seen(run, ratings), np.zeros(n, bool), new=True)


def _histories(run: PublishedRun, ratings: Ratings, catalogue: Catalogue) -> csr_matrix:
    """(n_people, n_columns) CSR float32 of the ratings of items that the models have a column for."""
    item = _item_index(run, ratings)[ratings.item_index]
    column = np.where(item == UNKNOWN, np.int32(UNKNOWN), catalogue.column_of[item])
    known = column != UNKNOWN
    pairs = (ratings.user_index[known], column[known])
    histories = csr_matrix((ratings.rating[known], pairs), shape=(ratings.n_users, len(catalogue.items)))
    histories.sort_indices()
    return histories


def _seen(run: PublishedRun, ratings: Ratings) -> csr_matrix:
    """(n_people, n_items) CSR, a stored 1 where someone has rated an item of the run, in a refused row too."""
    user = np.concatenate([ratings.user_index, ratings.seen_user_index])
    item = _item_index(run, ratings)[np.concatenate([ratings.item_index, ratings.seen_item_index])]
    known = item != UNKNOWN
    shape = (ratings.n_users, run.prepared.ids.n_items)
    seen = csr_matrix((np.ones(int(known.sum()), np.int8), (user[known], item[known])), shape=shape)
    seen.sort_indices()
    return seen


def _item_index(run: PublishedRun, ratings: Ratings) -> NDArray[np.int32]:
    """(n,) the run's item_index of each of the ratings' item ids."""
    return run.prepared.ids.item_index(ratings.item_ids)


def _metadata(run: PublishedRun) -> dict[str, str]:
    """As in the run's own tables."""
    manifest, models = run.manifest, run.manifest["config"]["train"]
    named = {name: str(manifest[name]) for name in ("schema_version", "run_id", "run_date", "id_map_sha256")}
    return named | {"ranker": models["ranker"], "rater": models["rater"]}


def _tell(fold_in: FoldIn) -> None:
    unknown, quarantine = fold_in.unknown_items, fold_in.ratings.quarantine
    if len(unknown):
        log.warning(
            "recommend: %s ratings of items that run %s does not know are left out: %s",
            f"{fold_in.unknown_ratings:,}", fold_in.run.run_id, sample(unknown.to_pylist()),
        )  # fmt: skip
    if quarantine.num_rows:
        places = [f"{row['file']}:{row['line']} {row['reason']}" for row in quarantine.slice(0, 5).to_pylist()]
        log.warning("recommend: %s rows are not valid and left out: %s", f"{quarantine.num_rows:,}", "; ".join(places))
