"""The settled rules of a run as a scorer needs them: by cohort, the users for whom the same rules hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.rules.conditions import value_lists
from recsys.rules.schema import Allow, Boost, Cap, Deny, Mmr, RuleSet
from recsys.rules.selection import Caps, Likeness, Values
from recsys.rules.source import read_rules
from recsys.rules.tables import VECTOR

Floats = NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)
WIDER = 6  # times a list's length: on ml-1m a fifth more time, and a list of ten seldom needs a second look


@dataclass(frozen=True, eq=False)
class Boosts:
    """What boosts do to the scores of one class of items: the steps of the rules that touch them, in their order."""

    steps: tuple[Boost, ...] = ()

    def of(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The boosted scores; a higher score never becomes a lower one."""
        if not self.steps:
            return scores
        values = scores.astype(np.float64)
        for step in self.steps:
            if step.factor is not None:
                values = np.where(values > 0, values * step.factor, values / step.factor)
            else:
                values = values + (step.add or 0.0)
        return np.clip(values, -LARGEST, LARGEST).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Policy:
    """What holds for one cohort.

    Attributes:
        holds: (n_rules,) bool.
        eligible: (n_items,) bool, what may be listed.
        boosts: by class of items.     boost_class: (n_items,) int64, position in `boosts`; 0: none.
        caps: all of them as one.     cap_of: each by itself, by its place among the rules.
        mmr: None: lists stay in the order of the scores.     likeness: of items, where there is an mmr.
    """

    holds: NDArray[np.bool_]
    eligible: NDArray[np.bool_]
    boosts: tuple[Boosts, ...]
    boost_class: NDArray[np.int64]
    caps: Caps
    cap_of: Mapping[int, Caps]
    mmr: Mmr | None
    likeness: Likeness

    @property
    def in_order(self) -> bool:
        """Whether candidates stand in the ranker's own order: nothing is boosted."""
        return len(self.boosts) == 1


