"""Ids by their distinct texts: which are there, which are integers, and in which type they are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.ratings import IdType
from recsys.read import reasons, values
from recsys.read.rows import Role, Rows

Verdict = tuple[NDArray[np.bool_], str]  # which values are refused, and why


@dataclass(frozen=True)
class IdCount:
    """Ids that are there, and those among them that are not integers."""

    present: int = 0
    not_integer: int = 0

    def __add__(self, other: IdCount) -> IdCount:
        return IdCount(self.present + other.present, self.not_integer + other.not_integer)


def typed_ids(texts: pa.Array, kind: IdType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The ids in their type, and which texts are ids of that type; the others become 0 or stay as they are."""
    if kind == "string":
        return texts, ~is_blank(texts)
    fit = values.is_integer(texts)
    numbers = pc.if_else(pa.array(fit), values.integral(texts), "0")
    return numbers.cast(pa.int64()), fit


def is_blank(texts: pa.Array) -> NDArray[np.bool_]:
    """(n,) True where there is nothing but blanks."""
    blank: NDArray[np.bool_] = pc.equal(values.trimmed(texts), "").to_numpy(zero_copy_only=False)
    return blank


class IdColumn:
    """The ids of one block.

    Attributes:
        codes: (n,) int32, the position of each row's id in the distinct ones.
        texts, ids, fit: the distinct ids as text, in their type, and whether they are of that type.
        missing: whether they are blank.
    """

    def __init__(self, rows: Rows, role: Role, kind: IdType) -> None:
        column = rows.columns[role]
        self.role, self.kind = role, kind
        self.declared_text = role in rows.declared_text
        self.codes: NDArray[np.int32] = column.indices.to_numpy()
        self.texts = column.dictionary
        self.missing = is_blank(self.texts)
        self.ids, self.fit = typed_ids(self.texts, kind)

    def verdicts(self) -> list[Verdict]:
        """On the distinct ids."""
        missing = (self.missing, reasons.id_missing(self.role))
        return [missing, (~self.fit, reasons.id_not_integer(self.role))]

    def count(self) -> IdCount:
        """How many rows have an id, and how many of these no integer, in whichever type the ids are kept."""
        rows_of = np.bincount(self.codes, minlength=len(self.texts))
        present = int(rows_of[~self.missing].sum())
        if self.declared_text:
            return IdCount(present, present)
        integer = self.fit if self.kind == "integer" else values.is_integer(self.texts)
        return IdCount(present, present - int(rows_of[integer].sum()))

    def kept(self, good: NDArray[np.bool_]) -> tuple[pa.Array, NDArray[np.int32]]:
        """The ids of the good rows and the rows' positions in them."""
        codes = self.codes[good]
        used = np.bincount(codes, minlength=len(self.ids)) > 0
        if used.all():
            return self.ids, codes
        position = (np.cumsum(used) - 1).astype(np.int32)
        return self.ids.filter(pa.array(used)), position[codes]
