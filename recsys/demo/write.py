"""The files of the dataset, written part after part; blocks of users are made by several threads at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from recsys.compute import in_order
from recsys.config import DemoConfig
from recsys.demo.bits import Bits
from recsys.demo.catalogue import Catalogue, Circles, invent_catalogue, write_items
from recsys.demo.choose import choose_items
from recsys.demo.rate import half_stars, timestamps
from recsys.demo.users import activity, check_size, invent_users
from recsys.progress import track

ROWS_PER_PART = 2_000_000  # 50 MiB of text: a part is read in seconds, 25 million ratings are 13 files
BLOCK_ROWS = 2**17  # ratings made at once: 20 arrays of 8 bytes a draw are 40 MiB a thread
HEADER = b"userId,movieId,rating,timestamp\n"
STARS = pa.array([f"{halves / 2:.1f}" for halves in range(11)])
UNQUOTED = pa_csv.WriteOptions(include_header=False, quoting_style="none")


@dataclass(frozen=True)
class Block:
    """Consecutive users whose ratings are made together: `number`th, positions `first` ... `stop` - 1."""

    number: int
    first: int
    stop: int
    row: int  # position of its first rating among all


@dataclass(frozen=True)
class World:
    """All that the blocks have in common."""

    config: DemoConfig
    catalogue: Catalogue
    circles: Circles
    counts: NDArray[np.int64]  # (users,) ratings of each


def generate(
    config: DemoConfig, folder: Path, *, rows_per_part: int = ROWS_PER_PART, threads: int | None = None
) -> None:
    """Write ratings-00000.csv, ratings-00001.csv, ... and items.csv into `folder`.

    The bytes follow from `config`, and the cuts between the parts from `rows_per_part`; neither `threads` nor the
    machine matters. Rows are in order of user id and, for a user, of time.

    Args:
        config: users, items, ratings and seed.
        folder: an existing, empty folder; what was written stays there on failure.
        rows_per_part: ratings a part, the last one may have fewer; parts are closed as they are full.
        threads: blocks made at once; None: one a core, at most 8. Each takes some 40 MiB.

    Raises:
        UsageError: the users and items cannot have this number of ratings.
    """
    check_size(config)
    catalogue, circles = invent_catalogue(config.items, config.seed)
    write_items(catalogue, folder / "items.csv")
    world = World(config, catalogue, circles, activity(config))
    workers = threads or min(8, os.cpu_count() or 1)
    with track("demo", config.ratings, "ratings") as bar:
        for made in in_order(partial(_texts, world, rows_per_part), _blocks(world.counts), workers):
            for part, rows, text in made:
                _append(folder / f"ratings-{part:05d}.csv", text)
                bar.advance(rows)


def _blocks(counts: NDArray[np.int64]) -> Iterator[Block]:
    """Users cut where the running sum of their ratings passes a multiple of BLOCK_ROWS, the same for every machine."""
    row = np.cumsum(counts) - counts
    firsts = np.flatnonzero(np.diff(row // BLOCK_ROWS, prepend=-1))
    stops = np.append(firsts[1:], len(counts))
    for number, (first, stop) in enumerate(zip(firsts.tolist(), stops.tolist(), strict=True)):
        yield Block(number, first, stop, int(row[first]))


def _ratings(world: World, block: Block) -> pa.Table:
    """The rows of a block, made of a stream of random bits of its own."""
    bits = Bits(world.config.seed, 2, block.number)
    users = invent_users(bits, world.counts[block.first : block.stop], world.circles)
    owner = np.repeat(np.arange(len(users.counts)), users.counts)
    item = choose_items(bits, users, world.circles)
    halves = half_stars(bits, users, world.catalogue, owner, item)
    columns = (owner + (block.first + 1), item + 1, STARS.take(pa.array(halves)), timestamps(bits, users))
    return pa.table(dict(zip(("userId", "movieId", "rating", "timestamp"), columns, strict=True)))


def _texts(world: World, rows_per_part: int, block: Block) -> list[tuple[int, int, pa.Buffer]]:
    """Pieces of a block: (number of the part, rows, text); more than one where a part ends within the block."""
    table = _ratings(world, block)
    pieces, done = [], 0
    while done < len(table):
        part, place = divmod(block.row + done, rows_per_part)
        piece = table.slice(done, rows_per_part - place)
        pieces.append((part, len(piece), _csv(piece, header=place == 0)))
        done += len(piece)
    return pieces


def _csv(table: pa.Table, header: bool) -> pa.Buffer:
    """Lines of text; ratings as MovieLens writes them, "4.0"."""
    sink = pa.BufferOutputStream()
    if header:
        sink.write(HEADER)
    pa_csv.write_csv(table, sink, UNQUOTED)
    return sink.getvalue()


def _append(path: Path, text: pa.Buffer) -> None:
    with path.open("ab") as file:
        file.write(text)
