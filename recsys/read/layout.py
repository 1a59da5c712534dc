"""How the lines of a delimited file are to be read: its columns, its delimiter, its encoding, its first row."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recsys.errors import InputRefused, UsageError, sample
from recsys.progress import Bar
from recsys.ratings import ItemsFormat, RatingsFormat
from recsys.read.blocks import read_blocks
from recsys.read.lines import split

_Key = TypeVar("_Key", bound=str)


@dataclass(frozen=True)
class Layout:
    """How the lines of one file are to be read: its column names in their order, and what separates them."""

    names: tuple[str, ...]
    delimiter: bytes
    encoding: str


def text_blocks(
    path: Path, form: RatingsFormat | ItemsFormat, size: int, bar: Bar
) -> Iterator[tuple[Layout, bytes, int]]:
    """The file's rows as UTF-8 blocks of lines, each with the number of its first line; the header is taken off.

    A file with a header gives at least one block, which may be empty; a file of blank lines gives none.
    """
    delimiter, encoding = _checked(form)
    layout = Layout(form.columns, delimiter, encoding) if form.columns is not None else None
    line = 1
    for number, block in enumerate(read_blocks(path, size, bar)):
        data = _as_utf8(_without_mark(path, block) if number == 0 else block, encoding)
        if layout is None:
            header, data, skipped = _header(data)
            line += skipped
            layout = Layout(_names(header, delimiter), delimiter, encoding) if header else None
        if layout is not None:
            yield layout, data, line
            line += data.count(b"\n")


def locate(path: Path, names: Sequence[str], columns: Mapping[_Key, str]) -> dict[_Key, int]:
    """The position of each column.

    Raises:
        InputRefused: a name is not there, or stands there twice.
    """
    asked = list(columns.values())
    wrong = [name for name in asked if names.count(name) != 1 or asked.count(name) != 1]
    if wrong:
        raise InputRefused(
            f"{path.name} has not one column of each name: {sample(wrong)}.",
            expected=f"different columns {sample(asked)}",
            found=f"columns {sample(names, 20)}",
            todo="name the columns with --columns user=...,item=...,rating=..., or check the file's delimiter",
        )
    return {role: names.index(name) for role, name in columns.items()}


def _checked(form: RatingsFormat | ItemsFormat) -> tuple[bytes, str]:
    """The delimiter as bytes, and the encoding's own name.

    Raises:
        UsageError: a delimiter or an encoding that cannot be read line by line.
    """
    delimiter = form.delimiter.encode()
    if not delimiter or set(delimiter) & set(b'\r\n"') or delimiter == b"\0":
        raise UsageError(f"{form.delimiter!r} cannot separate fields.", expected="a short string such as ',' or '::'")
    try:
        encoding = codecs.lookup(form.encoding).name
    except LookupError as error:
        raise UsageError(f"The encoding {form.encoding!r} is not known.", expected="utf-8, latin-1, ...") from error
    if encoding.startswith(("utf-16", "utf-32", "utf-7")):
        raise UsageError(f"The encoding {form.encoding!r} is not read.", todo="convert the file to UTF-8")
    return delimiter, encoding


def _without_mark(path: Path, block: bytes) -> bytes:
    """Without the byte order mark that may begin a file."""
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputRefused(
            f"{path.name} is UTF-16.", expected="UTF-8", found=repr(block[:20]), todo="convert the file to UTF-8"
        )
    return block.removeprefix(codecs.BOM_UTF8)


def _as_utf8(block: bytes, encoding: str) -> bytes:
    """Bytes that the encoding does not know stay as they are: they are no UTF-8 and are refused with their line."""
    if encoding in ("utf-8", "utf-8-sig", "ascii"):
        return block
    return block.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")


def _header(block: bytes) -> tuple[bytes, bytes, int]:
    """The first line that is not blank, what follows it, and how many lines were taken."""
    taken, header = 0, b""
    while block and not header:
        header, _, block = block.partition(b"\n")
        header = header.removesuffix(b"\r")
        taken += 1
    return header, block, taken


def _names(header: bytes, delimiter: bytes) -> tuple[str, ...]:
    return tuple(field.decode("utf-8", "backslashreplace").strip() for field in split(header, delimiter))
