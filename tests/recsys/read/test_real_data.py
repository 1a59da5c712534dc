"""MovieLens as it is: counts that are known."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recsys.config import InputConfig
from recsys.ratings import ItemsFormat, Scale
from recsys.read import read_items, read_ratings

DATA = Path(os.environ.get("RECSYS_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
NAMES = ("userId", "movieId", "rating", "timestamp")


@pytest.fixture
def unpacked(tmp_path):
    def run(archive, *names):
        if not (DATA / archive).is_file():
            pytest.skip(f"{archive} is not in {DATA}; set RECSYS_TEST_DATA to the folder of the MovieLens archives")
        with zipfile.ZipFile(DATA / archive) as files:
            return [Path(files.extract(name, tmp_path)) for name in names]

    return run


def test_movielens_1m(unpacked, snapshot):
    ratings_file, movies = unpacked("ml-1m.zip", "ml-1m/ratings.dat", "ml-1m/movies.dat")
    form = ItemsFormat(delimiter="::", columns=("movieId", "title", "genres"), encoding="latin-1")
    made = snapshot([ratings_file], [movies], scale=Scale(1, 5, 1), items_format=form, delimiter="::", columns=NAMES)
    ratings = read_ratings(made, InputConfig())
    assert np.bincount(ratings.rating.astype(int)).tolist() == [0, 56174, 107557, 261197, 348971, 226310]
    assert (ratings.n_users, ratings.n_items, ratings.repeated, len(ratings.quarantine)) == (6040, 3706, 0, 0)
    titles = read_items(made, ratings.item_ids)["title"]
    assert titles[0].as_py() == "Toy Story (1995)"
    assert titles.null_count == 0


def test_movielens_100k(unpacked, snapshot):
    (path,) = unpacked("ml-100k.zip", "ml-100k/u.data")
    ratings = read_ratings(snapshot([path], scale=Scale(1, 5, 1), delimiter="\t", columns=NAMES), InputConfig())
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_000, 943, 1_682)
    first = ratings.user_ids[ratings.user_index[0]].as_py(), ratings.item_ids[ratings.item_index[0]].as_py()
    assert (*first, ratings.rating[0], ratings.timestamp[0]) == (196, 242, 3.0, 881250949)


@pytest.mark.parametrize(
    ("archive", "expected"),
    [("ml-latest-small.zip", (100_836, 610, 9_724)), ("ml-latest-small-2016.zip", (100_004, 671, 9_066))],
)
def test_movielens_latest_small(unpacked, snapshot, archive, expected):
    paths = unpacked(archive, "ml-latest-small/ratings.csv", "ml-latest-small/movies.csv")
    made = snapshot(paths[:1], paths[1:])
    ratings = read_ratings(made, InputConfig())
    assert (len(ratings), ratings.n_users, ratings.n_items) == expected
    items = read_items(made, ratings.item_ids)
    assert items["title"].null_count == 0
    assert items["genres"][0].as_py()[0] == "Adventure"
