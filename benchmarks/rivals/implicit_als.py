"""implicit's ALS at its own settings, 64 factors as for Spark."""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # implicit's own advice: its threads and those of BLAS get in each other's way

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

N = 10


def main(source: str, target: str) -> None:
    """Read, fit, score, write."""
    times = [time.monotonic()]
    frame = pd.read_csv(source)
    user, user_ids = pd.factorize(frame["userId"], sort=True)
    item, item_ids = pd.factorize(frame["movieId"], sort=True)
    shape = (len(user_ids), len(item_ids))
    ratings = csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)
    times.append(time.monotonic())
    model = AlternatingLeastSquares(factors=64, random_state=42)
    model.fit(ratings, show_progress=False)
    times.append(time.monotonic())
    best, _ = model.recommend(np.arange(len(user_ids)), ratings, N=N, filter_already_liked_items=True)
    times.append(time.monotonic())
    rows = pd.DataFrame({"user_id": np.repeat(user_ids, N), "item_id": item_ids[best.ravel()]})
    rows.to_parquet(target)
    times.append(time.monotonic())
    names = ("read", "fit", "score", "write")
    print(json.dumps({name: end - start for name, start, end in zip(names, times[:-1], times[1:], strict=True)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
