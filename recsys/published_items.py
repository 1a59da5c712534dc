"""Items of a published run: found by id or title, with their ratings and their nearest and farthest neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.prepare.training_set import TrainingSet
from recsys.published import PublishedRun

MOST_NAMED = 8  # titles in a message, which is read on one screen

Neighbour = dict[str, Any]  # rank, item_id, title, similarity
Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]  # item_index and similarity, in any order
NO_NEIGHBOURS: Neighbours = (np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class PublishedItems:
    """The items of a run."""

    run: PublishedRun

    def find(self, text: str) -> Any:
        """The item_id that a person means: an id, else a whole title, else a part of one title; case does not matter.

        Raises:
            UsageError: no item fits, or several do.
        """
        if (item_id := self._as_id(text)) is not None:
            return item_id
        wanted = text.casefold()
        whole = [item_id for item_id, title in self._folded.items() if title == wanted]
        fitting = whole or [item_id for item_id, title in self._folded.items() if wanted and wanted in title]
        if len(fitting) != 1:
            raise self._several(text, fitting) if fitting else self._none(text)
        return fitting[0]

    def describe(self, item_id: Any) -> dict[str, Any]:
        """item_id, title, genres, ratings and mean_rating (None where there are no ratings) of an item of the run."""
        index = self._index(item_id)
        row = self._table.slice(index, 1).to_pylist()[0]
        count, total = int(self._training_set.item_counts[index]), float(self._training_set.item_sums[index])
        return {
            "item_id": item_id,
            "title": row["title"],
            "genres": row["genres"],
            "ratings": count,
            "mean_rating": total / count if count else None,
        }

    def similar(self, item_id: Any, n: int | None = None, *, least: bool = False) -> list[Neighbour]:
        """The nearest items by (similarity descending, item_id ascending), or the farthest by (ascending, ascending).

        The nearest stand in `similar_items`; more of them, and the farthest, come from the ranker, or where it has no
        word on items from the cosine of the run's `item_embeddings`. An item without a place in them has no neighbours.

        Args:
            n: at most so many; None: as many as the run's lists are long.

        Raises:
            UsageError: the run has neither.
        """
        longest = self.run.manifest["config"]["score"]["top_n"]
        n = longest if n is None else n
        published = "similar_items" in self.run.tables
        enough = published and not least and n <= longest
        index, similarity = self._published(item_id) if enough else self._row(item_id)
        order = np.lexsort((index, similarity if least else -similarity))[:n]
        item_ids = self.run.prepared.ids.item_ids.take(pa.array(index[order])).to_pylist()
        return [
            {"rank": rank, "item_id": other, "title": self.run.titles[other], "similarity": value}
            for rank, (other, value) in enumerate(zip(item_ids, similarity[order].tolist(), strict=True), 1)
        ]

    @property
    def can_compare(self) -> bool:
        """Whether the run says of any item which are near."""
        return not {"similar_items", "item_embeddings"}.isdisjoint(self.run.tables)

    @cached_property
    def _folded(self) -> dict[Any, str]:
        """Titles as they are compared, most rated first, so that messages name what is probably meant."""
        titles = self._table["title"].to_pylist()
        ids = self._table["item_id"].to_pylist()
        order = np.argsort(-self._training_set.item_counts, kind="stable")
        return {ids[place]: titles[place].casefold() for place in order if titles[place] is not None}

    @cached_property
    def _table(self) -> pa.Table:
        return self.run.prepared.items()

    @cached_property
    def _training_set(self) -> TrainingSet:
        return self.run.prepared.training_set("all")

    def _index(self, item_id: Any) -> int:
        ids = self.run.prepared.ids
        return int(ids.item_index(pa.array([item_id], ids.item_ids.type))[0])

    def _as_id(self, text: str) -> Any:
        kind = self.run.prepared.ids.item_ids.type
        try:
            item_id = int(text) if pa.types.is_integer(kind) else text
            return item_id if self._index(item_id) >= 0 else None
        except (ValueError, OverflowError, pa.ArrowInvalid):
            return None

    def _published(self, item_id: Any) -> Neighbours:
        wanted = [("item_id", "=", item_id)]
        rows = pq.read_table(self.run.table("similar_items"), filters=wanted, partitioning=None).combine_chunks()
        return self.run.prepared.ids.item_index(rows["similar_item_id"]), rows["similarity"].to_numpy()

    def _row(self, item_id: Any) -> Neighbours:
        """Every other item that the model knows."""
        ranker = self.run.ranker()
        column = np.flatnonzero(ranker.items == self._index(item_id))
        row = ranker.similarity(int(column[0])) if len(column) else None
        if row is None and len(column) and "item_embeddings" not in self.run.tables:
            raise UsageError(
                f"Run {self.run.run_id} cannot say which items are alike.",
                expected="a ranker or a rater with a space of items",
                found=f"the ranker {ranker.name}",
                todo="choose another with `recsys run --ranker`; `recsys models` lists them",
            )
        if row is None:
            return self._cosines(item_id) if len(column) else NO_NEIGHBOURS
        return np.delete(ranker.items, column), np.delete(row, column)

    def _cosines(self, item_id: Any) -> Neighbours:
        """Cosine of the item's vector to the others'; 0 where one has no length."""
        table = pq.read_table(self.run.table("item_embeddings"), partitioning=None)
        index = self.run.prepared.ids.item_index(table["item_id"])
        vectors = np.stack(table["embedding"].to_numpy()).astype(np.float64)
        own = np.flatnonzero(index == self._index(item_id))
        if not len(own):
            return NO_NEIGHBOURS
        length = np.linalg.norm(vectors, axis=1)
        vectors /= np.where(length > 0, length, 1.0)[:, None]
        cosine = np.einsum("if,f->i", vectors, vectors[own[0]]).astype(np.float32)
        return np.delete(index, own), np.delete(cosine, own)

    def _several(self, text: str, fitting: list[Any]) -> UsageError:
        return UsageError(
            f"{len(fitting):,} items fit {text!r}.",
            expected="an id, a whole title, or a part of one title only",
            found=self._named(fitting),
            todo="name one of them by its id",
        )

    def _none(self, text: str) -> UsageError:
        """No item; named are titles that begin nearly like the text, or are nearly it."""
        wanted = text.casefold()
        known = {title: item_id for item_id, title in reversed(self._folded.items())}
        beginnings = {title[: len(wanted)]: item_id for title, item_id in known.items()}
        near = [each[title] for each in (known, beginnings) for title in get_close_matches(wanted, each, n=4) if wanted]
        return UsageError(
            f"There is no item {text!r} in run {self.run.run_id}.",
            expected=f"the id of one of {self.run.prepared.ids.n_items:,} items, or a part of a title",
            found=repr(text),
            todo=f"did you mean {self._named(dict.fromkeys(near))}?" if near else "give another part of the title",
        )

    def _named(self, item_ids: Iterable[Any]) -> str:
        listed = list(item_ids)
        shown = [f"{item_id} ({(self.run.titles[item_id] or '')[:40]})" for item_id in listed[:MOST_NAMED]]
        return ", ".join(shown + ["..."] * (len(listed) > MOST_NAMED))
