"""How own files are written, told from their first line: delimiter, header or none, and the names of the columns."""

from __future__ import annotations

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.download.hashing import BLOCK_BYTES, blocks
from recsys.errors import InputRefused

# The first that stands in the line wins: titles and genres hold "|" and ";", ids and names hardly hold the others.
DELIMITERS = ("::", "\t", ",", ";", "|")
TO_UTF8 = "write it as UTF-8, e.g. iconv -f UTF-16 -t UTF-8 IN > OUT; or give a Parquet file"
GIVE_A_TABLE = "give a CSV, TSV, '::'-separated or Parquet file; compressed text is known by .gz and .zst"


@dataclass(frozen=True)
class Header:
    """The first line of a file. `delimiter` is None for Parquet, whose `fields` are the names in its schema."""

    file: str
    fields: tuple[str, ...]
    delimiter: str | None


def read_header(path: Path) -> Header:
    """The first line that is not blank, taken apart; or the schema of a Parquet file, told by its first bytes.

    Raises:
        InputRefused: the file is empty, cannot be decompressed, or is no table.
    """
    try:
        if _is_parquet(path):
            return Header(path.name, tuple(pq.read_schema(path).names), None)
        line = _first_line(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"[:300]
        raise _refused(path, found, f"check or fetch the file again; {GIVE_A_TABLE}") from error
    if not line:
        raise _refused(path, "an empty file" if path.stat().st_size == 0 else "no line with text")
    if "\0" in line:
        raise _refused(path, f"zero bytes: {line[:40]!r}", TO_UTF8 if set(line[1:40:2]) == {"\0"} else GIVE_A_TABLE)
    if "\r" in line:
        raise _refused(path, f"a carriage return inside the line {line[:40]!r}", "end lines with a newline or CR LF")
    return _split(path, line)


def encoding_of(path: Path) -> str:
    """utf-8 where all of the text is, else latin-1: what the old MovieLens titles are written in."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with pa.input_stream(str(path)) as stream:
        try:
            for block in blocks(stream):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def is_number(field: str) -> bool:
    """Whether a field reads as a number, with a decimal comma too, so that it cannot be a column's name."""
    try:
        float(field.replace(",", "."))
    except ValueError:
        return False
    return True


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _first_line(path: Path) -> str:
    """The first line with text, among the first MiB after decompression."""
    with pa.input_stream(str(path)) as stream:
        start: bytes = stream.read(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _refused(path, "text in UTF-16, told by its byte order mark", TO_UTF8)
    lines = (line.rstrip(b"\r") for line in start.split(b"\n"))
    first = next((line for line in lines if line.strip()), b"")
    try:
        return first.decode()
    except UnicodeDecodeError:
        return first.decode("latin-1")


def _split(path: Path, line: str) -> Header:
    delimiter = next((delimiter for delimiter in DELIMITERS if delimiter in line), None)
    if delimiter == "," and ";" in line and all(map(is_number, line.split(";"))):  # 1;2;3,5
        delimiter = ";"
    if delimiter is None:
        raise _refused(path, f"one column in the line {line[:80]!r}")
    try:
        fields = next(csv.reader([line], delimiter=delimiter)) if len(delimiter) == 1 else line.split(delimiter)
    except csv.Error as error:  # a quoted field of more than 128 KiB
        raise _refused(path, f"{error}, in the line {line[:40]!r}") from error
    return Header(path.name, tuple(field.strip() for field in fields), delimiter)


def _refused(path: Path, found: str, todo: str = GIVE_A_TABLE) -> InputRefused:
    return InputRefused(f"{path} is not a table that can be read.", expected="columns", found=found, todo=todo)
