"""A given hold-out: ratings that are only ever predicted, joined with the ratings to learn from under one id map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.errors import InputRefused
from recsys.identifiers import UNKNOWN, IdMap
from recsys.ratings import Ratings


@dataclass(frozen=True, eq=False)
class Joined:
    """Ratings of both files; a pair that stands in both is the hold-out's.

    Attributes:
        held_out: (n_ratings,) bool.
        served: (n_users,) bool, users of the ratings to learn from: the hold-out alone makes nobody a user.
    """

    ratings: Ratings
    held_out: NDArray[np.bool_]
    served: NDArray[np.bool_]


def join_holdout(ratings: Ratings, test: Ratings) -> Joined:
    """Join ratings with a given hold-out.

    Raises:
        InputRefused: the ids are of different types.
    """
    ids = IdMap(_union(ratings.user_ids, test.user_ids), _union(ratings.item_ids, test.item_ids))
    own, held = _Moved(ratings, ids), _Moved(test, ids)
    keep = ~np.isin(own.pairs(), held.pairs())
    joined = Ratings(
        user_ids=ids.user_ids,
        item_ids=ids.item_ids,
        user_index=np.concatenate([own.user_index[keep], held.user_index]),
        item_index=np.concatenate([own.item_index[keep], held.item_index]),
        rating=np.concatenate([ratings.rating[keep], test.rating]),
        timestamp=_timestamps(ratings, keep, test),
        seen_user_index=np.concatenate([own.seen_user_index, held.seen_user_index]),
        seen_item_index=np.concatenate([own.seen_item_index, held.seen_item_index]),
        quarantine=pa.concat_tables([ratings.quarantine, test.quarantine]),
        rows_read=ratings.rows_read,
        repeated=ratings.repeated,
    )
    held_out = np.arange(len(joined)) >= keep.sum()
    served = ids.user_index(ratings.user_ids)
    return Joined(joined, held_out, np.bincount(served, minlength=ids.n_users) > 0)


def reorder_items(items: pa.Table, ids: IdMap) -> pa.Table:
    """Titles in the order of a larger id map; null for items that only the hold-out has."""
    place = IdMap(ids.user_ids, items["item_id"].combine_chunks()).item_index(ids.item_ids)
    taken = items.take(pa.array(place, mask=place == UNKNOWN))
    return taken.set_column(0, "item_id", ids.item_ids)


class _Moved:
    """The index arrays of some ratings, under another id map."""

    def __init__(self, ratings: Ratings, ids: IdMap) -> None:
        user, item = ids.user_index(ratings.user_ids), ids.item_index(ratings.item_ids)
        self.n_items = ids.n_items
        self.user_index, self.item_index = user[ratings.user_index], item[ratings.item_index]
        self.seen_user_index, self.seen_item_index = user[ratings.seen_user_index], item[ratings.seen_item_index]

    def pairs(self) -> NDArray[np.int64]:
        return self.user_index.astype(np.int64) * self.n_items + self.item_index


def _timestamps(ratings: Ratings, keep: NDArray[np.bool_], test: Ratings) -> NDArray[np.int64] | None:
    if ratings.timestamp is None or test.timestamp is None:
        return None
    return np.concatenate([ratings.timestamp[keep], test.timestamp])


def _union(left: pa.Array, right: pa.Array) -> pa.Array:
    if left.type != right.type:
        raise InputRefused(
            "The hold-out's ids are of another type than the ratings'.",
            expected=str(left.type),
            found=str(right.type),
            todo="write both files with the same kind of ids, or set --set input.id_type=string",
        )
    ids = pa.concat_arrays([left, right]).unique()
    return ids.take(pc.sort_indices(ids))
