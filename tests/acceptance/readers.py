"""Readers that share no code with the product: of MovieLens archives, of the pointer; and oracles of two metrics."""

from __future__ import annotations

import io
import json
import math
import os
import threading
import time
import zipfile
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
DTYPES = {"user_id": "int64", "item_id": "int64", "rating": "float64", "timestamp": "int64"}
REPOSITORY = Path(__file__).resolve().parents[2]
CUT = 10


def data_folder() -> Path:
    """The folder of test archives: RECSYS_TEST_DATA, else ../shared/data beside the repository; skips where absent."""
    folder = Path(os.environ.get("RECSYS_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set RECSYS_TEST_DATA to a folder that holds ml-100k.zip and the like")
    return folder


def archive(dataset: str) -> Path:
    """The archive `<dataset>.zip` in the data folder; skips the test where it is absent."""
    path = data_folder() / f"{dataset}.zip"
    if not path.is_file():
        pytest.skip(f"no archive {path}: this test needs MovieLens {dataset}")
    return path


def read_ml_100k(member: str = "u.data") -> pd.DataFrame:
    """All ratings of ml-100k, or one of its own parts such as u1.base and u1.test."""
    return _read("ml-100k", f"ml-100k/{member}", "\t")


def read_ml_1m() -> pd.DataFrame:
    """All ratings of ml-1m; timestamps of users from 3,000 on are 0 in our copy."""
    return _read("ml-1m", "ml-1m/ratings.dat", "::")


def read_ml_latest_small() -> pd.DataFrame:
    """The edition of 9/2018."""
    return _read("ml-latest-small", "ml-latest-small/ratings.csv", ",")


def read_ml_latest_small_2016() -> pd.DataFrame:
    """The edition of 2016; the folder in its archive has the name of the later one."""
    return _read("ml-latest-small-2016", "ml-latest-small/ratings.csv", ",")


def _read(dataset: str, member: str, separator: str) -> pd.DataFrame:
    with zipfile.ZipFile(archive(dataset)) as opened:
        text = opened.read(member)
    if separator == "::":  # pandas' fast parser takes one character only
        text, separator = text.replace(b"::", b"\t"), "\t"
    titles = 0 if separator == "," else None
    return pd.read_csv(io.BytesIO(text), sep=separator, header=titles, names=COLUMNS, dtype=DTYPES)


def ndcg_at_10(recommendations: pd.DataFrame, holdout: pd.DataFrame) -> float:
    """Mean over the users with a held-out rating of DCG@10 / ideal DCG@10, a held-out item being relevant (1 or 0).

    DCG@10 is the sum of 1 / log2(rank + 1) over relevant items of rank 1 to 10, ideal DCG that of min(10, held-out
    items) hits at the top. A user without recommendations counts as 0.

    Args:
        recommendations: user_id, rank (from 1), item_id.
        holdout: user_id, item_id.
    """
    relevant = holdout.groupby("user_id")["item_id"].agg(set)
    if relevant.empty:
        raise ValueError("no held-out rating")
    top = recommendations[recommendations["rank"] <= CUT]
    lists: dict[object, list[tuple[int, object]]] = defaultdict(list)
    for user, rank, item in zip(top["user_id"], top["rank"], top["item_id"], strict=True):
        lists[user].append((rank, item))
    return math.fsum(_ndcg(lists[user], items) for user, items in relevant.items()) / len(relevant)


def _ndcg(ranked: list[tuple[int, object]], relevant: set[object]) -> float:
    gain = math.fsum(1 / math.log2(rank + 1) for rank, item in ranked if item in relevant)
    return gain / math.fsum(1 / math.log2(rank + 1) for rank in range(1, min(CUT, len(relevant)) + 1))


def rmse(predictions: pd.DataFrame, holdout: pd.DataFrame) -> float:
    """Root of the mean squared difference, over the held-out pairs that have a predicted rating.

    Args:
        predictions: user_id, item_id, predicted_rating (null where the rater cannot say).
        holdout: user_id, item_id, rating.
    """
    pairs = holdout.merge(predictions, on=["user_id", "item_id"], validate="many_to_one").dropna(
        subset=["predicted_rating"]
    )
    if pairs.empty:
        raise ValueError("no held-out pair has a predicted rating")
    errors = pairs["predicted_rating"].astype("float64") - pairs["rating"].astype("float64")
    return math.sqrt(math.fsum(error**2 for error in errors) / len(errors))


class Follower(threading.Thread):
    """Follows the pointer all the time, as other teams do, and notes whatever is not whole."""

    def __init__(self, store: Path, pause: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.pause = pause
        self.store, self.stopped, self.wrong, self.seen = store, threading.Event(), [], set()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._look()
            except (OSError, ValueError, KeyError) as error:
                self.wrong.append(repr(error))
            time.sleep(self.pause)

    def _look(self) -> None:
        # The link is resolved once, as the pointer is read once: what is opened after that is all of one run.
        linked = (self.store / "published" / "current").resolve()
        for folder in (self.store / json.loads(self._pointer())["path"], linked):
            manifest = json.loads((folder / "manifest.json").read_text())
            self.seen.add(manifest["run_id"])
            sizes = {entry["path"]: (folder / entry["path"]).stat().st_size for entry in manifest["files"]}
            self.wrong += [
                path for path, entry in ((e["path"], e) for e in manifest["files"]) if sizes[path] != entry["bytes"]
            ]

    def _pointer(self) -> str:
        return (self.store / "published" / "CURRENT.json").read_text()
