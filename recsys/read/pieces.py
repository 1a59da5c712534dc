"""Arrays that come one after the other and are asked for again by number: a list, or a file that holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Pieces(Protocol):
    """Arrays of one type, by the order in which they came. A list is one."""

    def append(self, array: NDArray[Any], /) -> None:
        """Take the next."""

    def __getitem__(self, number: int, /) -> NDArray[Any]: ...

    def __len__(self) -> int: ...


Keep = Callable[[str], Pieces]  # makes a place for pieces, by a name of their own


def in_memory(name: str) -> Pieces:
    """A list."""
    return []


class FilePieces:
    """Pieces in a file, of which nothing but their lengths stays in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._starts = path, [0]
        self._kind: np.dtype[Any] = np.dtype(np.uint8)
        path.write_bytes(b"")

    def append(self, array: NDArray[Any]) -> None:
        """Write the next at the end of the file."""
        self._kind = array.dtype
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(array).data)  # `tofile` would not say why it failed
        self._starts.append(self._starts[-1] + array.nbytes)

    def __getitem__(self, number: int) -> NDArray[Any]:
        start, stop = self._starts[number], self._starts[number + 1]
        found = np.fromfile(self._path, np.uint8, stop - start, offset=start)
        return found.view(self._kind)

    def __len__(self) -> int:
        return len(self._starts) - 1


def in_folder(folder: Path) -> Keep:
    """Pieces in files of an existing folder."""
    return lambda name: FilePieces(folder / name)
