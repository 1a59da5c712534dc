"""Ratings, items and pairs from files: every row is either valid or refused with file, line and reason.

A row is a line (or a row of Parquet). What makes a row valid stands in `recsys.read.check`.
"""

from recsys.read.items import read_items
from recsys.read.pairs import read_pairs
from recsys.read.ratings import read_ratings, read_stream
from recsys.read.refusals import RowsRefused

__all__ = ["RowsRefused", "read_items", "read_pairs", "read_ratings", "read_stream"]
