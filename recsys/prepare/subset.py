"""Some of the ratings, under an id map of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.identifiers import UNKNOWN
from recsys.ratings import Ratings


def without(ratings: Ratings, left_out: NDArray[np.bool_]) -> Ratings:
    """The ratings that are not left out, as if the input had held no others.

    Users and items without any rating left are gone, and so are pairs of refused rows that name one of them.

    Args:
        left_out: (n_ratings,) True where a rating goes.
    """
    keep = ~left_out
    user, item = ratings.user_index[keep], ratings.item_index[keep]
    new_user, new_item = _renumbered(user, ratings.n_users), _renumbered(item, ratings.n_items)
    seen_user, seen_item = new_user[ratings.seen_user_index], new_item[ratings.seen_item_index]
    known = (seen_user != UNKNOWN) & (seen_item != UNKNOWN)
    return replace(
        ratings,
        user_ids=ratings.user_ids.take(pa.array(np.flatnonzero(new_user != UNKNOWN))),
        item_ids=ratings.item_ids.take(pa.array(np.flatnonzero(new_item != UNKNOWN))),
        user_index=new_user[user],
        item_index=new_item[item],
        rating=ratings.rating[keep],
        timestamp=None if ratings.timestamp is None else ratings.timestamp[keep],
        seen_user_index=seen_user[known],
        seen_item_index=seen_item[known],
    )


def _renumbered(index: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """(size,) the new index of each old one, in the same order; `UNKNOWN` where it does not occur."""
    used = np.bincount(index, minlength=size) > 0
    return np.where(used, np.cumsum(used) - 1, UNKNOWN).astype(np.int32)
