"""The rules file: read, checked as far as that needs no ratings, and fingerprinted with all the tables it names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.download.headers import read_header
from recsys.errors import UsageError, sample
from recsys.ratings import Snapshot
from recsys.rules.files import RulesFiles, gather, unreadable
from recsys.rules.schema import RuleSet, Table, rule_set
from recsys.rules.tables import column_names, read_columns

# What is known of every item without a table: from the items file, and from all ratings.
BUILT_IN = ("title", "genres", "ratings", "mean_rating", "first_rated")
PARQUET_COLUMNS = ("kind", "item_id")


@dataclass(frozen=True)
class RulesSource:
    """A rules file as a run took it up.

    Attributes:
        file: where it lies on this machine.
        fingerprint: SHA-256 (hex) over its content and that of each table it names, in their order.
        tables: where each of these lies on this machine, by its name in the file.
    """

    file: str
    fingerprint: str
    tables: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> RuleSet:
        """The rules.

        Raises:
            UsageError: they cannot be read, or are others than were taken up.
        """
        if RulesFiles(self.file, self.tables, self.file).fingerprint() != self.fingerprint:
            raise UsageError(
                f"The rules file {self.file}, or a table it names, was written to while the run was under way.",
                expected="files that lie still",
                found="another content than when the run began",
                todo="write such files under another name and rename them when they are whole, then run again",
            )
        return read_rules(Path(self.file))

    def path(self, name: str) -> Path:
        """A table that the rules name."""
        return Path(self.tables[name])


def take_rules(file: str | None, snapshot: Snapshot, raw: Path) -> RulesSource | None:
    """The rules of a run; None where it has none.

    Args:
        file: its path, or its address in an object store.
        raw: the store's folder of downloads, for what lies in an object store.

    Raises:
        UsageError: the file or a table it names cannot be read, or a column that it names is nowhere.
        SourceUnavailable: an object store cannot be reached.
    """
    if file is None:
        return None
    files = gather(file, raw, lambda path, called: read_rules(path, called).files)
    rules = read_rules(Path(files.file))
    check_columns(rules, files, snapshot)
    return RulesSource(files.file, files.fingerprint(), files.tables)


def read_rules(file: Path, called: str | None = None) -> RuleSet:
    """The rules of a TOML file, or of a Parquet table of item ids: `kind` (deny or allow), `item_id`, perhaps `name`.

    Args:
        called: what messages call the file; None: by its path.

    Raises:
        UsageError: it cannot be read, or says what no rule can.
    """
    called = called or str(file)
    return rule_set(_from_parquet(file) if is_parquet_rules(file) else _from_toml(file, called), called)


def is_parquet_rules(file: Path) -> bool:
    """By its first four bytes.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"PAR1"
    except OSError as error:
        raise unreadable(file, error) from error


def own_item_columns(snapshot: Snapshot) -> list[str]:
    """The columns of the input's items file."""
    form = snapshot.items_format
    return list(form.columns or read_header(Path(snapshot.items[0])).fields) if snapshot.items else []


def check_columns(rules: RuleSet, files: RulesFiles, snapshot: Snapshot) -> None:
    """Refuse rules that name a column which is nowhere, or in two places.

    Raises:
        UsageError: names what there is.
    """
    own = own_item_columns(snapshot)
    places = {"every item": list(BUILT_IN), "the items file": [name for name in own if name not in BUILT_IN]}
    if rules.items is not None:
        places["the item table"] = _columns_of(rules.items, files, "item_id")
    for name in rules.item_columns:
        _require_one(
            name,
            [columns for columns in places.values() if name in columns],
            [name for columns in places.values() for name in columns],
            files.called,
        )
    if rules.users is not None:
        there = _columns_of(rules.users, files, "user_id")
        for name in rules.user_columns:
            _require_one(name, [there] if name in there else [], there, files.called)


def _columns_of(table: Table, files: RulesFiles, usual: str) -> list[str]:
    path, column = Path(files.tables[table.file]), table.id or usual
    there = column_names(path)
    if column not in there:
        read_columns(path, [column])  # says so
    return [name for name in there if name != column]


def _require_one(name: str, found: list[list[str]], there: list[str], file: str) -> None:
    if len(found) != 1:
        raise UsageError(
            f"The rules file {file} names the column {name!r}, which is {'in two tables' if found else 'nowhere'}.",
            expected="a column of one table" if found else f"one of {sample(there, 20)}",
            found=name,
            todo="rename one of them" if found else "mend the name, or add the column to the table",
        )


def _from_toml(file: Path, called: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise unreadable(called, error) from error


def _from_parquet(file: Path) -> Mapping[str, Any]:
    """One rule a (kind, name), in the order in which they first stand there."""
    try:
        names = [name for name in pq.read_schema(file).names if name == "name"]
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error
    rules: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in read_columns(file, [*PARQUET_COLUMNS, *names]).to_pylist():
        key = row["kind"], row.get("name") or ""
        rules.setdefault(key, {"kind": key[0], "name": key[1], "items": []})["items"].append(row["item_id"])
    return {"rule": [rule | {"items": [one for one in rule["items"] if one is not None]} for rule in rules.values()]}
