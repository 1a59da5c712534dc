"""A model whose numbers are not all finite is refused: no comparison with NaN is true, so that it would hide items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled
from recsys.errors import UsageError


def check_finite(values: NDArray[Any], what: str) -> None:
    """Refuse numbers, or rows of a matrix, that are not finite.

    Args:
        values: (n,) or (n, m).
        what: one of them, for the message.

    Raises:
        UsageError: there are some.
    """
    finite = np.isfinite(values) if values.ndim == 1 else _finite_rows(values)
    wrong = np.flatnonzero(~finite)
    if len(wrong):
        raise UsageError(
            f"The model cannot be scored with: {what} is not a finite number.",
            expected="finite numbers, and scores within float32",
            found=f"{len(wrong):,} of {len(values):,} are not, the first at {wrong[0]:,}",
            todo="fit the model again; with a lower learning rate or stronger regularisation where it has diverged",
        )


@compiled
def _finite_rows(values):  # type: ignore[no-untyped-def]
    """(n,) bool; NumPy would make a mask as large as a quarter of the matrix."""
    finite = np.empty(len(values), np.bool_)
    for row in range(len(values)):
        wrong = 0
        for value in values[row]:
            wrong += not np.abs(value) < np.inf
        finite[row] = wrong == 0
    return finite
