"""What the tests of preparation share: ratings from plain triples, and the independent readers of real archives."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys.config import ComputeConfig, PrepareConfig
from recsys.prepare.prepared import Prepared
from recsys.prepare.write import write_prepared
from recsys.ratings import Ratings, Scale
from recsys.read.stream import Stream
from recsys.tables import QUARANTINE

# user_id, item_id, rating. Overall mean 3; item means +1, 0, -1; user means 1/2, 1/3, -1, 0.
TABLE = (
    (10, 1, 5.0), (10, 2, 3.0),
    (20, 1, 4.0), (20, 2, 3.0), (20, 3, 3.0),
    (30, 1, 3.0), (30, 3, 1.0),
    (40, 3, 2.0),
)  # fmt: skip


def build_ratings(
    triples: Sequence[tuple[Any, Any, float]],
    timestamps: Sequence[int] | None = None,
    seen: Sequence[tuple[Any, Any]] = (),
    refused: int = 0,
) -> Ratings:
    """Ratings as `recsys.read` would hand them on."""
    users, items = sorted({user for user, _, _ in triples}), sorted({item for _, item, _ in triples})
    user_at, item_at = {u: i for i, u in enumerate(users)}, {m: i for i, m in enumerate(items)}
    rows = [("ratings.csv", line, "no such rating", f"{line}") for line in range(1, refused + 1)]
    return Ratings(
        user_ids=pa.array(users),
        item_ids=pa.array(items),
        user_index=np.array([user_at[user] for user, _, _ in triples], np.int32),
        item_index=np.array([item_at[item] for _, item, _ in triples], np.int32),
        rating=np.array([rating for _, _, rating in triples], np.float32),
        timestamp=None if timestamps is None else np.array(timestamps, np.int64),
        seen_user_index=np.array([user_at[user] for user, _ in seen], np.int32),
        seen_item_index=np.array([item_at[item] for _, item in seen], np.int32),
        quarantine=pa.Table.from_pylist(
            [dict(zip(QUARANTINE.names, row, strict=True)) for row in rows], schema=QUARANTINE
        ),
        rows_read=len(triples) + refused,
        repeated=0,
    )


def titles(item_ids: pa.Array) -> pa.Table:
    """What `recsys.read.read_items` gives."""
    return pa.table(
        {
            "item_id": item_ids,
            "title": pa.array([f"title of {item}" for item in item_ids.to_pylist()]),
            "genres": pa.array([["drama"]] * len(item_ids), pa.list_(pa.string())),
        }
    )


def build_folder(
    folder: Path,
    ratings: Ratings | Stream,
    test: Ratings | Stream | None = None,
    *,
    top_items: int = 0,
    scale: Scale = Scale(),  # noqa: B008
    seed: int = 1,
    compute: ComputeConfig = ComputeConfig(threads=1),  # noqa: B008
    **config: Any,
) -> Prepared:
    """Write a prepared folder; `config` are fields of PrepareConfig."""
    own, held = (each if isinstance(each, Stream | None) else Stream.of(each) for each in (ratings, test))
    assert own is not None
    write_prepared(
        folder, own, held, titles=titles, config=PrepareConfig(**config), top_items=top_items, scale=scale, seed=seed,
        compute=compute,
    )  # fmt: skip
    return Prepared(folder)


@pytest.fixture(scope="session")
def write_folder() -> Callable[..., Prepared]:
    """`build_folder`."""
    return build_folder


@pytest.fixture(scope="session")
def make_ratings() -> Callable[..., Ratings]:
    """(triples, timestamps, seen pairs, number of refused rows) -> Ratings."""
    return build_ratings


@pytest.fixture(scope="session")
def table() -> tuple[tuple[int, int, float], ...]:
    """The hand-computed 4 x 3 table as (user_id, item_id, rating)."""
    return TABLE


@pytest.fixture(scope="session")
def ratings(make_ratings: Callable[..., Ratings]) -> Ratings:
    """The hand-computed 4 x 3 table."""
    return make_ratings(TABLE)


@pytest.fixture(scope="session")
def from_frame() -> Callable[[pd.DataFrame], Ratings]:
    """A frame of user_id, item_id, rating, timestamp -> Ratings, by pandas alone."""

    def build(frame: pd.DataFrame) -> Ratings:
        user, users = pd.factorize(frame["user_id"], sort=True)
        item, items = pd.factorize(frame["item_id"], sort=True)
        nothing = np.empty(0, np.int32)
        return Ratings(
            pa.array(np.asarray(users)), pa.array(np.asarray(items)), user.astype(np.int32), item.astype(np.int32),
            frame["rating"].to_numpy(np.float32), frame["timestamp"].to_numpy(np.int64), nothing, nothing,
            QUARANTINE.empty_table(), len(frame), 0,
        )  # fmt: skip

    return build


@pytest.fixture(scope="session")
def archives() -> ModuleType:
    """tests/acceptance/readers.py: MovieLens archives as frames, skipping where they are absent."""
    path = Path(__file__).parents[2] / "acceptance" / "readers.py"
    name = "acceptance_readers"  # the name that tests/acceptance gives it: loaded once
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
