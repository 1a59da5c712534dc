"""Ratings as they travel between the stages: where they lie, how they are written, and as columns in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IdType = Literal["integer", "string"]


@dataclass(frozen=True)
class Scale:
    """The valid ratings: lowest, lowest + step, ..., highest. A field that is None is not checked."""

    lowest: float | None = None
    highest: float | None = None
    step: float | None = None


@dataclass(frozen=True)
class RatingsFormat:
    """How a ratings file is written.

    `user`, `item`, `rating` and `timestamp` are column names; in a file without a header the columns are named by
    their order, so `columns` lists all of them as they stand in a line. `timestamp` may be None: no order in time.
    `user` may be None: all ratings are one person's.
    `delimiter` is "," or a tab or "::" or any other short string; it is ignored for Parquet.
    """

    user: str | None = "userId"
    item: str = "movieId"
    rating: str = "rating"
    timestamp: str | None = "timestamp"
    delimiter: str = ","
    columns: tuple[str, ...] | None = None  # names of a headerless file's columns; None: the first line is a header
    encoding: str = "utf-8"


@dataclass(frozen=True)
class ItemsFormat:
    """How an items file is written. `genres_are_flags`: one 0/1 column a genre (ml-100k) instead of "A|B"."""

    item: str = "movieId"
    title: str = "title"
    genres: str | None = "genres"
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    genre_flags: tuple[str, ...] = ()  # columns that are 1 where the item has that genre


@dataclass(frozen=True)
class Snapshot:
    """Ratings that lie still: files that no later night changes, and where they came from.

    `fingerprint` is a SHA-256 (hex) over the files' own hashes and the way they are to be read.
    """

    dataset: str
    ratings: tuple[str, ...]  # paths, in reading order
    items: tuple[str, ...]  # paths; empty where there are no titles
    ratings_format: RatingsFormat
    items_format: ItemsFormat
    scale: Scale
    fingerprint: str
    origin: str  # the URL, mirror or path the data was taken from
    trust: Literal["pinned hash", "contents", "own file", "generated"]
    stale: bool = False  # True: the source failed tonight, this is the last good copy
    stale_reason: str = ""
    written_ns: tuple[int, ...] = ()  # of ratings read where they lie: when each was last written, before it was hashed


@dataclass(frozen=True)
class Ratings:
    """Valid ratings, one a (user, item), in the order of the input.

    Attributes:
        user_ids: (n_users,) int64 or string, ascending, no nulls (strings in UTF-8 byte order).
        item_ids: (n_items,) likewise.
        user_index: (n_ratings,) int32, position in user_ids.
        item_index: (n_ratings,) int32, position in item_ids.
        rating: (n_ratings,) float32, in the input's units.
        timestamp: (n_ratings,) int64, seconds since 1970 UTC; None where the input has none.
        seen_user_index, seen_item_index: (n_seen,) int32, pairs of refused rows whose ids are both known:
            not rated, but never to be recommended.
        quarantine: the refused rows, by the schema `tables.QUARANTINE`.
        rows_read: rows of the input, refused ones and repeated ones included, blank lines not.
        repeated: rows dropped because a later rating of the same pair stands.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    user_index: NDArray[np.int32]
    item_index: NDArray[np.int32]
    rating: NDArray[np.float32]
    timestamp: NDArray[np.int64] | None
    seen_user_index: NDArray[np.int32]
    seen_item_index: NDArray[np.int32]
    quarantine: pa.Table
    rows_read: int
    repeated: int

    @property
    def n_users(self) -> int:
        """Users with at least one valid rating."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Items with at least one valid rating."""
        return len(self.item_ids)

    def __len__(self) -> int:
        return len(self.rating)
