"""Parquet files, a batch of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import InputRefused
from recsys.progress import Bar
from recsys.read.blocks import file_bytes, readable
from recsys.read.layout import locate
from recsys.read.rows import MAX_TEXT, Columns, Job, Role, Rows

ROW_BYTES = 32  # two ids, a rating and a timestamp of 8 bytes each: turns a block's bytes into a batch's rows


def is_parquet(path: Path) -> bool:
    """By the file's name, or by its first four bytes."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    with readable(path), path.open("rb") as file:
        return file.read(4) == b"PAR1"


def jobs(path: Path, columns: Columns, size: int, bar: Bar) -> Iterator[Job]:
    """The file's rows in batches of about `size` bytes, as jobs that check their types, in order.

    Raises:
        InputRefused: a column is not there or of no usable type, or the file cannot be read.
    """
    with readable(path), pq.ParquetFile(path) as file:
        locate(path, file.schema_arrow.names, columns)
        first, share = 1, file_bytes(path) / max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(max(size // ROW_BYTES, 1), columns=list(columns.values())):
            bar.advance(int(share * batch.num_rows))
            yield partial(Batch(path, columns, batch, first).rows)
            first += batch.num_rows


@dataclass(frozen=True)
class Batch:
    """Rows of a Parquet file; `first` is the number in the file of the first, from 1."""

    path: Path
    columns: Columns
    batch: pa.RecordBatch
    first: int

    def rows(self) -> Rows:
        """The rows in the types that checking expects.

        Raises:
            InputRefused: a column is of no usable type.
        """
        columns = {role: self._column(role, self.batch[name]) for role, name in self.columns.items()}
        text = (role for role, name in self.columns.items() if _is_text(_of_values(self.batch[name].type)))
        return Rows(self.path.name, columns, [], self._locate, frozenset(text))

    def _column(self, role: Role, column: pa.Array) -> pa.Array:
        try:
            return _CONVERT[role](column)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputRefused(
                f"The column {self.columns[role]!r} of {self.path.name} is of the type {column.type}.",
                expected=_EXPECTED[role],
                found=str(error)[:200],
                todo="convert the column, or name another one with --columns",
            ) from error

    def _locate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
        taken = self.batch.take(pa.array(rows))
        fields = [_shown(taken[name]).to_pylist() for name in self.columns.values()]
        return rows + self.first, [",".join(row)[:MAX_TEXT] for row in zip(*fields, strict=True)]


def _shown(column: pa.Array) -> pa.Array:
    """As strings for a person, nulls empty, moments in UTC."""
    column = _plain(column)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp(column.type.unit))
    return pc.fill_null(_texts(column) if _is_text(column.type) else column.cast(pa.string()), "")


def _of_values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )  # fmt: skip


def _plain(column: pa.Array) -> pa.Array:
    """Dictionaries are unpacked: their entries may repeat or be unused."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _texts(values: pa.Array) -> pa.Array:
    r"""As strings that are UTF-8; other bytes as \xNN, which no integer and hardly an id looks like."""
    try:
        return values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary()).to_pylist()
        return pa.array([None if value is None else value.decode("utf-8", "backslashreplace") for value in raw])


def _ids(column: pa.Array) -> pa.Array:
    encoded = _plain(column).dictionary_encode(null_encoding="encode")
    return pa.DictionaryArray.from_arrays(encoded.indices, pc.fill_null(_id_texts(encoded.dictionary), ""))


def _id_texts(values: pa.Array) -> pa.Array:
    """Ids as the CSV of the same table has them; floats as Python and pandas write them, NaN as null."""
    kind = values.type
    if _is_text(kind):
        return _texts(values)
    if pa.types.is_floating(kind):
        numbers = values.cast(pa.float64()).to_pylist()
        return pa.array([None if x is None or math.isnan(x) else repr(x) for x in numbers], pa.string())
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        raise pa.ArrowTypeError(f"{kind} is neither a number nor a string")
    return values.cast(pa.string())


def _ratings(column: pa.Array) -> pa.Array:
    column = _plain(column)
    values = _texts(column) if _is_text(column.type) else column.cast(pa.float64())
    return values.dictionary_encode(null_encoding="encode")


def _timestamps(column: pa.Array) -> pa.Array:
    """Strings and floats as they are; all else in seconds since 1970 UTC, fractions cut."""
    column = _plain(column)
    if _is_text(column.type):
        return _texts(column)
    if pa.types.is_floating(column.type):
        return column.cast(pa.float64())
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        return pc.divide(column.cast(pa.int64()), _TICKS[column.type.unit])
    if not (pa.types.is_integer(column.type) or pa.types.is_decimal(column.type) or pa.types.is_null(column.type)):
        raise pa.ArrowTypeError(f"{column.type} is no time")
    return column.cast(pa.int64())


_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_CONVERT = {"user": _ids, "item": _ids, "rating": _ratings, "timestamp": _timestamps}
_EXPECTED = {
    "user": "whole numbers or strings", "item": "whole numbers or strings", "rating": "numbers",
    "timestamp": "seconds since 1970, timestamps or ISO-8601 strings",
}  # fmt: skip
