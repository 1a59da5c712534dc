"""The stage `rules`: what each rule means for this input, settled before anything is trained.

rules.toml (or rules.parquet)     the file as it was given
items.parquet users.parquet       the columns that rules look at, a row an item or a user of the id map
lists.parquet                     the known ids of each rule's list: rule (from 0), item_id
touched.npy                       (n_rules, n_items) bool, the items that a rule speaks of (allow: those it does not)
cohort.npy                        (n_users,) int32, users for whom the same rules hold are one cohort
rules.json                        the file's hash, run_date, the rules with counts, the cohorts
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.identifiers import UNKNOWN
from recsys.prepare.prepared import Prepared
from recsys.read.ids import typed_ids
from recsys.rules.columns import id_type, item_columns, user_columns
from recsys.rules.conditions import hold
from recsys.rules.policy import Rules
from recsys.rules.schema import Allow, ItemRule, Mmr, Rule, RuleSet
from recsys.rules.source import RulesSource, is_parquet_rules
from recsys.rules.tables import read_ids
from recsys.run import Run
from recsys.store import sealed_stage

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Touch:
    """What a rule speaks of.

    Attributes:
        items: items of the catalogue: denied, not allowed, boosted, counted by a cap.
        unknown_ids: entries of its list that are no item of the catalogue.
        users: users with a list for whom it holds.
        unknown_users: those among them, or left out of a favour, because a column of theirs is not known.
    """

    name: str
    kind: str
    items: int
    unknown_ids: int
    users: int
    unknown_users: int


def settle(run: Run) -> None:
    """Work out the rules of a run, once; nothing where it has none.

    Raises:
        UsageError: a table cannot be read or a comparison makes no sense; nothing was trained.
    """
    if run.rules is None:
        return
    with sealed_stage(run.folder / "rules", run.record("rules"), under_way=run.under_way) as folder:
        if folder is not None:
            _settle(folder, run, run.rules)


def _settle(folder: Path, run: Run, source: RulesSource) -> None:
    rules, prepared = source.read(), run.prepared
    items = item_columns(rules, source, run.snapshot, prepared)
    users = user_columns(rules, source, prepared)
    lists, unknown_ids = _lists(rules, source, prepared)
    touched = np.array(
        [_touched(rule, ids, items, prepared, run.run_date) for rule, ids in zip(rules.rule, lists, strict=True)]
    )
    selected = [_selected(rule, users, run.run_date) for rule in rules.rule]
    holds = _resolved(rules.rule, selected, len(users))
    cohorts, cohort = np.unique(np.vstack([_for_strangers(rules.rule), holds]), axis=0, return_inverse=True)
    served = prepared.array("served")
    touches = [
        Touch(
            name=rules.names[at], kind=rule.kind, items=int(touched[at].sum()), unknown_ids=unknown_ids[at],
            users=int(holds[served, at].sum()), unknown_users=int(_is_null(selected[at])[served].sum()),
        )
        for at, rule in enumerate(rules.rule)
    ]  # fmt: skip
    given = Path(source.file)
    shutil.copyfile(given, folder / f"rules.{'parquet' if is_parquet_rules(given) else 'toml'}")
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    pq.write_table(users, folder / "users.parquet", compression="zstd")
    pq.write_table(_list_table(lists, prepared), folder / "lists.parquet", compression="zstd")
    np.save(folder / "touched.npy", touched)
    np.save(folder / "cohort.npy", cohort.ravel()[1:].astype(np.int32))
    record = {
        "sha256": source.fingerprint,
        "run_date": run.run_date.isoformat(),
        "rules": [asdict(touch) for touch in touches],
        "cohorts": cohorts.tolist(),
        "strangers": int(cohort.ravel()[0]),
    }
    (folder / "rules.json").write_text(json.dumps(record, indent=2))
    for number in range(len(cohorts)):
        Rules(folder).policy(number)  # what cannot be counted or compared is told now
    for touch, rule in zip(touches, rules.rule, strict=True):
        _tell(touch, rule.closes)


def _lists(rules: RuleSet, source: RulesSource, prepared: Prepared) -> tuple[list[pa.Array | None], list[int]]:
    """The ids of each rule's list, None where it has none, and how many of them are no item of the catalogue."""
    known, lists, unknown = prepared.ids.item_ids, list[pa.Array | None](), list[int]()
    for rule in rules.rule:
        if not isinstance(rule, ItemRule) or not rule.has_list:
            lists.append(None)
            unknown.append(0)
            continue
        ids, fit = typed_ids(pa.array([str(one) for one in rule.items or ()], pa.string()), id_type(known))
        ids, strange = ids.filter(pa.array(fit)), int(np.count_nonzero(~fit))
        if rule.file is not None:
            more, others = read_ids(source.path(rule.file), rule.id, id_type(known))
            ids, strange = pa.concat_arrays([ids, more]), strange + others
        ids = ids.unique()
        there = prepared.ids.item_index(ids) != UNKNOWN
        lists.append(ids.filter(pa.array(there)))
        unknown.append(strange + int(np.count_nonzero(~there)))
    return lists, unknown


