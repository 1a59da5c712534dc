"""Tables that rules look at: read whole, each column in one of a few types, blanks and NaN as null."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from recsys.errors import UsageError, sample
from recsys.ratings import IdType
from recsys.read.ids import is_blank, typed_ids
from recsys.read.values import trimmed

DELIMITERS = ("\t", ";", ",")  # the first that stands in the header; a header of one name has none
GENRES = pa.list_(pa.string())
VECTOR = pa.list_(pa.float64())


def column_names(path: Path) -> list[str]:
    """The columns of a table.

    Raises:
        UsageError: it is not there, or is no Parquet, CSV or TSV file with a header.
    """
    try:
        if _is_parquet(path):
            return list(pq.read_schema(path).names)
        header = _header(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return [name.strip().strip('"') for name in header.split(_delimiter(header))]


def read_columns(path: Path, names: list[str]) -> pa.Table:
    """These columns, as they stand in the file: text in CSV.

    Raises:
        UsageError: it cannot be read, or has not one column of each name.
    """
    there = column_names(path)
    wrong = [name for name in names if there.count(name) != 1]
    if wrong:
        raise UsageError(
            f"The table {path} of the rules has not one column {wrong[0]!r}.",
            expected=f"columns {sample(names)}",
            found=f"columns {sample(there, 20)}",
            todo="mend the table, or the name in the rules file",
        )
    try:
        return pq.read_table(path, columns=names, partitioning=None) if _is_parquet(path) else _text(path, names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_ids(path: Path, column: str, kind: IdType) -> tuple[pa.Array, int]:
    """The distinct ids of a column in their type, and how many entries are none of that type.

    Raises:
        UsageError: as `read_columns`.
    """
    ids, fit = _ids(read_columns(path, [column])[column], kind)
    return ids.filter(pa.array(fit)).unique(), int(np.count_nonzero(~fit))


def read_by_id(path: Path, id_column: str, names: list[str], kind: IdType, known: pa.Array) -> pa.Table:
    """Columns of a table in the order of `known` ids, null where an id has no row.

    Raises:
        UsageError: as `read_columns`; an id stands twice, or a column is of a type that nothing can be compared with.
    """
    table = read_columns(path, list(dict.fromkeys([id_column, *names])))
    ids, fit = _ids(table[id_column], kind)
    rows = pa.array(np.flatnonzero(fit))
    ids = ids.take(rows)
    if len(ids.unique()) < len(ids):
        counts = pc.value_counts(ids)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
        raise UsageError(
            f"In the table {path} of the rules an id has more than one row.",
            expected=f"one row a {id_column}",
            found=f"{len(twice):,} ids with several: {sample(twice[:5].to_pylist())}",
            todo="leave one row of each: which of them should count is not for a program to guess",
        )
    at = pc.take(rows, pc.index_in(known, value_set=ids))
    return pa.table({name: plain(table[name].combine_chunks(), name, path).take(at) for name in names})


def plain(column: pa.Array, name: str, path: object) -> pa.Array:
    """A column in one of: bool, int64, float64, date32, string, lists of strings, lists of float64.

    Text becomes what all of it reads as: whole numbers, numbers, dates (2026-11-21), true and false; blanks are null.

    Raises:
        UsageError: it is of another type.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind):
        return _read(column.cast(pa.string()))
    target = _target(kind)
    if target is None:
        raise UsageError(
            f"The column {name!r} of {path} is of the type {kind}, which no rule can look at.",
            expected="numbers, texts, dates, true and false, lists of texts or of numbers",
            found=str(kind),
            todo="convert the column",
        )
    if pa.types.is_timestamp(kind):  # the day in UTC
        column = column.cast(pa.timestamp("us"), safe=False)
    column = column.cast(target, safe=not pa.types.is_timestamp(kind))
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(target) else column


def _target(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        of = kind.value_type
        if _is_text(of):
            return GENRES
        return VECTOR if pa.types.is_floating(of) or pa.types.is_integer(of) else None
    checks = (
        (pa.types.is_boolean, pa.bool_()), (pa.types.is_integer, pa.int64()), (pa.types.is_floating, pa.float64()),
        (pa.types.is_decimal, pa.float64()), (pa.types.is_date, pa.date32()), (pa.types.is_timestamp, pa.date32()),
        (pa.types.is_null, pa.string()),
    )  # fmt: skip
    return next((target for check, target in checks if check(kind)), None)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read(texts: pa.Array) -> pa.Array:
    texts = trimmed(texts)
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    if texts.null_count == len(texts):
        return texts
    for target in (pa.int64(), pa.float64(), pa.date32(), pa.bool_()):
        try:
            found = texts.cast(target)
        except pa.ArrowInvalid:
            continue
        return pc.if_else(pc.is_nan(found), None, found) if pa.types.is_floating(target) else found
    return texts


def _ids(column: pa.ChunkedArray, kind: IdType) -> tuple[pa.Array, np.ndarray]:
    texts = pc.fill_null(column.combine_chunks().cast(pa.string()), "")
    ids, fit = typed_ids(texts, kind)
    return ids, fit & ~is_blank(texts)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _header(path: Path) -> str:
    with pa.input_stream(str(path)) as stream:
        line: bytes = stream.read(1 << 20).removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n").partition(b"\n")[0]
    if not line.strip():
        raise ValueError("no header")
    return line.decode().strip("\r")


def _delimiter(header: str) -> str:
    return next((delimiter for delimiter in DELIMITERS if delimiter in header), ",")


def _text(path: Path, names: list[str]) -> pa.Table:
    with pa.input_stream(str(path)) as stream:
        return pa_csv.read_csv(
            stream,
            parse_options=pa_csv.ParseOptions(delimiter=_delimiter(_header(path))),
            convert_options=pa_csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string()), null_values=[""],
                strings_can_be_null=True,
            ),
        )  # fmt: skip


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"The table {path} of the rules cannot be read.",
        expected="a Parquet file, or CSV or TSV in UTF-8 with a header",
        found=f"{type(error).__name__}: {error}"[:300],
        todo="mend the file, or its path in the rules file",
    )
