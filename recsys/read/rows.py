"""The rows of one block of a file, as columns that are not yet checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Role = Literal["user", "item", "rating", "timestamp"]
Columns = dict[Role, str]  # the column's name in the file, by its role

MAX_TEXT = 1_000  # characters of a refused row that are kept


@dataclass(frozen=True)
class Refused:
    """A row whose fields do not come apart as they should.

    `user_id` and `item_id` are the ids as text, empty where they cannot be read.
    """

    line: int
    reason: str
    text: str
    user_id: str = ""
    item_id: str = ""


@dataclass(frozen=True)
class Rows:
    """Rows in the order of the file.

    Attributes:
        file: name of the file, without its folder.
        columns: by role, (n,) each. user, item: dictionary of string, missing ids empty. rating: dictionary of string
            or float64. timestamp: string, int64 or float64. Ratings and timestamps may be null.
        refused: the rows that are in no column.
        locate: maps row positions to line numbers (int64) and the rows' texts.
        declared_text: the id columns whose type in the file says that they are text, whatever their values.
    """

    file: str
    columns: dict[Role, pa.Array]
    refused: list[Refused]
    locate: Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], list[str]]]
    declared_text: frozenset[Role] = frozenset()

    def __len__(self) -> int:
        return len(self.columns["item"])


Job = Callable[[], Rows]  # the parsing of one block, to be done by any thread


def shown(row: bytes) -> str:
    r"""The row as it stood, bytes that are not UTF-8 as \xNN, at most `MAX_TEXT` characters.

    >>> shown(b"1,caf\xe9")
    '1,caf\\xe9'
    """
    # A character takes at most 4 bytes, so these bytes hold at least MAX_TEXT characters or the whole row; a character
    # cut in two at their end lies past MAX_TEXT.
    return row[: 4 * MAX_TEXT + 4].decode("utf-8", "backslashreplace")[:MAX_TEXT]
