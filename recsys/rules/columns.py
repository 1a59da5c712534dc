"""The columns that rules look at, one row an item or a user of the id map, null where a value is not known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recsys.errors import UsageError
from recsys.prepare.prepared import Prepared
from recsys.ratings import IdType, Snapshot
from recsys.read.items import read_item_texts
from recsys.rules.schema import RuleSet
from recsys.rules.source import BUILT_IN, RulesSource, own_item_columns
from recsys.rules.tables import plain, read_by_id

DAY = 86_400  # seconds


def item_columns(rules: RuleSet, source: RulesSource, snapshot: Snapshot, prepared: Prepared) -> pa.Table:
    """item_id, and each column of items that a rule names; rows in the order of the id map.

    Raises:
        UsageError: a table cannot be read, or a column has no meaning in this input.
    """
    ids, names = prepared.ids.item_ids, rules.item_columns
    found = {name: _built_in(name, prepared) for name in names if name in BUILT_IN}
    own = [name for name in names if name not in found and name in own_item_columns(snapshot)]
    texts = read_item_texts(snapshot, ids, own) if own else {}
    found |= {name: plain(column, name, "the items file") for name, column in texts.items()}
    rest = [name for name in names if name not in found]
    if rest and rules.items is not None:
        path = source.path(rules.items.file)
        table = read_by_id(path, rules.items.id or "item_id", rest, id_type(ids), ids)
        found |= {name: table[name].combine_chunks() for name in rest}
    return pa.table({"item_id": ids} | {name: found[name] for name in names})


def user_columns(rules: RuleSet, source: RulesSource, prepared: Prepared) -> pa.Table:
    """user_id, and each column of users that a rule names; rows in the order of the id map.

    Raises:
        UsageError: the table cannot be read.
    """
    ids, names = prepared.ids.user_ids, rules.user_columns
    if rules.users is None or not names:
        return pa.table({"user_id": ids})
    path, column = source.path(rules.users.file), rules.users.id or "user_id"
    table = read_by_id(path, column, names, id_type(ids), ids)
    return table.add_column(0, "user_id", ids)


def id_type(ids: pa.Array) -> IdType:
    """The type of the input's ids."""
    return "integer" if pa.types.is_integer(ids.type) else "string"


def _built_in(name: str, prepared: Prepared) -> pa.Array:
    if name in ("title", "genres"):
        column: pa.Array = prepared.items()[name].combine_chunks()
        return column
    if name == "first_rated":
        return _first_rated(prepared)
    counts = prepared.training_set("all").item_counts
    if name == "ratings":
        return pa.array(counts.astype(np.int64))
    with np.errstate(invalid="ignore"):
        return pa.array(prepared.training_set("all").item_sums / counts, mask=counts == 0)


def _first_rated(prepared: Prepared) -> pa.Array:
    """The day in UTC of each item's first rating."""
    if not prepared.timed:
        raise UsageError(
            "A rule names the column 'first_rated', and the ratings have no timestamps.",
            expected="ratings with a timestamp, or another column with a date of the items",
            found="ratings without",
            todo="name the column of times with --columns timestamp=..., or use a column of the item table",
        )
    first = np.full(prepared.counts.items, np.iinfo(np.int64).max)
    for shard in prepared.shards:
        start, stop = prepared.array("indptr", shard.start, shard.stop + 1)[[0, -1]]
        np.minimum.at(first, prepared.array("item_index", start, stop), prepared.array("timestamp", start, stop))
    rated = first < np.iinfo(np.int64).max
    return pa.array(np.where(rated, first, 0) // DAY, pa.int64(), mask=~rated).cast(pa.int32()).cast(pa.date32())
