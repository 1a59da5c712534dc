"""Item neighbours: what resembles what a user has rated.

Sources: M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms", ACM TOIS 22(1), 2004 (the k nearest
of each item, similarities summed over the user's items); the shrinkage, after R. Bell and Y. Koren, "Scalable
collaborative filtering with jointly derived neighborhood interpolation weights", ICDM 2007, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import MIB, check_budget, compiled, over_ranges, thread_count
from recsys.config import ComputeConfig, Section, Tunable
from recsys.models.base import FitContext, TopN, load_arrays, save_arrays
from recsys.models.linear import LinearRanker
from recsys.prepare.training_set import TrainingSet
from recsys.score.selection import empty_lists, select

Similarity = Literal["cosine", "jaccard"]


class ItemKnnSettings(Section):
    """Settings of item neighbours; the defaults were found on validation slices of MovieLens data."""

    similarity: Similarity = Field("cosine", description="cosine: both / root of the product; jaccard: both / either")
    neighbours: Annotated[int, Tunable(10, 1_000, log=True)] = Field(
        200, ge=1, description="nearest items that an item's score is summed from"
    )
    shrinkage: Annotated[float, Tunable(0, 100)] = Field(
        10.0, ge=0, description="added below the fraction: few common users count for less"
    )


@dataclass(frozen=True, eq=False)
class ItemKnn(LinearRanker):
    """score(u, i) = sum of similarity(i, j) over the items j that u has rated and that are among the nearest of i.

    With c(i, j) users of both and c(i) users of i:

        cosine   c(i, j) / (sqrt(c(i) c(j)) + shrinkage)
        jaccard  c(i, j) / (c(i) + c(j) - c(i, j) + shrinkage)

    Attributes:
        items: (n_columns,) int32, the item_index of each column.
        nearest: (n_columns, neighbours) int32, by (similarity descending, column ascending); -1 where there are fewer
            items with a common user.
        similarities: (n_columns, neighbours) float32, of each of them.
    """

    name: ClassVar[str] = "item_knn"
    summary: ClassVar[str] = "nearest items by common users (cosine or Jaccard, shrunk); says because of which item"
    settings: ClassVar[type[Section]] = ItemKnnSettings

    items: NDArray[np.int32]
    nearest: NDArray[np.int32]
    similarities: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: ItemKnnSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Count common users item by item, and keep the nearest.

        Raises:
            UsageError: the weights it scores with would not fit the memory budget; nothing was allocated yet.
        """
        check_memory(len(training_set.items), settings.neighbours, context.compute)
        return cls(training_set.items, *nearest_items(training_set.binary, settings, thread_count(context.compute)))

    @cached_property
    def weights(self) -> NDArray[np.float32]:  # type: ignore[override]  # not a field: made from the neighbours
        """(n_columns, n_columns) what having rated the row's item adds to each score, mostly 0."""
        weights = np.zeros((len(self.items), len(self.items)), dtype=np.float32)
        column, place = np.nonzero(self.nearest >= 0)
        weights[self.nearest[column, place], column] = self.similarities[column, place]
        return weights

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The first of the nearest items."""
        columns, scores = empty_lists(len(self.items), n)
        kept = min(n, self.nearest.shape[1])
        columns[:, :kept], scores[:, :kept] = self.nearest[:, :kept], self.similarities[:, :kept]
        return TopN(columns, scores)

    def similarity(self, column: int) -> NDArray[np.float32]:
        """What the item's nearest have in common with it; 0 for all others."""
        row = np.zeros(len(self.items), dtype=np.float32)
        stands = self.nearest[column] >= 0
        row[self.nearest[column][stands]] = self.similarities[column][stands]
        return row

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_arrays(folder, items=self.items, nearest=self.nearest, similarities=self.similarities)
        return {}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        return cls(**load_arrays(folder))


def check_memory(n_columns: int, neighbours: int, compute: ComputeConfig) -> None:
    """Refuse before the work starts what would not fit: dense float32 weights, and a column and a value a neighbour."""
    need = (4 * n_columns**2 + 8 * n_columns * min(neighbours, n_columns)) / MIB
    check_budget(
        need,
        compute,
        f"item_knn needs {need:,.0f} MiB for {n_columns:,} items (4 bytes x items^2 + 8 x items x neighbours).",
        found=f"{n_columns:,} items",
        todo="keep fewer items (--top-items), or raise --set compute.memory_mib",
    )


def nearest_items(
    binary: csr_matrix, settings: ItemKnnSettings, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest items of each by (float32 similarity descending, column ascending), and the similarities."""
    by_item = binary.tocsc()
    nearest, similarity = empty_lists(binary.shape[1], min(settings.neighbours, max(binary.shape[1] - 1, 1)))
    cosine = settings.similarity == "cosine"

    def work(start: int, stop: int) -> None:
        _nearest_rows(
            start, stop, by_item.indptr, by_item.indices, binary.indptr, binary.indices, cosine, settings.shrinkage,
            nearest, similarity,
        )  # fmt: skip

    over_ranges(work, len(nearest), threads)
    return nearest, similarity


@compiled
def _nearest_rows(  # type: ignore[no-untyped-def]
    start, stop, item_indptr, item_users, user_indptr, user_items, cosine, shrinkage, nearest, similarity
):
    row = np.empty(len(nearest), np.float64)
    for item in range(start, stop):
        row[:] = 0.0
        for place in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[place]
            for other in range(user_indptr[user], user_indptr[user + 1]):
                row[user_items[other]] += 1.0
        own = np.float64(item_indptr[item + 1] - item_indptr[item])
        for column in range(len(row)):
            both = row[column]
            count = np.float64(item_indptr[column + 1] - item_indptr[column])
            below = np.sqrt(own * count) if cosine else own + count - both
            row[column] = both / (below + shrinkage) if both > 0 and column != item else -np.inf
        select(row, nearest[item], similarity[item])