def _touched(
    rule: Rule, ids: pa.Array | None, items: pa.Table, prepared: Prepared, run_date: date
) -> NDArray[np.bool_]:
    """(n_items,) the items that a rule speaks of; of `allow` those that are not allowed."""
    columns = {name: items[name].combine_chunks() for name in items.column_names}
    fits = pa.array(np.ones(len(items), bool))
    if not isinstance(rule, Mmr) and getattr(rule, "where", None):
        fits = hold(rule.where, columns, run_date)  # type: ignore[attr-defined]
    if ids is not None:
        listed = np.zeros(len(items), bool)
        listed[prepared.ids.item_index(ids)] = True
        fits = pc.and_kleene(fits, pa.array(listed))
    if isinstance(rule, Allow):
        return ~_filled(fits, False)
    return _filled(fits, rule.closes)


def _selected(rule: Rule, users: pa.Table, run_date: date) -> pa.Array:
    """(n_users,) bool, null where it is not known whether the rule is for a user."""
    if rule.selector is None:
        return pa.array(np.ones(len(users), bool))
    return hold(rule.selector, {name: users[name].combine_chunks() for name in users.column_names}, run_date)


def _resolved(rules: Sequence[Rule], selected: Sequence[pa.Array], n_users: int) -> NDArray[np.bool_]:
    """(n_users, n_rules) whether a rule holds for a user: where that is not known, if it takes something away."""
    holds = np.empty((n_users, len(rules)), bool)
    for at, (rule, column) in enumerate(zip(rules, selected, strict=True)):
        holds[:, at] = _filled(column, rule.closes)
    return holds


def _for_strangers(rules: Sequence[Rule]) -> NDArray[np.bool_]:
    """(n_rules,) what holds for people of whom nothing is known."""
    return np.array([rule.selector is None or rule.closes for rule in rules], bool)


def _filled(column: pa.Array, unknown: bool) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = pc.fill_null(column, unknown).to_numpy(zero_copy_only=False)
    return values


def _is_null(column: pa.Array) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return values


def _list_table(lists: Sequence[pa.Array | None], prepared: Prepared) -> pa.Table:
    kind = prepared.ids.item_ids.type
    schema = pa.schema([pa.field("rule", pa.int32()), pa.field("item_id", kind)])
    tables = [
        pa.table({"rule": pa.array(np.full(len(ids), at, np.int32)), "item_id": ids}, schema=schema)
        for at, ids in enumerate(lists)
        if ids is not None
    ]
    return pa.concat_tables([schema.empty_table(), *tables])


def _tell(touch: Touch, closes: bool) -> None:
    log.info("rules: %s (%s): %s items, %s users", touch.name, touch.kind, f"{touch.items:,}", f"{touch.users:,}")
    if not touch.items:
        log.warning("rules: %s (%s) speaks of no item of the input: it does nothing", touch.name, touch.kind)
    if touch.unknown_ids:
        log.warning("rules: %s names %s ids that are no items of the input", touch.name, f"{touch.unknown_ids:,}")
    if touch.unknown_users:
        log.warning(
            "rules: of %s users it is not known whether %s is for them: it %s for them",
            f"{touch.unknown_users:,}", touch.name, "holds" if closes else "does not hold",
        )  # fmt: skip
