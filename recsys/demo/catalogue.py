"""The items: years, genres, traits, quality and popularity; and the circles of users that like them alike."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.demo.alias import AliasTables, alias_tables
from recsys.demo.bits import BELL_STD, Bits
from recsys.demo.words import GENRES, titles

STAR = 1_024  # units of a star: stars are added up in integers, so that no rounding differs between machines
TRAITS = 8  # numbers that describe an item; the first is its era
LAST_YEAR = 2_024
MOST_CIRCLES, LEAST_CIRCLES = 64, 8
CIRCLE_CELLS = 2**23  # circles x items: three tables of 4 bytes a cell are 96 MiB
AFFINITY = 1.7  # how strongly a circle's tastes decide what it watches; at 0 all watch what is popular
MOST_PULL = 8.0  # of the logarithm of what tastes make of a weight
WEIGHT_BITS, PRODUCT_BITS = 20, 60  # a weight of 1 is 2^20 unless n_items x the sum of weights passes 2^60


@dataclass(frozen=True)
class Catalogue:
    """The items of the dataset; item id = position + 1.

    Attributes:
        year: (n_items,) int64, of the title.
        genres: (n_items, n_genres) bool, one to three a row.
        traits: (n_items, TRAITS) int64 in units of 1 / BELL_STD; items of one genre are alike.
        quality: (n_items,) int64, units of 1 / STAR stars above the average rated item; the popular are better.
        popularity: (n_items,) float64, relative weight, about 1 on average.
    """

    year: NDArray[np.int64]
    genres: NDArray[np.bool_]
    traits: NDArray[np.int64]
    quality: NDArray[np.int64]
    popularity: NDArray[np.float64]


@dataclass(frozen=True)
class Circles:
    """Groups of like-minded users; a user belongs to several.

    Attributes:
        taste: (n_circles, TRAITS) int64 in units of 1 / BELL_STD, on the axes of the items' traits.
        share: (n_circles, n_items) float32, probability that the circle's next rating is of that item.
        draws: the same distributions as tables to draw from.
    """

    taste: NDArray[np.int64]
    share: NDArray[np.float32]
    draws: AliasTables


def invent_catalogue(n_items: int, seed: int) -> tuple[Catalogue, Circles]:
    """The items and the circles of a seed."""
    bits = Bits(seed, 0)
    genre_traits = bits.bell(len(GENRES), TRAITS)
    year = LAST_YEAR - np.abs(bits.bell(n_items)) * 22 // BELL_STD
    genres = _genres(bits, n_items)
    traits = _traits(bits, genre_traits, genres, year)
    fame = bits.bell(n_items)
    sigma = _skew(n_items)
    # Spreads of 0.4 and 0.1 stars. The fame of what is rated is sigma above that of the items, a log-normal's shift.
    quality = (bits.bell(n_items) * 4 + fame - round(sigma * BELL_STD)) * STAR // (10 * BELL_STD)
    popularity = np.exp(fame * (sigma / BELL_STD) - sigma**2 / 2) + 0.01  # the floor is why nearly all are rated
    catalogue = Catalogue(year, genres, traits, quality, popularity)
    return catalogue, _circles(bits, genre_traits, catalogue)


def write_items(catalogue: Catalogue, path: Path) -> None:
    """Write movieId, title, genres; genres joined by "|", fields quoted where needed, lines ended by a line feed."""
    names = np.array(GENRES)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("movieId", "title", "genres"))
        rows = zip(titles(len(catalogue.year)), catalogue.year, catalogue.genres, strict=True)
        for number, (title, year, flags) in enumerate(rows, start=1):
            writer.writerow((number, f"{title} ({year})", "|".join(names[flags])))


def _genres(bits: Bits, n_items: int) -> NDArray[np.bool_]:
    """One to three genres an item: three picks, of which the later two may be void or repeat the first."""
    flags = np.zeros((n_items, len(GENRES)), np.bool_)
    everyone = np.arange(n_items)
    for chances in (1, 2, 4):  # a pick counts with probability 1, 1/2, 1/4
        # The smaller of two uniform picks: the first genres are frequent, the last rare.
        genre = np.minimum(bits.below(len(GENRES), n_items), bits.below(len(GENRES), n_items))
        counts = bits.below(chances, n_items) == 0
        flags[everyone[counts], genre[counts]] = True
    return flags


def _traits(
    bits: Bits, genre_traits: NDArray[np.int64], genres: NDArray[np.bool_], year: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The mean of the traits of an item's genres, and half as much of its own; the era is the year's alone."""
    of_genres = genres.astype(np.int64) @ genre_traits // genres.sum(axis=1, keepdims=True)
    traits = of_genres + bits.bell(len(genres), TRAITS) // 2
    traits[:, 0] = (year - LAST_YEAR + 18) * BELL_STD // 14  # half of the items are of the last 15 years
    bounded: NDArray[np.int64] = np.clip(traits, -3 * BELL_STD, 3 * BELL_STD)
    return bounded


def _skew(n_items: int) -> float:
    """Standard deviation of the logarithm of popularity: wider for larger catalogues, as MovieLens' are.

    The most rated 13.5 % of ml-1m's 3,706 items have 53 % of the ratings, the top 1 % of ml-25m's 59,047 have 45 %.
    A log-normal's top fraction f has Phi(sigma - z(1 - f)), which makes sigma 1.2 and 2.2. A quarter is added because
    nobody rates an item twice, which takes from the top.
    """
    return min(max(1.3, 1.5 + 0.45 * math.log(n_items / 3_706)), 3.2)


def _circles(bits: Bits, genre_traits: NDArray[np.int64], catalogue: Catalogue) -> Circles:
    """Each circle likes two genres and has leanings of its own."""
    n_items = len(catalogue.year)
    count = min(MOST_CIRCLES, max(LEAST_CIRCLES, CIRCLE_CELLS // n_items))
    liked = bits.below(len(GENRES), 2 * count).reshape(count, 2)
    taste = genre_traits[liked].sum(axis=1) // 2 + bits.bell(count, TRAITS) // 2
    weights = np.empty((count, n_items), np.int64)
    for circle in range(count):
        match = catalogue.traits @ taste[circle] / BELL_STD**2
        pull = np.exp(np.clip(AFFINITY * match, -MOST_PULL, MOST_PULL))
        weights[circle] = _whole(catalogue.popularity * pull)
    share = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return Circles(taste, share, alias_tables(weights))


def _whole(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Weights as integers: the last bit of an exponential, which differs between machines, is rounded away."""
    room = PRODUCT_BITS - len(weights).bit_length() - int(weights.sum()).bit_length()
    return np.rint(np.ldexp(weights, min(WEIGHT_BITS, room))).astype(np.int64).clip(min=1)
