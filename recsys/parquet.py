"""Published tables as Parquet: explicit schema, zstd, run metadata, even parts, row groups that can be skipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import UsageError

PART_BYTES = 128 << 20  # aim of a part; even parts then hold 85 to 192 MB, inside the contract's 64 to 256
ROW_GROUP_ROWS = 1 << 17  # 131,072 rows of a list are about 1.5 MB: a reader of one user reads little else


def write_parts(
    folder: Path,
    schema: pa.Schema,
    batches: Iterable[pa.Table],
    *,
    total_rows: int,
    metadata: Mapping[str, str],
) -> int:
    """Stream tables into `folder/part-*.parquet`, a row group each; returns the number of rows.

    The number of parts follows from the first row group's bytes a row, so that equal tables give equal parts.

    Args:
        folder: made here where it does not exist.
        batches: tables of that schema, in the order of the table's sort; empty ones are left out.
        total_rows: about how many rows will come, for the size of the parts.
        metadata: key-value metadata of every part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamped = schema.with_metadata({key: value.encode() for key, value in metadata.items()})
    writer = _PartWriter(folder, stamped, total_rows)
    try:
        for batch in batches:
            if batch.num_rows:
                writer.write(batch)
        if not writer.parts:
            writer.open()  # a file with the schema and no row group
    finally:
        writer.close()
    return writer.rows


def write_batches(file: Path, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Stream tables into one file of a run's own, a row group each."""
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(batch.cast(schema), row_group_size=ROW_GROUP_ROWS)


def row_groups(file: Path) -> Iterator[pa.Table]:
    """The row groups of a file, each read by itself."""
    with pq.ParquetFile(file) as opened:
        for place in range(opened.num_row_groups):
            yield opened.read_row_group(place)


class _PartWriter:
    def __init__(self, folder: Path, schema: pa.Schema, total_rows: int) -> None:
        self.folder, self.schema, self.total_rows = folder, schema, total_rows
        self.rows = self.parts = self.n_parts = 0
        self.writer: pq.ParquetWriter | None = None

    def write(self, batch: pa.Table) -> None:
        writer = self.writer or self.open()
        writer.write_table(batch.cast(self.schema), row_group_size=ROW_GROUP_ROWS)
        self.rows += batch.num_rows
        self.n_parts = self.n_parts or self._plan(batch.num_rows)
        # Compared with the share of all rows, so that what one part has too much is not lacking in the last.
        if self.rows * self.n_parts >= self.parts * self.total_rows and self.rows < self.total_rows:
            self.close()

    def open(self) -> pq.ParquetWriter:
        path = self.folder / f"part-{self.parts:05d}.parquet"
        self.writer = pq.ParquetWriter(path, self.schema, compression="zstd", write_statistics=True)
        self.parts += 1
        return self.writer

    def _plan(self, rows: int) -> int:
        """Number of parts, so that each is near `PART_BYTES`."""
        written = (self.folder / "part-00000.parquet").stat().st_size
        return max(1, round(written / max(rows, 1) * self.total_rows / PART_BYTES))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def write_file(table: pa.Table, out: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write one file of a person's own choice; it appears whole or not at all, what stood there stays until then.

    Raises:
        UsageError: it cannot be written.
    """
    fresh = out.parent / f".{out.name}.new"
    described = table.replace_schema_metadata(dict(metadata or {}))
    try:
        pq.write_table(described, fresh, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        fresh.replace(out)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written.",
            expected="a file in a folder that is there and that this user may write to",
            found=str(error),
            todo="choose another with --out",
        ) from error
    finally:
        with suppress(OSError):  # the first failure is the one to tell
            fresh.unlink(missing_ok=True)
