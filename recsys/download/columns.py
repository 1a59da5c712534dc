"""Which column of own files is which: by the names given, else by the usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from recsys.download.catalogue import U_ITEM
from recsys.download.headers import Header, encoding_of, is_number, read_header
from recsys.errors import InputRefused, sample
from recsys.ratings import ItemsFormat, RatingsFormat

Format = TypeVar("Format", RatingsFormat, ItemsFormat)

# Compared in lower case and without signs: `User-ID`, `user_id` and `userId` are one name. The first found is taken.
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid", "customerid", "customer", "reviewerid"),
    "item": ("item", "itemid", "iid", "movieid", "movie", "productid", "product", "bookid", "isbn", "asin", "trackid"),
    "rating": ("rating", "ratings", "score", "stars", "bookrating", "overall"),
    "timestamp": ("timestamp", "ts", "time", "unixreviewtime"),
    "title": ("title", "name", "movietitle", "itemtitle", "booktitle", "productname"),
    "genres": ("genres", "genre", "categories", "category", "tags"),
}
ITEM_ID_ONLY = ("id",)  # an items file's own `id` is the item's; that of ratings or pairs would be the row's
RATINGS_ORDER = ("user", "item", "rating", "timestamp")
PAIRS_ORDER = ("user", "item")
NO_ONES_NAME = {"title", "genres"}  # columns beside one person's ratings that cannot tell whose they are
ITEMS_ORDER = ("item", "title", "genres")


def ratings_format(
    files: Sequence[Path], columns: Mapping[str, str], *, may_be_one_users: bool = False
) -> RatingsFormat:
    """How these files of ratings are to be read; one way for all.

    A first line of numbers is no header: then the columns are user, item, rating and, if there is one, timestamp.

    Args:
        files: at least one.
        columns: names by role (user, item, rating, timestamp); what is not given is looked for.
        may_be_one_users: a file of items, ratings, times, titles and genres alone, or of two columns without a header,
            is one person's: `user` is then None. With any other column the user's is asked for: it may be that one.

    Raises:
        InputRefused: a column is missing, a file is no table, or the files differ.
    """
    return _same([(path, _ratings_format(read_header(path), columns, may_be_one_users)) for path in files])


def items_format(files: Sequence[Path], columns: Mapping[str, str]) -> ItemsFormat:
    """How these files of items are to be read; as `ratings_format`, with item, title and, if there are, genres.

    Raises:
        InputRefused: as `ratings_format`.
    """
    return _same([(path, _items_format(path, read_header(path), columns)) for path in files])


def pairs_format(path: Path, columns: Mapping[str, str]) -> RatingsFormat:
    """How a file of (user, item) pairs is to be read: as `ratings_format`, without rating and timestamp.

    Raises:
        InputRefused: as `ratings_format`.
    """
    header = read_header(path)
    headerless = header.delimiter is not None and all(map(is_number, header.fields))
    names = _by_order(header, PAIRS_ORDER) if headerless else header.fields
    user, item = (_find(header, names, role, columns, needed=True) or "" for role in PAIRS_ORDER)
    return RatingsFormat(user, item, "", None, header.delimiter or ",", names if headerless else None)


def _ratings_format(header: Header, columns: Mapping[str, str], may_be_one_users: bool) -> RatingsFormat:
    headerless = header.delimiter is not None and all(map(is_number, header.fields))
    two_columns = may_be_one_users and len(header.fields) == 2
    names = _by_order(header, RATINGS_ORDER[two_columns:]) if headerless else header.fields
    found = {role: _find(header, names, role, columns, needed=role in ("item", "rating")) for role in RATINGS_ORDER}
    if found["user"] is None and not (may_be_one_users and {*map(_plain, names)} <= _plain_names(found)):
        _find(header, names, "user", columns, needed=True)
    return RatingsFormat(
        user=found["user"],
        item=found["item"] or "",
        rating=found["rating"] or "",
        timestamp=found["timestamp"],
        delimiter=header.delimiter or ",",
        columns=names if headerless else None,
    )


def _items_format(path: Path, header: Header, columns: Mapping[str, str]) -> ItemsFormat:
    headerless = header.delimiter is not None and is_number(header.fields[0])
    if headerless and U_ITEM.columns is not None and len(header.fields) == len(U_ITEM.columns):
        return U_ITEM
    names = _by_order(header, ITEMS_ORDER) if headerless else header.fields
    # One --columns serves ratings and items; the item's id may have another name here.
    given = {role: name for role, name in columns.items() if role != "item" or name in names}
    also = {"item": ITEM_ID_ONLY}
    found = {
        role: _find(header, names, role, given, needed=role != "genres", also=also.get(role, ()))
        for role in ITEMS_ORDER
    }
    return ItemsFormat(
        item=found["item"] or "",
        title=found["title"] or "",
        genres=found["genres"],
        delimiter=header.delimiter or ",",
        columns=names if headerless else None,
        encoding="utf-8" if header.delimiter is None else encoding_of(path),
    )


def _by_order(header: Header, order: tuple[str, ...]) -> tuple[str, ...]:
    """Names for the columns of a file without a header; those beyond the known order are numbered."""
    further = tuple(f"column_{number}" for number in range(len(order) + 1, len(header.fields) + 1))
    return (*order, *further)[: len(header.fields)]


def _find(
    header: Header,
    names: tuple[str, ...],
    role: str,
    given: Mapping[str, str],
    *,
    needed: bool,
    also: tuple[str, ...] = (),
) -> str | None:
    """The column's name as it stands in the file, a usual one or one of `also`; None where not needed and not there."""
    if role in given:
        if names.count(given[role]) == 1:
            return given[role]
        raise _missing(header, names, f"one column {given[role]!r} ({role})")
    usual = USUAL_NAMES[role] + also
    for candidate in usual:
        matching = [name for name in names if _plain(name) == candidate]
        if len(matching) > 1:
            raise _missing(header, names, f"one column for {role}, not {sample(matching)}")
        if matching:
            return matching[0]
    if needed:
        raise _missing(header, names, f"a column for {role}: {sample(usual, 8)}")
    return None


def _plain_names(found: Mapping[str, str | None]) -> set[str]:
    return {_plain(name) for name in found.values() if name} | NO_ONES_NAME


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _missing(header: Header, names: Sequence[str], expected: str) -> InputRefused:
    return InputRefused(
        f"{header.file} has no such column.",
        expected=expected,
        found=f"columns {sample(names, 20)}",
        todo="name them with --columns user=...,item=...,rating=...,timestamp=...",
    )


def _same(formats: Sequence[tuple[Path, Format]]) -> Format:
    """The one format of all files."""
    first_path, first = formats[0]
    for path, other in formats[1:]:
        if other != first:
            raise InputRefused(
                f"{path.name} is not written as {first_path.name} is.",
                expected="the same columns and delimiter in all files",
                found=f"{other} beside {first}"[:600],
                todo="give a glob that matches the files of one table, e.g. 'folder/ratings-*.csv'",
            )
    return first
