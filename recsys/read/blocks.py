"""Files as blocks of whole lines, so that memory is bounded by the block and not by the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from recsys.errors import InputRefused, SourceUnavailable
from recsys.progress import Bar

# 16 MiB of MovieLens are 650,000 rows: a few hundredths of a second of fixed cost a block vanish, and a handful of
# blocks in flight with their parsed columns (about twice the text) stay under 200 MiB.
BLOCK_BYTES = 16 << 20
_CODECS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
MAX_LINE_BYTES = 16 << 20  # a longer "line" is no row of ratings but another kind of file


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn failures to read `path` into errors an operator can act on.

    Raises:
        SourceUnavailable: the file is not there.
        InputRefused: it is there and cannot be read or decoded.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{path} is not there.", todo="check the path, or whether the file moved") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputRefused(
            f"{path.name} cannot be read.",
            expected="a readable, complete file of the kind its name says",
            found=f"{type(error).__name__}: {error}"[:500],
            todo=f"check or fetch again {path}",
        ) from error


def file_bytes(path: Path) -> int:
    """Bytes of the file as it lies on disk.

    Raises:
        SourceUnavailable: the file is not there.
    """
    with readable(path):
        return path.stat().st_size


def read_blocks(path: Path, size: int, bar: Bar) -> Iterator[bytes]:
    """Decompressed blocks of about `size` bytes, each of whole lines and ending in a newline, in order.

    `bar` advances by bytes of the file on disk. The compression follows from the name: .gz, .zst, .bz2 or .lz4.

    Raises:
        SourceUnavailable: the file is not there.
        InputRefused: it cannot be read, is cut short, or has a line longer than `MAX_LINE_BYTES`.
    """
    with readable(path), pa.OSFile(str(path)) as file:
        stream = _decompressed(path, file)
        told, rest = 0, b""
        while data := stream.read(size):
            bar.advance(file.tell() - told)
            told = file.tell()
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut]
                rest = data[cut:]
            else:
                rest += data
            _refuse_long(path, rest)
        if rest:
            yield rest + b"\n"


def _decompressed(path: Path, file: pa.NativeFile) -> pa.NativeFile:
    codec = _CODECS.get(path.suffix.lower())
    return pa.CompressedInputStream(file, codec) if codec else file


def _refuse_long(path: Path, rest: bytes) -> None:
    if len(rest) > MAX_LINE_BYTES:
        raise InputRefused(
            f"{path.name} is not a table of lines.",
            expected=f"lines of at most {MAX_LINE_BYTES:,} bytes",
            found=f"{len(rest):,} bytes without a newline, starting with {rest[:40]!r}",
            todo="give a CSV, TSV or Parquet file; compressed files are known by .gz and .zst",
        )
