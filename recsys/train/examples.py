"""Where a training takes its examples from: arrays in memory, or Parquet shards where they are larger than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Columns = tuple[NDArray, ...]


class Examples(Protocol):
    """Examples in parts that fit in memory; a row of the columns is an example."""

    @property
    def sizes(self) -> list[int]:
        """Examples of each part."""

    def part(self, number: int) -> Columns:
        """The columns of one part, of equal length."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """All examples as one part."""

    columns: Columns

    @property
    def sizes(self) -> list[int]:
        """One part."""
        return [len(self.columns[0])]

    def part(self, number: int) -> Columns:
        """The columns as they are."""
        return self.columns


@dataclass(frozen=True)
class ParquetShards:
    """A folder of Parquet files, each a part; only one is held at a time. Written by `write_shards`.

    Examples are shuffled within a shard and shards among each other, so rows should be spread over shards at random.
    """

    folder: Path
    names: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """From the files' footers."""
        return [pq.read_metadata(file).num_rows for file in self._files()]

    def part(self, number: int) -> Columns:
        """One file's columns."""
        table = pq.read_table(self._files()[number], columns=list(self.names))
        return tuple(table[name].to_numpy() for name in self.names)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))


def write_shards(
    folder: Path, names: Sequence[str], columns: Columns, rows: int, seed: int, block: int = 1 << 22
) -> ParquetShards:
    """Spread examples over shards at random, reading the columns (they may be memory-mapped) block by block.

    Args:
        folder: made here; must not exist.
        columns: equally long, one a name.
        rows: about how many examples a shard shall hold.
        block: examples read at a time.
    """
    folder.mkdir(parents=True)
    n = len(columns[0])
    n_shards = max(1, round(n / rows))
    schema = pa.schema([(name, pa.from_numpy_dtype(column.dtype)) for name, column in zip(names, columns, strict=True)])
    files = [pq.ParquetWriter(folder / f"part-{shard:05d}.parquet", schema) for shard in range(n_shards)]
    draw = np.random.default_rng(seed)
    try:
        for start in range(0, n, block):
            read = [np.asarray(column[start : start + block]) for column in columns]
            shard = draw.integers(0, n_shards, len(read[0]))
            for number, file in enumerate(files):
                mine = shard == number
                file.write_table(pa.table([pa.array(column[mine]) for column in read], schema=schema))
    finally:
        for file in files:
            file.close()
    return ParquetShards(folder, tuple(names))
