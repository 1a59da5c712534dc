"""RecTools: its EASE, its ALS, or its most popular items."""

from __future__ import annotations

import json
import os
import sys
import time

VARIANT = sys.argv[3]
if VARIANT == "als":  # implicit's own advice: its threads and those of BLAS get in each other's way
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pandas as pd  # noqa: E402
from implicit.als import AlternatingLeastSquares  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import EASEModel, ImplicitALSWrapperModel, PopularModel  # noqa: E402

N = 10


def main(source: str, target: str, variant: str) -> None:
    """Read, fit, score, write."""
    models = {
        "ease": lambda: EASEModel(regularization=500.0),
        "als": lambda: ImplicitALSWrapperModel(AlternatingLeastSquares(factors=64, random_state=42)),
        "popular": PopularModel,
    }
    times = [time.monotonic()]
    frame = pd.read_csv(source)
    frame = frame.rename(columns={"userId": "user_id", "movieId": "item_id", "timestamp": "datetime"})
    frame["datetime"] = pd.to_datetime(frame["datetime"], unit="s")
    frame["weight"] = 1.0
    dataset = Dataset.construct(frame[["user_id", "item_id", "weight", "datetime"]])
    times.append(time.monotonic())
    model = models[variant]()
    model.fit(dataset)
    times.append(time.monotonic())
    lists = model.recommend(frame["user_id"].unique(), dataset, k=N, filter_viewed=True)
    times.append(time.monotonic())
    lists.to_parquet(target)
    times.append(time.monotonic())
    names = ("read", "fit", "score", "write")
    print(json.dumps({name: end - start for name, start, end in zip(names, times[:-1], times[1:], strict=True)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
