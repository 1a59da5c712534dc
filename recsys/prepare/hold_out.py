"""Which ratings are held out: user by user where a user's own ratings decide it, else when all are sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.config import PrepareConfig
from recsys.errors import InputRefused
from recsys.prepare.arrays import ArrayWriter, read_array
from recsys.prepare.draws import Draws
from recsys.prepare.given_holdout import Joined
from recsys.prepare.shuffle import Bucket
from recsys.prepare.split import Mask, leave_last_split, per_user_split, random_split, time_split

Pieces = Sequence[tuple[int, int]]  # consecutive ratings, from the first to the one beyond the last


def by_user(joined: Joined, config: PrepareConfig, seed: int) -> Callable[[Bucket], Mask] | None:
    """What marks the hold-out of a bucket: the one given, else one drawn; None where `write_of_all` has to.

    Raises:
        InputRefused: the split needs timestamps and the input has none.
    """
    if joined.given:
        return lambda bucket: bucket.row >= joined.own
    if config.split in ("leave-last", "time") and not joined.timed:
        raise _no_timestamps(config.split)
    if config.split == "leave-last":
        return lambda bucket: leave_last_split(bucket.indptr, bucket.timestamp, bucket.row)  # type: ignore[no-any-return]
    if config.split == "per-user":
        draws, share = Draws.of(joined.ids, seed), config.test_fraction
        return lambda bucket: per_user_split(bucket.indptr, bucket.item_index, draws, bucket.users.start, share)
    return None


def write_of_all(
    folder: Path, rows: Path, dropped: NDArray[np.int64], pieces: Pieces, config: PrepareConfig, seed: int
) -> None:
    """Write held_out.npy where the split draws from all ratings together.

    Args:
        rows: an array file, each rating's place in the input, repeats counted.
        dropped: the places of the repeats that do not stand, ascending.
        pieces: all ratings, as many at a time as memory has room for.
    """
    masks = _random if config.split == "random" else _latest
    with ArrayWriter(folder / "held_out.npy", np.bool_) as file:
        for mask in masks(folder, rows, dropped, pieces, config, seed):
            file.append(mask)


def _random(
    folder: Path, rows: Path, dropped: NDArray[np.int64], pieces: Pieces, config: PrepareConfig, seed: int
) -> Iterator[Mask]:
    mask = random_split(pieces[-1][1], config.test_fraction, seed)
    for piece in pieces:
        row = read_array(rows, *piece)
        yield mask[row - np.searchsorted(dropped, row)]


def _latest(
    folder: Path, rows: Path, dropped: NDArray[np.int64], pieces: Pieces, config: PrepareConfig, seed: int
) -> Iterator[Mask]:
    def both() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return ((read_array(folder / "timestamp.npy", *piece), read_array(rows, *piece)) for piece in pieces)

    time, first = time_split(both, pieces[-1][1], config.test_fraction)
    return ((at > time) | ((at == time) & (row >= first)) for at, row in both())


def _no_timestamps(split: str) -> InputRefused:
    return InputRefused(
        f"The split {split!r} orders ratings in time and the input has no timestamps.",
        expected="a timestamp column",
        found="none",
        todo="name it with --columns timestamp=NAME, or choose --split per-user or random",
    )
