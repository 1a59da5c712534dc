"""Parts of array files (.npy), read plainly.

Pages of a mapped file count as a process's memory for as long as it is mapped; a buffer goes when it is let go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_array(path: Path, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Entries `start` to `stop` of an array of one dimension, or those to its end.

    Raises:
        ValueError: the file is no array or is cut short.
        OSError: it is not there or cannot be read.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        (length,), _, kind = np.lib.format.read_array_header_1_0(file)
        wanted = (length if stop is None else stop) - start
        file.seek(start * kind.itemsize, 1)
        found: NDArray[Any] = np.fromfile(file, kind, wanted)
    if len(found) != wanted:
        raise ValueError(f"{path} is cut short: {wanted:,} entries expected from {start:,} on, {len(found):,} found")
    return found
