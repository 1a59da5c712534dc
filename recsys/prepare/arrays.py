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


class ArrayWriter:
    """An array file that is written piece by piece; complete, and the same as `numpy.save` writes, once it is closed.

    NumPy leaves room in the header for a length that is known only at the end.
    """

    def __init__(self, path: Path, kind: type) -> None:
        self._kind, self._length = np.dtype(kind), 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, piece: NDArray[Any]) -> None:
        """Write the next entries."""
        self._file.write(np.ascontiguousarray(piece, self._kind).data)  # `tofile` would not say why it failed
        self._length += len(piece)

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()

    def _write_header(self) -> None:
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, self._kind)) | {"shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)
