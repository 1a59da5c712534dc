"""Given (user, item) pairs, each of which is answered: so none may be left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from recsys.errors import InputRefused
from recsys.progress import track
from recsys.ratings import RatingsFormat
from recsys.read import delimited, parquet, reasons
from recsys.read.blocks import BLOCK_BYTES, file_bytes
from recsys.read.ids import typed_ids
from recsys.read.rows import Columns, Role, Rows
from recsys.read.values import is_integer

MOST_EXAMPLES = 5


def read_pairs(path: Path | str, *, user: str = "user_id", item: str = "item_id") -> pa.Table:
    """The pairs as columns `user_id` and `item_id`, in the order of the file, repeats kept.

    Ids are int64 where all of a column are integers, else strings; in Parquet, the type of the column decides.

    Args:
        path: CSV with a header, tab-separated where the name has ".tsv", or Parquet; .gz and .zst too.
        user, item: names of the columns.

    Raises:
        InputRefused: the file, a column or any pair cannot be read.
        SourceUnavailable: the file is not there.
    """
    path = Path(path)
    columns: Columns = {"user": user, "item": item}
    form = RatingsFormat(delimiter="\t" if ".tsv" in path.suffixes else ",")
    with track("read pairs", file_bytes(path), "bytes") as bar:
        in_parquet = parquet.is_parquet(path)
        jobs = (
            parquet.jobs(path, columns, BLOCK_BYTES, bar)
            if in_parquet
            else delimited.jobs(path, form, columns, BLOCK_BYTES, bar)
        )
        blocks = [job() for job in jobs]
    _refuse_unreadable(path, blocks)
    return pa.table({"user_id": _ids(blocks, "user"), "item_id": _ids(blocks, "item")})


def _refuse_unreadable(path: Path, blocks: Sequence[Rows]) -> None:
    wrong = [f"line {line}: {reason}" for rows in blocks for line, reason in _unreadable(rows)]
    if wrong:
        raise InputRefused(
            f"{len(wrong):,} pairs of {path.name} cannot be read.",
            expected="a user id and an item id in every row",
            found="; ".join(wrong[:MOST_EXAMPLES]),
            todo="mend these rows or leave them out",
        )


def _unreadable(rows: Rows) -> list[tuple[int, str]]:
    found = [(row.line, row.reason) for row in rows.refused]
    for role in ("user", "item"):
        column = rows.columns[role]
        blank = ~typed_ids(column.dictionary, "string")[1]
        at = np.flatnonzero(blank[column.indices.to_numpy()]) if blank.any() else np.zeros(0, np.int64)
        found += [(int(line), reasons.id_missing(role)) for line in (rows.locate(at)[0] if len(at) else ())]
    return sorted(found)


def _ids(blocks: Sequence[Rows], role: Role) -> pa.ChunkedArray:
    columns = [rows.columns[role] for rows in blocks]
    text = any(role in rows.declared_text or not is_integer(rows.columns[role].dictionary).all() for rows in blocks)
    chunks = [typed_ids(each.dictionary, "string" if text else "integer")[0].take(each.indices) for each in columns]
    return pa.chunked_array(chunks, pa.string() if text else pa.int64())
