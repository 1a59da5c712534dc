"""The training sets of both parts, written range by range of users: in memory is what a few ranges need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import in_order
from recsys.errors import InputRefused
from recsys.prepare.arrays import ArrayWriter
from recsys.prepare.means import Means, overall_and_item, tally, user_means
from recsys.prepare.prepared import Part, Prepared
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import emptied, in_columns, most_rated


@dataclass(frozen=True, eq=False)
class PartWriter:
    """Writes the training set of one part, or asks for what was written.

    Attributes:
        prepared: a folder in which all but the parts and prepared.json stands.
        part: which.
        beside_holdout: whether the part is without the held-out ratings; else it is of all.
        ranges: consecutive users, as many at a time as memory has room for. They change nothing in the result.
    """

    prepared: Prepared
    part: Part
    beside_holdout: bool
    ranges: Sequence[Shard]
    threads: int

    @property
    def _folder(self) -> Path:
        return self.prepared.folder / self.part

    def write(self, n_items: int, *, top_items: int, min_user_ratings: int) -> NDArray[np.bool_]:
        """Write the part's folder; returns (n_users,) bool, the users learned from.

        Raises:
            InputRefused: nobody has enough ratings.
        """
        self._folder.mkdir()
        counts, sums = np.zeros(n_items, np.int64), np.zeros(n_items)
        for _, item, rating in in_order(self._load, self.ranges, self.threads):
            tally(item, rating, counts, sums)
        _require_some(counts, len(self.prepared.array("rating")))
        items = most_rated(counts, top_items)
        sizes = self._write_rows(items, n_items)
        trained = np.concatenate(sizes) >= min_user_ratings
        indptr = np.concatenate(([0], np.cumsum(np.concatenate(sizes))))
        arrays = {
            "items": items, "indptr": indptr, "trained": trained, "item_counts": counts, "item_sums": sums,
        }  # fmt: skip
        for name, array in arrays.items():
            np.save(self._folder / f"{name}.npy", array)
        if not trained.any():
            raise InputRefused(
                "No user has enough ratings to learn from.",
                expected=f"users with at least {min_user_ratings} ratings (--min-user-ratings) beside the hold-out",
                found=f"at most {int(np.diff(indptr).max())} a user",
                todo="lower --min-user-ratings",
            )
        return trained

    def learned(self, trained: NDArray[np.bool_]) -> Iterator[csr_matrix]:
        """The rows of each range, those of users not `trained` emptied."""

        def rows(users: Shard) -> csr_matrix:
            return emptied(self.prepared.histories(self.part, users), trained[users.start : users.stop])

        return in_order(rows, self.ranges, self.threads)

    def preference_bounds(self, trained: NDArray[np.bool_]) -> tuple[float, float]:
        """The lowest and the highest preference of the ratings learned from."""
        n_columns = len(self.prepared.array(f"{self.part}/items"))
        counts, sums = np.zeros(n_columns, np.int64), np.zeros(n_columns)
        for rows in self.learned(trained):
            tally(rows.indices, rows.data, counts, sums)
        overall, item = overall_and_item(counts, sums)
        lowest, highest = np.inf, -np.inf
        for rows in self.learned(trained):
            if rows.nnz:
                preferences = Means(overall, item, user_means(rows, overall, item)).preferences(rows).data
                lowest, highest = min(lowest, preferences.min()), max(highest, preferences.max())
        return float(lowest), float(highest)

    def _load(self, users: Shard) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """indptr, item_index and rating of the part's ratings of some users."""
        indptr = self.prepared.array("indptr", users.start, users.stop + 1)
        stored = (indptr[0], indptr[-1])
        indptr, item, rating = (
            indptr - indptr[0],
            self.prepared.array("item_index", *stored),
            self.prepared.array("rating", *stored),
        )
        if not self.beside_holdout:
            return indptr, item, rating
        keep = ~self.prepared.array("held_out", *stored)
        return np.concatenate(([0], np.cumsum(keep)))[indptr], item[keep], rating[keep]

    def _write_rows(self, items: NDArray[np.int32], n_items: int) -> list[NDArray[np.int64]]:
        """Write the entries of all rows; returns the rows' sizes, by range."""

        def rows(users: Shard) -> csr_matrix:
            return in_columns(*self._load(users), items, n_items)

        with ExitStack() as stack:
            create = partial(_create, stack, self._folder)
            columns, ratings, sizes = create("columns", np.int32), create("ratings", np.float32), []
            for matrix in in_order(rows, self.ranges, self.threads):
                columns.append(matrix.indices)
                ratings.append(matrix.data)
                sizes.append(np.diff(matrix.indptr).astype(np.int64))
        return sizes


def _create(stack: ExitStack, folder: Path, name: str, kind: type) -> ArrayWriter:
    return stack.enter_context(ArrayWriter(folder / f"{name}.npy", kind))


def _require_some(counts: NDArray[np.int64], n_ratings: int) -> None:
    if not counts.any():
        raise InputRefused(
            "No rating is left to learn from.",
            expected="ratings beside the hold-out",
            found=f"{n_ratings:,} ratings, all held out",
            todo="give more ratings, or a smaller hold-out",
        )
