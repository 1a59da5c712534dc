"""A job of cicerone-recommender with its EASE at its own settings.

Every rating is a purchase. Its default half-life of 90 days makes the weights of old ratings 1e-32 and its lists
noise, so it is set to a million days. Ratings become the Parquet events that it reads first (`convert`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from cicerone import job
from cicerone.model import recommend

CONFIG = """
[job]
top_k = 10
models = ["ease"]
half_life_days = 1000000.0
feature_config_path = "{folder}/features.toml"
[input]
kind = "dataset"
[input.options]
storage_backend = "local"
path = "{folder}"
[output]
kind = "dataset"
[output.options]
storage_backend = "local"
path = "{folder}/out"
"""
STAGES = {"_read_input": "read", "build_dataset": "read", "_write_job_outputs": "write"}
seconds: dict[str, float] = {"convert": 0.0, "read": 0.0, "fit": 0.0, "score": 0.0, "write": 0.0}


def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its time added to the stage's."""

    def call(*given: Any, **named: Any) -> Any:
        started = time.monotonic()
        try:
            return function(*given, **named)
        finally:
            seconds[stage] += time.monotonic() - started

    return call


def main(source: str, target: str) -> None:
    """Convert, then one job by its own code."""
    folder = Path(target)
    (folder / "out").mkdir(parents=True)
    timed("convert", convert)(source, folder / "events.parquet")
    (folder / "features.toml").write_text("[event_weights]\npurchase = 1.0\n")
    (folder / "cicerone.toml").write_text(CONFIG.format(folder=folder))
    os.environ["CICERONE_CONFIG_PATH"] = str(folder / "cicerone.toml")
    for name, stage in STAGES.items():
        setattr(job, name, timed(stage, getattr(job, name)))
    recommend.fit_strategies = timed("fit", recommend.fit_strategies)
    recommend.recommend_with_models = timed("score", recommend.recommend_with_models)
    job.run()
    print(json.dumps(seconds))


def convert(source: str, target: Path) -> None:
    """The ratings as events."""
    frame = pd.read_csv(source)
    events = pd.DataFrame({"user_id": frame["userId"].astype(str), "item_id": frame["movieId"].astype(str)})
    events["event_type"], events["quantity"] = "purchase", 1
    events["occurred_at"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    events.to_parquet(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
