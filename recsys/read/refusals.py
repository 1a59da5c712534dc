"""When a whole input is refused, and what is said then."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from recsys.config import InputConfig
from recsys.errors import InputRefused, sample
from recsys.ratings import Snapshot
from recsys.read import reasons
from recsys.read.gather import Gathered

MOST_REASONS = 8  # a message is read on one screen
MOST_EXAMPLES = 5


class RowsRefused(InputRefused):
    """Too many rows are refused. `quarantine` holds them, so that the caller can still write them somewhere."""

    def __init__(self, what: str, *, quarantine: pa.Table, expected: str, found: str, todo: str) -> None:
        super().__init__(what, expected=expected, found=found, todo=todo)
        self.quarantine = quarantine


def is_too_many(gathered: Gathered, config: InputConfig) -> bool:
    """More than the configured share of the rows is refused."""
    return gathered.refused > config.max_bad_fraction * gathered.rows


def refuse_unfit(gathered: Gathered, snapshot: Snapshot, config: InputConfig) -> None:
    """Refuse an input from which no night should be made.

    Raises:
        RowsRefused: more than `max_bad_fraction` of the rows are refused, or all.
        InputRefused: there are no rows.
    """
    if not gathered.rows:
        raise InputRefused(
            f"{snapshot.dataset} has no ratings.",
            expected="at least one row",
            found=f"0 rows in {sample(snapshot.ratings)}",
            todo="check what wrote the input; the published run stays as it is",
        )
    if is_too_many(gathered, config) or not gathered.valid:
        raise too_many(gathered, snapshot, config)


def too_many(gathered: Gathered, snapshot: Snapshot, config: InputConfig) -> RowsRefused:
    """The refusal, with counts by reason and the first places."""
    quarantine = gathered.quarantine
    return RowsRefused(
        f"{gathered.refused:,} of {gathered.rows:,} rows of {snapshot.dataset} read are refused"
        f" ({gathered.refused / gathered.rows:.2%}).",
        expected=f"at most {config.max_bad_fraction:.2%} (input.max_bad_fraction), and a valid row",
        found=f"{_by_reason(quarantine)}; first at {_places(quarantine)}",
        todo=_todo(quarantine),
        quarantine=quarantine,
    )


def _todo(quarantine: pa.Table) -> str:
    if reasons.RATING_DECIMAL_COMMA in pc.unique(quarantine["reason"]).to_pylist():
        return "write ratings with a decimal point (3.5, not 3,5); in pandas: read_csv(..., decimal=',').to_csv(...)"
    return "mend these rows; check columns, delimiter and scale; or allow more with --set input.max_bad_fraction=F"


def _by_reason(quarantine: pa.Table) -> str:
    """E.g. `rating is missing: 12; user id is missing: 3`, most frequent first, then by name."""
    counts = pc.value_counts(quarantine["reason"]).to_pylist()
    ordered = sorted(counts, key=lambda count: (-count["counts"], count["values"]))
    shown = [f"{count['values']}: {count['counts']:,}" for count in ordered[:MOST_REASONS]]
    return "; ".join(shown + ["..."] * (len(ordered) > MOST_REASONS))


def _places(quarantine: pa.Table) -> str:
    first = quarantine.slice(0, MOST_EXAMPLES).to_pylist()
    return ", ".join(f"{row['file']}:{row['line']} {row['text'][:60]!r}" for row in first)
