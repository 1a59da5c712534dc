"""Whether the written lists obey the run's rules: judged row by row, by none of the code that applied them.

What was applied are masks and compiled passes; here the rules' comparisons are made anew in plain Python, from the
columns and lists that the run keeps beside the rules.
"""

from __future__ import annotations

import json
from calendar import isleap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.prepare.prepared import Prepared
from recsys.rules.schema import Allow, Boost, Cap, Condition, Deny, ItemRule, Rule, RuleSet
from recsys.rules.source import read_rules

Masks = NDArray[np.bool_]
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
    "<": lambda value, wanted: value < wanted,
    "<=": lambda value, wanted: value <= wanted,
    ">": lambda value, wanted: value > wanted,
    ">=": lambda value, wanted: value >= wanted,
    "in": lambda value, wanted: value in wanted,
    "not in": lambda value, wanted: value not in wanted,
}


@dataclass(frozen=True)
class Obeyed:
    """The rules of a run, for the judgement of its lists.

    Attributes:
        folder: the run's `rules/`.
        prepared: the ids that rows of the kept tables stand for.
    """

    folder: Path
    prepared: Prepared

    @cached_property
    def rules(self) -> RuleSet:
        """As they were given."""
        return read_rules(next(path for path in self.folder.glob("rules.*") if path.suffix != ".json"))

    @classmethod
    def of_run(cls, run_folder: Path, prepared: Prepared) -> Obeyed | None:
        """Of a run's folder; None where it has no rules."""
        folder = run_folder / "rules"
        return cls(folder, prepared) if folder.exists() else None

    @cached_property
    def _run_date(self) -> date:
        return date.fromisoformat(json.loads((self.folder / "rules.json").read_text())["run_date"])

    @cached_property
    def _items(self) -> dict[str, list[Any]]:
        return {name: column.to_pylist() for name, column in _columns(self.folder / "items.parquet")}

    @cached_property
    def holds(self) -> Masks:
        """(n_rules, n_users) whether a rule holds for a user."""
        columns = {name: column.to_pylist() for name, column in _columns(self.folder / "users.parquet")}
        return np.array(
            [self._judged(rule.selector, columns, len(columns["user_id"]), rule) for rule in self.rules.rule]
        )

    @cached_property
    def _forbidden(self) -> Masks:
        """(n_rules, n_items) what a rule of deny or allow forbids; nothing for rules of other kinds."""
        forbids = np.zeros((len(self.rules.rule), len(self._items["item_id"])), bool)
        lists = pq.read_table(self.folder / "lists.parquet").to_pylist()
        for at, rule in enumerate(self.rules.rule):
            if isinstance(rule, Deny | Allow):
                listed = {row["item_id"] for row in lists if row["rule"] == at}
                forbids[at] = [self._forbids(rule, row, listed) for row in range(forbids.shape[1])]
        return forbids

    def forbidden(self, user: NDArray[np.int32], item: NDArray[np.int32]) -> Masks:
        """(n,) whether a rule forbids this user this item."""
        return np.asarray((self.holds[:, user] & self._forbidden[:, item]).any(axis=0))

    def over_cap(self, user: NDArray[np.int32], item: NDArray[np.int32]) -> Masks:
        """(n,) whether a row is of a value that its list, which must be whole, has too often."""
        over = np.zeros(len(user), bool)
        for at, (counted, at_most) in self._counted.items():
            row, value = counted[item].nonzero()
            held = self.holds[at, user[row]]
            row, value = row[held], value[held]
            _, pair, times = np.unique(
                np.column_stack([user[row], value]), axis=0, return_inverse=True, return_counts=True
            )
            over[row[times[pair.ravel()] > at_most]] = True
        return over

    def most(self, users: NDArray[np.int64], seen: csr_matrix, n: int) -> NDArray[np.int64]:
        """(m,) rows that a list can have at most, caps aside.

        Args:
            users: (m,) user_index.
            seen: (m, n_items) what each has seen.
        """
        rows = np.zeros(len(users), np.int64)
        patterns, which = np.unique(self.holds[:, users].T, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            mine, open_items = which.ravel() == number, self._open(pattern)
            rows[mine] = open_items.sum() - (seen[mine] != 0) @ open_items.astype(np.int64)
        return np.clip(rows, 0, n)

    def is_exhausted(self, user: int, listed: NDArray[np.int32], seen: NDArray[np.int32]) -> bool:
        """Whether nothing that the user may be shown can follow those listed, because of caps."""
        left = self._open(self.holds[:, user])
        left[listed], left[seen] = False, False
        for at, (counted, at_most) in self._counted.items():
            if self.holds[at, user]:
                full = np.asarray(counted[listed].sum(axis=0)).ravel() >= at_most
                left &= (counted @ full.astype(np.int64)) == 0
        return not left.any()

    def _open(self, holds: Masks) -> Masks:
        """(n_items,) what has a rating and is forbidden by none of the rules that hold."""
        return ~self._forbidden[holds].any(axis=0) & self._rated

    @cached_property
    def _rated(self) -> Masks:
        return self.prepared.training_set("all").item_counts > 0

    @property
    def may_shorten(self) -> bool:
        """Whether a list may be shorter than what is eligible: there are caps."""
        return bool(self._counted)

    @cached_property
    def _counted(self) -> dict[int, tuple[csr_matrix, int]]:
        """By cap (n_items, n_values) 1 where an item has a value, and how often a list may have it."""
        counted: dict[int, tuple[csr_matrix, int]] = {}
        for at, rule in enumerate(self.rules.rule):
            if isinstance(rule, Cap):
                fits = self._judged(rule.where, self._items, len(self._items["item_id"]), rule)
                column = self._items[rule.column]
                values = [_values(value) if good else set() for value, good in zip(column, fits, strict=True)]
                number = {value: place for place, value in enumerate(set().union(*values))}
                pairs = [(item, number[value]) for item, own in enumerate(values) for value in own]
                row, code = np.array(pairs, np.int64).reshape(-1, 2).T
                shape = (len(values), max(len(number), 1))
                counted[at] = csr_matrix((np.ones(len(row), np.int64), (row, code)), shape=shape), rule.at_most
        return counted

    def _forbids(self, rule: ItemRule, row: int, listed: set[Any]) -> bool:
        fits = _all(rule.where or (), {name: column[row] for name, column in self._items.items()}, self._run_date)
        if rule.has_list and self._items["item_id"][row] not in listed:
            fits = False
        return fits is not True if isinstance(rule, Allow) else fits is not False

    def _judged(
        self, conditions: tuple[Condition, ...] | None, columns: dict[str, list[Any]], n: int, rule: Rule
    ) -> list[bool]:
        """Whether conditions hold for each row; where that is not known, if the rule takes something away."""
        if not conditions:
            return [True] * n
        unknown = rule.closes if not isinstance(rule, Boost) else False  # boosts forbid nothing
        seen: dict[Any, bool] = {}
        judged = []
        names = list(dict.fromkeys(condition.column for condition in conditions))
        for row in range(n):
            values = tuple(_hashable(columns[name][row]) for name in names)
            if values not in seen:
                found = _all(conditions, dict(zip(names, values, strict=True)), self._run_date)
                seen[values] = unknown if found is None else found
            judged.append(seen[values])
        return judged


def _columns(file: Path) -> list[tuple[str, Any]]:
    table = pq.read_table(file)
    return list(zip(table.column_names, table.columns, strict=True))


def _all(conditions: Sequence[Condition], row: dict[str, Any], run_date: date) -> bool | None:
    """False where one does not hold, else None where one is not known, else True."""
    found = [_one(condition, row[condition.column], run_date) for condition in conditions]
    return False if False in found else None if None in found else True


def _one(condition: Condition, value: Any, run_date: date) -> bool | None:
    if value is None:
        return None
    if condition.operator == "contains":
        return bool(_values(value) & set(condition.value))
    if condition.operator in ("min_age", "max_age"):
        count, unit = condition.age
        age = _age(value, unit, run_date)
        return age >= count if condition.operator == "min_age" else not _is_older(value, count, unit, run_date)
    return bool(_COMPARED[condition.operator](value, condition.value))


def _age(value: Any, unit: str, run_date: date) -> int:
    """Whole days, or whole years; of a year the difference of the years."""
    if not isinstance(value, date):
        return int(run_date.year - value)
    if unit == "day":
        return (run_date - value).days
    birthday = (run_date.month, run_date.day) >= (value.month, value.day)
    return run_date.year - value.year - (not birthday)


def _is_older(value: Any, count: int, unit: str, run_date: date) -> bool:
    """Whether more time than that has gone by, a day more than so many years too."""
    if unit == "day" or not isinstance(value, date):
        return _age(value, unit, run_date) > count
    leap_day = (run_date.month, run_date.day) == (2, 29) and not isleap(run_date.year - count)
    return (value.year, value.month, value.day) < (run_date.year - count, run_date.month, run_date.day - leap_day)


def _values(value: Any) -> set[Any]:
    """Of a text its parts between "|", of a list its entries; what is not known is a value of its own."""
    if value is None:
        return {None}
    parts = value.split("|") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return {part.strip() if isinstance(part, str) else part for part in parts} - {""}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
