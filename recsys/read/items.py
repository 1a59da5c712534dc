"""Titles and genres. They are decoration: a row that cannot be read is left out, and the night goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import InputRefused, SourceUnavailable
from recsys.progress import track
from recsys.ratings import IdType, ItemsFormat, Snapshot
from recsys.read.blocks import BLOCK_BYTES, file_bytes, readable
from recsys.read.ids import typed_ids
from recsys.read.layout import Layout, locate, text_blocks
from recsys.read.lines import split
from recsys.read.parquet import is_parquet

log = logging.getLogger(__name__)

GENRE_SEPARATOR = "|"
NO_GENRES = "(no genres listed)"  # MovieLens' words for an empty list

Row = dict[str, Any]  # the fields that are asked for, by column name; None or text in delimited files


def read_items(snapshot: Snapshot, item_ids: pa.Array) -> pa.Table:
    """What is known of each item, one row an id, in the order of `item_ids`.

    Columns: `item_id`, of the type of `item_ids`; `title`, string, null where it is not known; `genres`, list of
    string, null where they are not known and empty where the file says that there are none. Where an item stands
    twice the first row counts. Rows that cannot be read are counted in one warning a file.

    Raises:
        InputRefused: an items file is not there, cannot be read, or has no columns of the names given.
    """
    kind: IdType = "integer" if pa.types.is_integer(item_ids.type) else "string"
    known: dict[Any, tuple[str | None, list[str] | None]] = {}
    for path in map(Path, snapshot.items):
        for item_id, row in _typed(path, snapshot.items_format, kind):
            known.setdefault(item_id, (_title(row, snapshot.items_format), _genres(row, snapshot.items_format)))
    found = [known.get(item_id, (None, None)) for item_id in item_ids.to_pylist()]
    titles, genres = [title for title, _ in found], [genres for _, genres in found]
    return pa.table(
        {"item_id": item_ids, "title": pa.array(titles, pa.string()), "genres": pa.array(genres, pa.list_(pa.string()))}
    )


def read_item_texts(snapshot: Snapshot, item_ids: pa.Array, names: Sequence[str]) -> dict[str, pa.Array]:
    """Further columns of the items file by their names, as text in the order of `item_ids`, null where there is none.

    As in `read_items` the first row of an item counts.

    Raises:
        InputRefused: as `read_items`.
    """
    kind: IdType = "integer" if pa.types.is_integer(item_ids.type) else "string"
    found = {}
    for name in names:
        form, texts = replace(snapshot.items_format, title=name, genres=None, genre_flags=()), dict[Any, str | None]()
        for path in map(Path, snapshot.items):
            for item_id, row in _typed(path, form, kind):
                texts.setdefault(item_id, _joined(row[name]).strip() or None)
        found[name] = pa.array(map(texts.get, item_ids.to_pylist()), pa.string())
    return found


def _typed(path: Path, form: ItemsFormat, kind: IdType) -> Iterator[tuple[Any, Row]]:
    """The rows that can be read, with their typed ids; the others are counted in a warning."""
    rows = _rows(path, form)
    readable_rows = [row for row in rows if row is not None]
    texts = pa.array([_text(row[form.item]) for row in readable_rows], pa.string())
    ids, fit = typed_ids(texts, kind)
    if skipped := len(rows) - int(fit.sum()):
        log.warning("%s: %s of %s rows left out, they cannot be read", path.name, f"{skipped:,}", f"{len(rows):,}")
    return ((item_id, row) for item_id, row, good in zip(ids.to_pylist(), readable_rows, fit, strict=True) if good)


def _rows(path: Path, form: ItemsFormat) -> list[Row | None]:
    try:
        return _parquet_rows(path, form) if is_parquet(path) else _delimited_rows(path, form)
    except SourceUnavailable as error:
        raise InputRefused(
            f"The items file {path} is not there.", todo="check --items, or leave it out: titles are optional"
        ) from error


def _wanted(path: Path, names: tuple[str, ...], form: ItemsFormat) -> Mapping[str, int]:
    """Positions of the columns to read; genres may be absent."""
    flags = [flag for flag in form.genre_flags if flag in names]
    genres = [form.genres] if form.genres in names else []
    return locate(path, names, {name: name for name in (form.item, form.title, *genres, *flags) if name})


def _delimited_rows(path: Path, form: ItemsFormat) -> list[Row | None]:
    rows: list[Row | None] = []
    with track("read items", file_bytes(path), "bytes") as bar:
        for layout, block, _ in text_blocks(path, form, BLOCK_BYTES, bar):
            wanted = _wanted(path, layout.names, form)
            rows += [_row(line.removesuffix(b"\r"), layout, wanted) for line in block.split(b"\n") if line.strip()]
    return rows


def _row(line: bytes, layout: Layout, wanted: Mapping[str, int]) -> Row | None:
    """The fields, or None where the line does not come apart into them."""
    fields = split(line, layout.delimiter)
    if len(fields) != len(layout.names):
        fields = line.split(layout.delimiter)  # quotes as part of a title, which delimiters such as "|" allow
    try:
        return {name: fields[at].decode() for name, at in wanted.items()} if len(fields) == len(layout.names) else None
    except UnicodeDecodeError:
        return None


def _parquet_rows(path: Path, form: ItemsFormat) -> list[Row | None]:
    with readable(path), pq.ParquetFile(path) as file:
        wanted = _wanted(path, tuple(file.schema_arrow.names), form)
        rows: list[Row | None] = file.read(columns=list(wanted)).to_pylist()
    return rows


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _joined(value: object) -> str:
    """As text; the entries of a list between "|", as genres are written."""
    return GENRE_SEPARATOR.join(map(_text, value)) if isinstance(value, list) else _text(value)


def _title(row: Row, form: ItemsFormat) -> str | None:
    return _text(row[form.title]).strip() or None


def _genres(row: Row, form: ItemsFormat) -> list[str] | None:
    if form.genre_flags:
        return [flag for flag in form.genre_flags if _text(row.get(flag)).strip() in ("1", "1.0", "True")]
    value = row.get(form.genres) if form.genres else None
    if value is None or isinstance(value, list):
        return value
    return [genre for genre in map(str.strip, str(value).split(GENRE_SEPARATOR)) if genre not in ("", NO_GENRES)]
