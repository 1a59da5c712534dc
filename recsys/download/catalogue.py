"""The public archives this project knows: where they are, what they weigh, and how they are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recsys.download.hashing import Digests
from recsys.errors import UsageError, sample
from recsys.ratings import ItemsFormat, RatingsFormat, Scale

DEMO = "demo"  # the generated dataset; it is no archive, so it is not among `DATASETS`
GROUPLENS = "https://files.grouplens.org/datasets/movielens"
LICENCE = "research use, no redistribution, no commercial use without permission (GroupLens; see its README)"
FREE_LICENCE = "research use, redistribution under the same conditions (GroupLens; see its README)"

WHOLE_STARS = Scale(1.0, 5.0, 1.0)
HALF_STARS = Scale(0.5, 5.0, 0.5)

RATINGS_CSV = RatingsFormat()
MOVIES_CSV = ItemsFormat()
RATINGS_DAT = RatingsFormat(
    user="user", item="item", rating="rating", timestamp="timestamp",
    delimiter="::", columns=("user", "item", "rating", "timestamp"),
)  # fmt: skip
MOVIES_DAT = ItemsFormat(
    item="item", title="title", genres="genres", delimiter="::", columns=("item", "title", "genres")
)
MOVIES_DAT_LATIN = ItemsFormat(
    item="item", title="title", genres="genres",
    delimiter="::", columns=("item", "title", "genres"), encoding="latin-1",
)  # fmt: skip
GENRE_FLAGS = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
U_DATA = RatingsFormat(
    user="user", item="item", rating="rating", timestamp="timestamp",
    delimiter="\t", columns=("user", "item", "rating", "timestamp"),
)  # fmt: skip
U_ITEM = ItemsFormat(
    item="item", title="title", genres=None, delimiter="|",
    columns=("item", "title", "release_date", "video_release_date", "imdb_url", *GENRE_FLAGS),
    encoding="latin-1", genre_flags=GENRE_FLAGS,
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """One archive.

    Attributes:
        name: as in `--dataset`, and of `<name>.zip` on a mirror.
        description: one line for a person who chooses.
        urls: public addresses in the order in which they are asked; empty: only a mirror has it.
        pin: bytes and hashes of the public archive; None where it changes by edition.
        folder: the folder inside the archive.
        ratings_member, items_member: the files in that folder.
        extra_members: patterns of further files that are unpacked (given splits).
        n_ratings, n_users, n_items: ratings, users and rated items; of the edition named in the description.
        licence: in one line.
    """

    name: str
    description: str
    urls: tuple[str, ...]
    pin: Digests | None
    folder: str
    ratings_member: str
    items_member: str
    ratings_format: RatingsFormat
    items_format: ItemsFormat
    scale: Scale
    n_ratings: int
    n_users: int
    n_items: int
    licence: str = LICENCE
    extra_members: tuple[str, ...] = ()


def _public(name: str) -> tuple[str, ...]:
    return (f"{GROUPLENS}/{name}.zip",)


def _csv(name: str, description: str, **more: Any) -> Dataset:
    """An archive as they have been since 2015: CSV with a header, half stars, the folder named as the archive."""
    fields: dict[str, Any] = {"urls": _public(name), "pin": None, "folder": name, **more}
    return Dataset(
        name=name,
        description=description,
        ratings_member="ratings.csv",
        items_member="movies.csv",
        ratings_format=RATINGS_CSV,
        items_format=MOVIES_CSV,
        scale=HALF_STARS,
        **fields,
    )


_ENTRIES = (
    Dataset(
        name="ml-100k",
        description="MovieLens 100K (1998): whole stars, with the given splits u1 to u5, ua and ub",
        urls=_public("ml-100k"),
        pin=Digests(
            4_924_029,
            "0e33842e24a9c977be4e0107933c0723",
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        ),
        folder="ml-100k",
        ratings_member="u.data",
        items_member="u.item",
        ratings_format=U_DATA,
        items_format=U_ITEM,
        scale=WHOLE_STARS,
        n_ratings=100_000,
        n_users=943,
        n_items=1_682,
        extra_members=("u[1-5].base", "u[1-5].test", "u[ab].base", "u[ab].test"),
    ),
    Dataset(
        name="ml-1m",
        description="MovieLens 1M (2003): whole stars",
        urls=_public("ml-1m"),
        pin=Digests(
            5_917_549,
            "c4d9eecfca2ab87c1945afe126590906",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        ),
        folder="ml-1m",
        ratings_member="ratings.dat",
        items_member="movies.dat",
        ratings_format=RATINGS_DAT,
        items_format=MOVIES_DAT_LATIN,
        scale=WHOLE_STARS,
        n_ratings=1_000_209,
        n_users=6_040,
        n_items=3_706,
    ),
    Dataset(
        name="ml-10m",
        description="MovieLens 10M (2009): half stars",
        urls=_public("ml-10m"),
        pin=Digests(
            65_566_137,
            "ce571fd55effeba0271552578f2648bd",
            "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
        ),
        folder="ml-10M100K",
        ratings_member="ratings.dat",
        items_member="movies.dat",
        ratings_format=RATINGS_DAT,
        items_format=MOVIES_DAT,
        scale=HALF_STARS,
        n_ratings=10_000_054,
        n_users=69_878,
        n_items=10_677,
    ),
    _csv(
        "ml-20m",
        "MovieLens 20M (2015): half stars",
        pin=Digests(
            198_702_078,
            "cd245b17a1ae2cc31bb14903e1204af3",
            "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        ),
        n_ratings=20_000_263,
        n_users=138_493,
        n_items=26_744,
    ),
    _csv(
        "ml-25m",
        "MovieLens 25M (2019): half stars",
        pin=Digests(
            261_978_986,
            "6b51fb2759a8657d3bfcbfc42b592ada",
            "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        ),
        n_ratings=25_000_095,
        n_users=162_541,
        n_items=59_047,
    ),
    _csv(
        "ml-32m",
        "MovieLens 32M (2024): half stars, the largest that never changes",
        pin=Digests(
            238_950_008,
            "d472be332d4daa821edc399621853b57",
            "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
        ),
        n_ratings=32_000_204,
        n_users=200_948,
        n_items=84_432,
    ),
    _csv(
        "ml-latest-small",
        "MovieLens latest, small (changes by edition; figures of 9/2018): half stars",
        n_ratings=100_836,
        n_users=610,
        n_items=9_724,
        licence=FREE_LICENCE,
    ),
    _csv(
        "ml-latest",
        "MovieLens latest (changes by edition; figures of 7/2023): half stars",
        n_ratings=33_832_162,
        n_users=330_975,
        n_items=83_239,
        licence=FREE_LICENCE,
    ),
    _csv(
        "ml-latest-small-2016",
        "MovieLens latest, small, edition of 2016 (from a mirror only): half stars",
        urls=(),
        folder="ml-latest-small",
        n_ratings=100_004,
        n_users=671,
        n_items=9_066,
        licence=FREE_LICENCE,
    ),
)

DATASETS: Mapping[str, Dataset] = {entry.name: entry for entry in _ENTRIES}


def describe_all() -> list[dict[str, str]]:
    """name, ratings, users, items and a line about each known dataset, the generated one first."""
    rows = [{"name": DEMO, "ratings": "any", "users": "any", "items": "any", "about": "generated on the spot, seeded"}]
    for entry in DATASETS.values():
        counts = {"ratings": entry.n_ratings, "users": entry.n_users, "items": entry.n_items}
        about = f"{entry.description}; {entry.licence}"
        rows.append({"name": entry.name, **{key: f"{n:,}" for key, n in counts.items()}, "about": about})
    return rows


def find_dataset(name: str) -> Dataset:
    """The archive of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in DATASETS:
        raise UsageError(
            f"There is no dataset {name!r}.",
            expected=f"one of {sample([DEMO, *DATASETS], most=20)}",
            found=name,
            todo="choose one with --dataset (`recsys datasets` describes them), or give own files with --ratings",
        )
    return DATASETS[name]
