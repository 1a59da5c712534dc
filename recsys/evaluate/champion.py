"""The published run's own models on tonight's hold-out: what readers would have had, had nothing been trained.

Only its *judged* models are fair to compare, which learned from its training part: the published ones were fitted again
on all ratings, tonight's hold-out among them. Users of whom even those have learned a rating that is held out tonight
(a hold-out grows with the ratings) are left out of the comparison, for both sides.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig
from recsys.evaluate.rating import Holdout, Predicts
from recsys.identifiers import UNKNOWN, positions
from recsys.models import registry
from recsys.models.base import Ranker, Rater
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.run import Run
from recsys.score.lists import People, Scorer
from recsys.store import write_whole
from recsys.store.manifest import read_manifest
from recsys.train.stage import judged_folder


@dataclass(frozen=True, eq=False)
class Champion:
    """A published run, and how its indices and tonight's fit together.

    Attributes:
        run_id, run_date: the published run's.
        folder: where it stands.
        prepared: tonight's ratings.
        models: names of its ranker and its rater.
    """

    run_id: str
    run_date: str
    folder: Path
    prepared: Prepared
    models: tuple[str, str]

    @cached_property
    def theirs(self) -> Prepared:
        """The ratings it was made from."""
        return Prepared(self.folder / "prepared")

    @cached_property
    def user_of(self) -> NDArray[np.int32]:
        """(n_users,) its user_index of each of tonight's users, -1 where it did not know them."""
        return positions(self.prepared.ids.user_ids, self.theirs.ids.user_ids)

    @cached_property
    def item_of(self) -> NDArray[np.int32]:
        """(n_items,) its item_index of each of tonight's items, -1 where it did not know them."""
        return positions(self.prepared.ids.item_ids, self.theirs.ids.item_ids)

    @cached_property
    def _own_item(self) -> NDArray[np.int32]:
        """(n of its items + 1,) tonight's item_index of each of its items; -1 for those gone, and at the end."""
        own = positions(self.theirs.ids.item_ids, self.prepared.ids.item_ids)
        return np.append(own, np.int32(UNKNOWN))

    def ranker(self) -> Ranker:
        """Its judged ranker."""
        model = registry.ranker(self.models[0])
        return model.load(judged_folder(self.folder, "ranker"), self.theirs.ids.sha256)

    def rater(self) -> Predicts:
        """Its judged rater, asked with tonight's indices."""
        model = registry.rater(self.models[1])
        return _Asked(self, model.load(judged_folder(self.folder, "rater"), self.theirs.ids.sha256))

    def lists(self, shard: Shard, n: int, compute: ComputeConfig) -> NDArray[np.int32]:
        """(n_shard_users, n) int32, tonight's item_index by rank, -1 where a list is short or an item is gone."""
        catalogue = self.theirs.catalogue("split")
        scorer = Scorer(catalogue, self.ranker(), None, self.theirs.scale, n, compute)
        people = self._people(shard, catalogue.column_of, len(catalogue.items))
        lists = np.full((len(shard), n), UNKNOWN, dtype=np.int32)
        for new in (False, True):
            rows = np.flatnonzero((people.listed_as < 0) == new)
            for start, block in _blocks(scorer, people, rows, new):
                lists[rows[start : start + len(block)]] = self._own_item[block]
        return lists

    def _people(self, shard: Shard, column_of: NDArray[np.int32], n_columns: int) -> People:
        """Tonight's users with tonight's training ratings, in its indices."""
        history, seen = self.prepared.histories("split", shard), self.prepared.seen("split", shard)
        items = self.prepared.array("split/items")
        their_item = self.item_of[items]
        column = np.where(their_item >= 0, column_of[their_item], np.int32(UNKNOWN))
        user = self.user_of[shard.start : shard.stop]
        trained = self.theirs.array("split/trained")[user] & (user >= 0)
        n_items = self.theirs.counts.items
        return People(user, _renamed(history, column, n_columns), _renamed(seen, self.item_of, n_items), trained)

    def holdout(self, shard: Shard) -> Holdout:
        """Tonight's held-out ratings of a shard's unspoilt users."""
        user, item, value = self.prepared.holdout(shard)
        keep = self.unspoilt(shard)[user - shard.start]
        return user[keep], item[keep], value[keep]

    def unspoilt(self, shard: Shard) -> NDArray[np.bool_]:
        """(n_shard_users,) those of whom it has learned no rating that is held out tonight."""
        user, item, _ = self.prepared.holdout(shard)
        their_user, their_item = self.user_of[user].astype(np.int64), self.item_of[item]
        known = (their_user >= 0) & (their_item >= 0)
        key = their_user * self.theirs.counts.items + their_item
        spoilt = known & np.isin(key, self._learned(np.unique(their_user[known])))
        clean = np.ones(len(shard), dtype=np.bool_)
        clean[user[spoilt] - shard.start] = False
        return clean

    def _learned(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """Its training pairs of some of its users, as user_index x n_items + item_index."""
        folder = self.theirs.folder
        indptr = self.theirs.array("indptr")
        lengths = indptr[users + 1] - indptr[users]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = np.repeat(indptr[users], lengths) + within
        held_out = np.load(folder / "held_out.npy", mmap_mode="r")[place]
        item = np.load(folder / "item_index.npy", mmap_mode="r")[place]
        return (np.repeat(users, lengths) * self.theirs.counts.items + item)[~held_out]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A champion's rater behind tonight's indices."""

    champion: Champion
    rater: Rater

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32], /) -> NDArray[np.float32]:
        """(n,) its predictions of tonight's pairs, NaN where it does not know the user or the item."""
        user, item = self.champion.user_of[user_index], self.champion.item_of[item_index]
        known = (user >= 0) & (item >= 0)
        predicted = np.full(len(user), np.nan, dtype=np.float32)
        predicted[known] = self.rater.predict(user[known], item[known])
        return predicted


def champion_of(run: Run) -> Champion | None:
    """The run that was picked to be compared with; None where there is none."""
    try:
        record = json.loads((run.work / "champion.json").read_text())
    except FileNotFoundError:
        return None
    return _opened(run.store / record["path"], run.prepared, record["run_id"]) if record["path"] else None


def pick_champion(run: Run, path: str | None, why_not: str = "") -> None:
    """Settle whom the run is compared with; what was measured against another one is measured again.

    Args:
        path: of the published run, relative to the store; None: there is none.
        why_not: why there is none.
    """
    run_id = "" if path is None else path.rpartition("run_id=")[2]
    wanted = {"run_id": run_id, "path": path, "why_not": why_not}
    file = run.work / "champion.json"
    if file.exists() and json.loads(file.read_text()) == wanted:
        return
    _forget_measures(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(wanted))


def why_no_champion(run: Run) -> str:
    """Why the run is compared with nobody."""
    try:
        return str(json.loads((run.work / "champion.json").read_text())["why_not"])
    except FileNotFoundError:
        return "no published run was looked for"


def _forget_measures(run: Run) -> None:
    shutil.rmtree(run.work / "evaluated", ignore_errors=True)
    (run.folder / "evaluation.json").unlink(missing_ok=True)


@lru_cache(maxsize=1)  # its id map is as large as tonight's; one for all shards
def _opened(folder: Path, prepared: Prepared, run_id: str) -> Champion:
    manifest = read_manifest(folder)
    trained = manifest["config"]["train"]
    return Champion(run_id, manifest["run_date"], folder, prepared, (trained["ranker"], trained["rater"]))


def forget_champion() -> None:
    """Give back the memory of the id maps."""
    _opened.cache_clear()


def _renamed(matrix: csr_matrix, name_of: NDArray[np.int32], n_columns: int) -> csr_matrix:
    """The same rows with other names of columns; entries whose name is -1 are dropped."""
    column = name_of[matrix.indices]
    keep = column >= 0
    indptr = np.concatenate(([0], np.cumsum(keep)))[matrix.indptr]
    renamed = csr_matrix((matrix.data[keep], column[keep], indptr), shape=(matrix.shape[0], n_columns))
    renamed.sort_indices()
    return renamed


def _blocks(
    scorer: Scorer, people: People, rows: NDArray[np.int64], new: bool
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Where each block of lists begins among `rows`, and the lists."""
    start = 0
    for lists in scorer.blocks(replace(people.take(rows), new=new)):
        yield start, lists.item_index
        start += len(lists.item_index)
