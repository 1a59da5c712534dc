"""The rules file: read, checked as far as that needs no ratings, and fingerprinted with all the tables it names."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.download.headers import read_header
from recsys.errors import UsageError, sample
from recsys.ratings import Snapshot
from recsys.rules.schema import RuleSet, Table, rule_set
from recsys.rules.tables import column_names, read_columns

# What is known of every item without a table: from the items file, and from all ratings.
BUILT_IN = ("title", "genres", "ratings", "mean_rating", "first_rated")
PARQUET_COLUMNS = ("kind", "item_id")


@dataclass(frozen=True)
class RulesSource:
    """A rules file as a run took it up.

    Attributes:
        file: where it lies.
        fingerprint: SHA-256 (hex) over its content and that of each table it names, in their order.
    """

    file: str
    fingerprint: str

    def read(self) -> RuleSet:
        """The rules.

        Raises:
            UsageError: they cannot be read, or are others than were taken up.
        """
        if _fingerprint(Path(self.file), read_rules(Path(self.file))) != self.fingerprint:
            raise UsageError(
                f"The rules file {self.file}, or a table it names, was written to while the run was under way.",
                expected="files that lie still",
                found="another content than when the run began",
                todo="write such files under another name and rename them when they are whole, then run again",
            )
        return read_rules(Path(self.file))

    def path(self, name: str) -> Path:
        """A file that the rules name; a relative path begins at their folder."""
        return table_path(Path(self.file), name)


def take_rules(file: str | None, snapshot: Snapshot) -> RulesSource | None:
    """The rules of a run; None where it has none.

    Raises:
        UsageError: the file or a table it names cannot be read, or a column that it names is nowhere.
    """
    if file is None:
        return None
    path = Path(file).expanduser().absolute()
    rules = read_rules(path)
    check_columns(rules, path, snapshot)
    return RulesSource(str(path), _fingerprint(path, rules))


def read_rules(file: Path) -> RuleSet:
    """The rules of a TOML file, or of a Parquet table of item ids: `kind` (deny or allow), `item_id`, perhaps `name`.

    Raises:
        UsageError: it cannot be read, or says what no rule can.
    """
    return rule_set(_from_parquet(file) if is_parquet_rules(file) else _from_toml(file), file)


def is_parquet_rules(file: Path) -> bool:
    """By its first four bytes.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"PAR1"
    except OSError as error:
        raise _unreadable(file, error) from error


def table_path(file: Path, name: str) -> Path:
    """Where a table lies that a rules file names.

    Raises:
        UsageError: it is not on this machine.
    """
    if "://" in name:
        raise UsageError(
            f"The rules file {file} names {name}.",
            expected="a file on this machine",
            found=name,
            todo="copy it beside the rules file first",
        )
    return file.parent / Path(name).expanduser()


def own_item_columns(snapshot: Snapshot) -> list[str]:
    """The columns of the input's items file."""
    form = snapshot.items_format
    return list(form.columns or read_header(Path(snapshot.items[0])).fields) if snapshot.items else []


def check_columns(rules: RuleSet, file: Path, snapshot: Snapshot) -> None:
    """Refuse rules that name a column which is nowhere, or in two places.

    Raises:
        UsageError: names what there is.
    """
    own = own_item_columns(snapshot)
    places = {"every item": list(BUILT_IN), "the items file": [name for name in own if name not in BUILT_IN]}
    if rules.items is not None:
        places["the item table"] = _columns_of(rules.items, file, "item_id")
    for name in rules.item_columns:
        _require_one(
            name,
            [columns for columns in places.values() if name in columns],
            [name for columns in places.values() for name in columns],
            file,
        )
    if rules.users is not None:
        there = _columns_of(rules.users, file, "user_id")
        for name in rules.user_columns:
            _require_one(name, [there] if name in there else [], there, file)


def _columns_of(table: Table, file: Path, usual: str) -> list[str]:
    path, column = table_path(file, table.file), table.id or usual
    there = column_names(path)
    if column not in there:
        read_columns(path, [column])  # says so
    return [name for name in there if name != column]


def _require_one(name: str, found: list[list[str]], there: list[str], file: Path) -> None:
    if len(found) != 1:
        raise UsageError(
            f"The rules file {file} names the column {name!r}, which is {'in two tables' if found else 'nowhere'}.",
            expected="a column of one table" if found else f"one of {sample(there, 20)}",
            found=name,
            todo="rename one of them" if found else "mend the name, or add the column to the table",
        )


def _fingerprint(file: Path, rules: RuleSet) -> str:
    digest = hashlib.sha256()
    for path in (file, *(table_path(file, name) for name in rules.files)):
        try:
            with path.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise _unreadable(path, error) from error
    return digest.hexdigest()


def _from_toml(file: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(file, error) from error


def _from_parquet(file: Path) -> Mapping[str, Any]:
    """One rule a (kind, name), in the order in which they first stand there."""
    try:
        names = [name for name in pq.read_schema(file).names if name == "name"]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    rules: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in read_columns(file, [*PARQUET_COLUMNS, *names]).to_pylist():
        key = row["kind"], row.get("name") or ""
        rules.setdefault(key, {"kind": key[0], "name": key[1], "items": []})["items"].append(row["item_id"])
    return {"rule": [rule | {"items": [one for one in rule["items"] if one is not None]} for rule in rules.values()]}


def _unreadable(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"The rules file {file} cannot be read." if file.suffix == ".toml" else f"{file} of the rules cannot be read.",
        expected="a TOML file with [[rule]] tables, or a Parquet table of kind and item_id",
        found=f"{type(error).__name__}: {error}"[:300],
        todo="mend the file, or the path given with --rules; until then nothing is trained or published",
    )
