"""Spark's implicit ALS with 64 factors and 15 iterations, and recommendForAllUsers, on all cores of one machine.

It has no way to leave out what a user has seen.
"""

from __future__ import annotations

import json
import sys
import time

from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, posexplode

N = 10


def main(source: str, target: str) -> None:
    """Read, fit, score and write; Spark does the last two as one job."""
    started = time.monotonic()
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    spark = SparkSession.builder.master("local[*]").config(map=quiet).getOrCreate()
    columns = "userId INT, movieId INT, rating FLOAT, timestamp LONG"
    ratings = spark.read.csv(source, schema=columns, header=True).cache()
    ratings.count()
    read = time.monotonic()
    als = ALS(rank=64, maxIter=15, implicitPrefs=True, seed=42, userCol="userId", itemCol="movieId", ratingCol="rating")
    model = als.fit(ratings)
    fitted = time.monotonic()
    lists = model.recommendForAllUsers(N).select("userId", posexplode("recommendations").alias("place", "item"))
    rows = lists.select(
        col("userId").alias("user_id"), (col("place") + 1).alias("rank"), col("item.movieId").alias("item_id")
    )
    rows.write.parquet(target)
    done = time.monotonic()
    print(json.dumps({"read": read - started, "fit": fitted - read, "score": done - fitted, "write": 0.0}))
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
