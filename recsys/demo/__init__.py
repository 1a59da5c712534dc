"""The dataset `demo`: made on the spot, of MovieLens' shape, of any size, from a seed.

Popularity and activity are heavy tailed. Items of a genre have similar traits, users move in circles of similar
tastes, and both what a user rates and how many stars it gets follow from the tastes, so that neighbours make sense.
Everything is invented: titles, genres, users.
"""

from __future__ import annotations

from recsys.demo.write import ROWS_PER_PART, generate

__all__ = ["ROWS_PER_PART", "generate"]
