"""The catalogue is data; its own rules."""

from __future__ import annotations

import re

import pytest

from recsys.download.catalogue import DATASETS, Dataset

PINNED = {"ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"}
CHANGING = {"ml-latest-small", "ml-latest"}


def test_all_of_them_are_there() -> None:
    assert set(DATASETS) == PINNED | CHANGING | {"ml-latest-small-2016"}


@pytest.mark.parametrize("name", sorted(PINNED | CHANGING))
def test_public_addresses(name: str) -> None:
    assert DATASETS[name].urls == (f"https://files.grouplens.org/datasets/movielens/{name}.zip",)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_only_what_never_changes_is_pinned(dataset: Dataset) -> None:
    assert (dataset.pin is not None) == (dataset.name in PINNED)
    if dataset.pin is not None:
        assert re.fullmatch(r"[0-9a-f]{32}", dataset.pin.md5)
        assert re.fullmatch(r"[0-9a-f]{64}", dataset.pin.sha256)
        assert dataset.pin.bytes > 4_000_000


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_formats_name_their_columns(dataset: Dataset) -> None:
    ratings, items = dataset.ratings_format, dataset.items_format
    if ratings.columns is not None:
        assert {ratings.user, ratings.item, ratings.rating, ratings.timestamp} == set(ratings.columns)
    if items.columns is not None:
        assert {items.item, items.title, *items.genre_flags} <= set(items.columns)
    assert (items.genres is None) == bool(items.genre_flags)
    assert "\n" not in dataset.description + dataset.licence


def test_ml_100k_has_19_genres() -> None:
    assert len(DATASETS["ml-100k"].items_format.genre_flags) == 19
    assert len(DATASETS["ml-100k"].items_format.columns or ()) == 24
