"""Given (user, item) pairs, each of which is answered: so none may be left out.

What stands in them is not judged here: whether a text is an id follows from the type of the published ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from recsys.errors import InputRefused
from recsys.progress import track
from recsys.ratings import RatingsFormat
from recsys.read import delimited, parquet
from recsys.read.blocks import BLOCK_BYTES, file_bytes
from recsys.read.rows import Columns, Role, Rows

MOST_EXAMPLES = 5


def read_pairs(path: Path, form: RatingsFormat) -> pa.Table:
    """The pairs as string columns `user_id` and `item_id`, in the order of the file, repeats kept; "" is no id.

    Args:
        path: delimited text or Parquet; .gz and .zst too.
        form: how it is written; only the columns `user` and `item` are read.

    Raises:
        InputRefused: the file, a column or any row cannot be read.
        SourceUnavailable: the file is not there.
    """
    columns: Columns = {"user": form.user or "", "item": form.item}
    with track("read pairs", file_bytes(path), "bytes") as bar:
        in_parquet = parquet.is_parquet(path)
        jobs = (
            parquet.jobs(path, columns, BLOCK_BYTES, bar)
            if in_parquet
            else delimited.jobs(path, form, columns, BLOCK_BYTES, bar)
        )
        blocks = [job() for job in jobs]
    _refuse_unreadable(path, blocks)
    return pa.table({"user_id": _texts(blocks, "user"), "item_id": _texts(blocks, "item")})


def _refuse_unreadable(path: Path, blocks: Sequence[Rows]) -> None:
    wrong = [f"line {row.line}: {row.reason}" for rows in blocks for row in rows.refused]
    if wrong:
        raise InputRefused(
            f"{len(wrong):,} rows of {path.name} cannot be read.",
            expected="as many fields in every row as there are columns, in UTF-8",
            found="; ".join(wrong[:MOST_EXAMPLES]),
            todo="mend these rows or leave them out",
        )


def _texts(blocks: Sequence[Rows], role: Role) -> pa.ChunkedArray:
    return pa.chunked_array([rows.columns[role].dictionary_decode() for rows in blocks], pa.string())