@dataclass(frozen=True)
class Rules:
    """The settled rules in a run's folder.

    Attributes:
        folder: what `recsys.rules.stage` wrote.
    """

    folder: Path
    _policies: dict[int, Policy] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of_run(cls, run_folder: Path) -> Rules | None:
        """Those of a run; None where it has none."""
        folder = run_folder / "rules"
        return cls(folder) if folder.exists() else None

    @cached_property
    def rules(self) -> RuleSet:
        """The rules as given."""
        return read_rules(next(self.folder.glob("rules.toml"), self.folder / "rules.parquet"))

    @cached_property
    def record(self) -> dict[str, Any]:
        """What rules.json says."""
        return json.loads((self.folder / "rules.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def touched(self) -> NDArray[np.bool_]:
        """(n_rules, n_items) the items that a rule speaks of."""
        return np.load(self.folder / "touched.npy", allow_pickle=False)

    def width(self, n: int) -> int:
        """How many of a person's best are looked at before any rule: enough for most lists of n to be told by them."""
        pools = [rule.pool for rule in self.rules.rule if isinstance(rule, Mmr)]
        capped = any(isinstance(rule, Cap) for rule in self.rules.rule)
        return max([WIDER * n if capped else 2 * n, *(pool + n for pool in pools)])

    def cohort(self, user_index: NDArray[np.int32]) -> NDArray[np.int32]:
        """The cohort of each user of the run; of others, whose index is -1, that of people of whom nothing is known."""
        cohort = np.load(self.folder / "cohort.npy", mmap_mode="r", allow_pickle=False)
        return np.where(user_index >= 0, cohort[user_index], np.int32(self.record["strangers"]))

    def policy(self, cohort: int) -> Policy:
        """What holds for a cohort."""
        if cohort not in self._policies:
            self._policies[cohort] = self._policy(np.array(self.record["cohorts"][cohort], bool))
        return self._policies[cohort]

    def _policy(self, holds: NDArray[np.bool_]) -> Policy:
        rules, touched = self.rules.rule, self.touched
        closing = [at for at, rule in enumerate(rules) if isinstance(rule, Deny | Allow) and holds[at]]
        boosting = [at for at, rule in enumerate(rules) if isinstance(rule, Boost) and holds[at]]
        patterns, boost_class = np.unique(
            np.vstack([np.zeros(len(boosting), bool), touched[boosting].T]), axis=0, return_inverse=True
        ) if boosting else (np.zeros((1, 0), bool), np.zeros(touched.shape[1] + 1, np.int64))  # fmt: skip
        cap_of = {at: self._cap(at) for at, rule in enumerate(rules) if isinstance(rule, Cap) and holds[at]}
        mmr = next((rule for at, rule in enumerate(rules) if isinstance(rule, Mmr) and holds[at]), None)
        return Policy(
            holds=holds,
            eligible=~np.any(touched[closing], axis=0),
            boosts=tuple(
                Boosts(tuple(rules[at] for at, on in zip(boosting, pattern, strict=True) if on))  # type: ignore[misc]
                for pattern in patterns
            ),
            boost_class=boost_class.ravel()[1:],
            caps=_together(list(cap_of.values()), touched.shape[1]),
            cap_of=cap_of,
            mmr=mmr,
            likeness=self._likeness(mmr),
        )

    def _cap(self, at: int) -> Caps:
        """What a cap counts; items of which the column is not known have a value in common."""
        rule = self.rules.rule[at]
        assert isinstance(rule, Cap)
        values = values_of(self._column(rule.column), self.touched[at], unknown=True)
        return Caps(*values, np.full(int(np.max(values.codes, initial=-1)) + 1, rule.at_most, np.int32))

    def _likeness(self, mmr: Mmr | None) -> Likeness:
        column = pa.nulls(self.touched.shape[1], pa.string()) if mmr is None else self._column(mmr.by)
        return likeness_of(column, "" if mmr is None else mmr.by)

    @cached_property
    def _items(self) -> pa.Table:
        return pq.read_table(self.folder / "items.parquet")

    def _column(self, name: str) -> pa.Array:
        column: pa.Array = self._items[name].combine_chunks()
        return column


def _together(caps: Sequence[Caps], n_items: int) -> Caps:
    """Several caps as one, their values numbered one after the other."""
    first = np.cumsum([0, *(len(cap.limit) for cap in caps)])
    item = np.concatenate(
        [np.empty(0, np.int64), *(np.repeat(np.arange(n_items), np.diff(cap.indptr)) for cap in caps)]
    )
    codes = [cap.codes + np.int32(start) for cap, start in zip(caps, first, strict=False)]
    order = np.argsort(item, kind="stable")
    return Caps(
        _indptr(item, n_items),
        np.concatenate([np.empty(0, np.int32), *codes])[order],
        np.concatenate([np.empty(0, np.int32), *(cap.limit for cap in caps)]),
    )


def values_of(column: pa.Array, wanted: NDArray[np.bool_], *, unknown: bool) -> Values:
    """The distinct values of each item, numbered; of items that are not wanted none.

    Args:
        unknown: items without a value have one in common; else they have none.

    Raises:
        UsageError: it is a column of vectors.
    """
    if column.type == VECTOR:
        raise UsageError(
            "A cap counts by a column of vectors.",
            expected="a column of texts, numbers, dates or lists of texts",
            found=str(column.type),
            todo="name another column",
        )
    lists = value_lists(column)
    item, texts = pc.list_parent_indices(lists).to_numpy(), pc.utf8_trim_whitespace(lists.flatten())
    filled = pc.fill_null(pc.not_equal(texts, ""), False).to_numpy(zero_copy_only=False)
    item, codes = item[filled], texts.filter(pa.array(filled)).dictionary_encode().indices.to_numpy()
    if unknown:
        missing = np.flatnonzero(lists.is_null().to_numpy(zero_copy_only=False))
        item = np.concatenate([item, missing])
        codes = np.concatenate([codes, np.full(len(missing), codes.max(initial=-1) + 1, np.int32)])
    pairs = np.unique(np.column_stack([item[wanted[item]], codes[wanted[item]]]), axis=0)
    return Values(_indptr(pairs[:, 0], len(lists)), pairs[:, 1].astype(np.int32))


def likeness_of(column: pa.Array, name: str) -> Likeness:
    """How alike items are by a column: lists of numbers are vectors, all else values.

    Raises:
        UsageError: the vectors cannot be compared.
    """
    everything = np.ones(len(column), bool)
    if column.type == VECTOR:
        nothing = Values(np.zeros(len(column) + 1, np.int64), np.empty(0, np.int32))
        return Likeness(*nothing, unit_vectors(column, name))
    return Likeness(*values_of(column, everything, unknown=False), np.empty((len(column), 0)))


def unit_vectors(column: pa.Array, name: str) -> Floats:
    """(n_items, size) vectors of length 1; zeros for an item without one.

    Raises:
        UsageError: they are not of one length, or not finite.
    """
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    sizes = np.unique(lengths[lengths > 0])
    values = pc.fill_null(column.flatten(), np.nan).to_numpy(zero_copy_only=False)
    if len(sizes) > 1 or not np.isfinite(values).all():
        raise UsageError(
            f"The column {name!r} has vectors that cannot be compared.",
            expected="lists of finite numbers, all of one length",
            found=f"lengths {', '.join(map(str, sizes[:5]))}" if len(sizes) > 1 else "numbers that are not finite",
            todo="mend the column, or leave it empty where an item has no vector",
        )
    vectors = np.zeros((len(column), int(sizes[0]) if len(sizes) else 1))
    vectors[lengths > 0] = values.reshape(-1, vectors.shape[1])
    length = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return vectors / np.where(length > 0, length, 1.0)


def _indptr(item: NDArray[Any], n_items: int) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(np.bincount(item.astype(np.int64), minlength=n_items)))).astype(np.int64)
