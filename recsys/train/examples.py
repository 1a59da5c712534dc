"""Where a training takes its examples from: arrays in memory, or Parquet shards where they are larger than that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    folder: Path, names: Sequence[str], blocks: Iterable[Columns], n_shards: int, seed: int
) -> ParquetShards:
    """Spread examples over shards at random, a block of them in memory at a time.

    Args:
        folder: made here; must not exist.
        names: of the columns.
        blocks: columns of equal length, one a name; at least one block.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    files: list[pq.ParquetWriter] = []
    try:
        for columns in blocks:
            shard = draw.integers(0, n_shards, len(columns[0]))
            table = pa.table(list(columns), names=list(names))
            if not files:
                paths = (folder / f"part-{number:05d}.parquet" for number in range(n_shards))
                files = [pq.ParquetWriter(path, table.schema) for path in paths]
            for number, file in enumerate(files):
                file.write_table(table.filter(pa.array(shard == number)))
    finally:
        for file in files:
            file.close()
    return ParquetShards(folder, tuple(names))
