"""What rules changed in the lists, counted by rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compute import over_ranges
from recsys.rules.policy import Policy, Rules
from recsys.rules.schema import Allow, Boost, Cap, Deny
from recsys.rules.selection import full_rows, ranks_in


@dataclass(frozen=True, eq=False)
class Effects:
    """What rules changed, over some lists.

    Attributes:
        lists: how many.     changed: those not as they were without rules.     short: those with a free place.
        rows_without, rows: places filled without and with the rules.
        removed, added, moved: (n_rules,) rows of the lists without rules that a rule took away; rows that it brought
            in; and rows of items it speaks of that stand at another rank.
    """

    lists: int
    changed: int
    short: int
    rows_without: int
    rows: int
    removed: NDArray[np.int64]
    added: NDArray[np.int64]
    moved: NDArray[np.int64]

    def __add__(self, other: Effects) -> Effects:
        return Effects(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def save(self, file: Path) -> None:
        """Write them as JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        file.write_text(json.dumps({name: np.asarray(value).tolist() for name, value in values.items()}))

    @classmethod
    def load(cls, file: Path) -> Effects:
        """Read what `save` wrote."""
        values: dict[str, Any] = json.loads(file.read_text())
        each: dict[str, Any] = {name: np.array(values.pop(name), np.int64) for name in ("removed", "added", "moved")}
        return cls(**values, **each)


def effects(rules: Rules, policy: Policy, before: NDArray[np.int32], after: NDArray[np.int32], threads: int) -> Effects:
    """Compare lists of one cohort, `popular` rows included: (m, n) item_index each, -1 at free places.

    Each rule is counted by the items that it speaks of. A denied item counts as removed by each rule that denies it;
    a cap for the rows that are gone while a value of theirs is full; a boost, or mmr, for rows that are still
    eligible.
    """
    to, back, full = np.empty_like(before), np.empty_like(after), np.empty(before.shape, bool)
    over_ranges(lambda start, stop: ranks_in(start, stop, before, after, to), len(before), threads)
    over_ranges(lambda start, stop: ranks_in(start, stop, after, before, back), len(after), threads)
    gone, new = (before >= 0) & (to < 0), (after >= 0) & (back < 0)
    moved = (after >= 0) & (back >= 0) & (back != np.arange(after.shape[1]))
    counts = np.zeros((3, len(policy.holds)), np.int64)
    for at in np.flatnonzero(policy.holds):
        rule, touched = rules.rules.rule[at], rules.touched[at]
        lost = gone & touched[before]
        if isinstance(rule, Cap):
            arrays = after, before, policy.cap_of[int(at)], full
            over_ranges(lambda start, stop: full_rows(start, stop, *arrays), len(before), threads)  # noqa: B023
            counts[0, at] = np.count_nonzero(lost & policy.eligible[before] & full)
        elif isinstance(rule, Deny | Allow):
            counts[0, at] = np.count_nonzero(lost)
        elif isinstance(rule, Boost) or rule is policy.mmr:
            counts[0, at] = np.count_nonzero(lost & policy.eligible[before])
            counts[1, at] = np.count_nonzero(new & touched[after])
            counts[2, at] = np.count_nonzero(moved & touched[after])
    return Effects(
        len(before), int((before != after).any(axis=1).sum()), int((after < 0).any(axis=1).sum()),
        int((before >= 0).sum()), int((after >= 0).sum()), *counts,
    )  # fmt: skip
