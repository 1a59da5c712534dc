"""Ratings written to a file and read back, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recsys.config import InputConfig
from recsys.ratings import ItemsFormat, Ratings, RatingsFormat, Scale, Snapshot
from recsys.read import read_ratings

STARS = Scale(0.5, 5, 0.5)


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    def make(
        ratings: Sequence[Path] = (),
        items: Sequence[Path] = (),
        *,
        scale: Scale = STARS,
        items_format: ItemsFormat | None = None,
        **form: Any,
    ) -> Snapshot:
        paths = tuple(map(str, ratings)), tuple(map(str, items))
        return Snapshot(
            "mine", *paths, RatingsFormat(**form), items_format or ItemsFormat(), scale, "0" * 64, "here", "own file"
        )

    return make


@pytest.fixture
def read(tmp_path: Path, snapshot: Callable[..., Snapshot]) -> Callable[..., Ratings]:
    """Read files of the given contents; every refused row is let through unless `config` says otherwise."""

    def run(
        *contents: str | bytes,
        config: InputConfig | None = None,
        block_bytes: int = 1 << 20,
        threads: int = 2,
        name: str = "ratings{}.csv",
        **form: Any,
    ) -> Ratings:
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / name.format(number))
            paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
        config = config or InputConfig(max_bad_fraction=1.0)
        return read_ratings(snapshot(paths, **form), config, block_bytes=block_bytes, threads=threads)

    return run
