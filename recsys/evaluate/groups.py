"""Users by how many ratings they have, items by how many they got: groups with fixed edges, so that shards add up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Ratings in training at which a group begins; three steps a factor of ten, as ratings spread over many.
EDGES = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000])
N_GROUPS = len(EDGES) + 1


def group_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each number of ratings.

    >>> group_of(np.array([0, 1, 4, 5, 250_000]))
    array([ 0,  1,  2,  3, 16])
    """
    return np.searchsorted(EDGES, counts, side="right")


def group_names() -> list[str]:
    """What each group holds, in their order.

    >>> group_names()[:4], group_names()[-1]
    (['0', '1', '2–4', '5–9'], '100,000 or more')
    """
    between = [f"{low:,}–{high - 1:,}" if high - 1 > low else f"{low:,}" for low, high in pairwise(EDGES.tolist())]
    return ["0", *between, f"{EDGES[-1]:,} or more"]
