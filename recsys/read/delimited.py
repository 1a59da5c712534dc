"""Delimited text (CSV, TSV, "::"), a block of lines at a time."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from recsys.progress import Bar
from recsys.ratings import RatingsFormat
from recsys.read import reasons
from recsys.read.layout import Layout, locate, text_blocks
from recsys.read.lines import UNIT, Lines, faults, split
from recsys.read.rows import Columns, Job, Refused, Role, Rows, shown

_ID_ROLES: tuple[Role, Role] = ("user", "item")
# Ids and ratings repeat, so their distinct texts are few and are all that has to be checked; timestamps do not.
_REPEATING = pa.dictionary(pa.int32(), pa.string())
_TYPES: Mapping[Role, pa.DataType] = {
    "user": _REPEATING, "item": _REPEATING, "rating": _REPEATING, "timestamp": pa.string()
}  # fmt: skip


def jobs(path: Path, form: RatingsFormat, columns: Columns, size: int, bar: Bar) -> Iterator[Job]:
    """The file's blocks as jobs that parse them, in order.

    Raises:
        InputRefused: a column is not there, or the file cannot be read.
    """
    positions: dict[Role, int] = {}
    for layout, block, line in text_blocks(path, form, size, bar):
        positions = positions or locate(path, layout.names, columns)
        yield partial(parse, Block(path.name, layout, positions, block, line))


@dataclass(frozen=True)
class Block:
    """Lines of one file, each with its newline.

    Attributes:
        positions: where in a line the field of each role stands.
        first_line: number in the file of the first of these lines.
    """

    file: str
    layout: Layout
    positions: Mapping[Role, int]
    text: bytes
    first_line: int


def parse(block: Block) -> Rows:
    """The block's rows; those that do not come apart into the right number of fields are among `refused`."""
    lines = Lines(block.text)
    delimiter = block.layout.delimiter
    single = lines if len(delimiter) == 1 else Lines(block.text.replace(delimiter, UNIT))
    broken = _broken(lines, single, delimiter)
    columns, miscounted = _columns(block, single.without(broken) if broken else single.block)
    place = _Place(lines, broken, miscounted)
    reasons_by_line = broken | {place.of_parser_row(row): reason for row, reason in miscounted.items()}
    refused = [_refused(block, lines, line, reason) for line, reason in sorted(reasons_by_line.items())]

    def locate(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
        at = place.of_rows(rows)
        return at + block.first_line, [shown(lines[line]) for line in at]

    return Rows(block.file, columns, refused, locate)


def _broken(lines: Lines, single: Lines, delimiter: bytes) -> dict[int, str]:
    """Lines that the parser must not see. `single` are the lines with a delimiter of one byte."""
    if single is lines:
        return faults(lines, delimiter)
    reserved = lines.at(np.flatnonzero(lines.codes == UNIT[0])) if UNIT in lines.block else ()
    return faults(single, UNIT) | {int(line): reasons.RESERVED_BYTE for line in reserved}


def _columns(block: Block, text: bytes) -> tuple[dict[Role, pa.Array], dict[int, str]]:
    """The columns by role; and the reason of each row with a wrong number of fields, by its place among all rows."""
    miscounted: dict[int, str] = {}

    def skip(row: pa.csv.InvalidRow) -> str:
        miscounted[row.number - 1] = reasons.fields(row.expected_columns, row.actual_columns)
        return "skip"

    types = {str(at): _TYPES[role] for role, at in block.positions.items()}
    if not text.strip(b"\r\n"):  # to the parser, text without a row is an error
        return {role: pa.array([], types[str(at)]) for role, at in block.positions.items()}, miscounted
    table = _read_csv(text, block.layout, types, skip)
    columns = {role: table[str(at)].combine_chunks() for role, at in block.positions.items()}
    return {role: _restored(column, block.layout.delimiter) for role, column in columns.items()}, miscounted


def _read_csv(
    text: bytes, layout: Layout, types: Mapping[str, pa.DataType], skip: Callable[[pa.csv.InvalidRow], str]
) -> pa.Table:
    """All of the text as one chunk: blank lines left out, no text taken for a null or a number."""
    delimiter = layout.delimiter if len(layout.delimiter) == 1 else UNIT
    if text.startswith(BOM_UTF8):  # not at a file's start, so part of an id; the parser would skip it
        text = b"\n" + text
    return pa.csv.read_csv(
        pa.BufferReader(text),
        read_options=pa.csv.ReadOptions(
            use_threads=False,  # the blocks are the threads' work; and rows are numbered only without
            block_size=len(text) + 1,
            column_names=[str(at) for at in range(len(layout.names))],
        ),
        parse_options=pa.csv.ParseOptions(delimiter=delimiter.decode(), invalid_row_handler=skip),
        convert_options=pa.csv.ConvertOptions(
            check_utf8=False,  # done for whole blocks by `faults`
            column_types=types,
            include_columns=list(types),
            null_values=[],
            strings_can_be_null=False,
        ),
    )


def _restored(column: pa.Array, delimiter: bytes) -> pa.Array:
    """A delimiter of several bytes inside a quoted field is put back."""
    if len(delimiter) == 1 or not pa.types.is_dictionary(column.type):
        return column
    texts = pc.replace_substring(column.dictionary, UNIT.decode(), delimiter.decode())
    return pa.DictionaryArray.from_arrays(column.indices, texts)


class _Place:
    """On which lines of the block the rows stand; worked out only when a row has to be found."""

    def __init__(self, lines: Lines, broken: Collection[int], miscounted: Collection[int]) -> None:
        self._lines, self._broken, self._miscounted = lines, list(broken), list(miscounted)

    @cached_property
    def _parser_rows(self) -> NDArray[np.int64]:
        """The lines that the parser takes for rows: neither blank nor broken."""
        content = self._lines.with_content()
        content[self._broken] = False
        return np.flatnonzero(content)

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """The lines of the rows in the columns."""
        return np.delete(self._parser_rows, self._miscounted)

    def of_parser_row(self, row: int) -> int:
        """The line of a row counted as the parser does."""
        return int(self._parser_rows[row])

    def of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lines of rows in the columns."""
        return self._rows[rows]


def _refused(block: Block, lines: Lines, line: int, reason: str) -> Refused:
    row = lines[line]
    fields = split(row, block.layout.delimiter)
    user, item = (_id_text(fields, block.positions.get(role)) for role in _ID_ROLES)
    return Refused(line + block.first_line, reason, shown(row), user, item)


def _id_text(fields: Sequence[bytes], at: int | None) -> str:
    """The id, or nothing where it cannot be read."""
    try:
        return "" if at is None else fields[at].decode()
    except (IndexError, UnicodeDecodeError):
        return ""
