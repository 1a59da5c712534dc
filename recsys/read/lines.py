"""The lines of a block: where they are, which of them are no rows, and how a line comes apart into fields.

Everything here looks at one line at a time, so that a broken line cannot touch its neighbours and the size of the
blocks does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from recsys.read import reasons

UNIT = b"\x1f"  # ASCII's unit separator stands in for delimiters of more than one byte, e.g. "::"
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


class Lines:
    """Lines of a block that ends in a newline, by position from 0."""

    def __init__(self, block: bytes) -> None:
        self.block = block

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """(n_bytes,) the block's bytes."""
        return np.frombuffer(self.block, np.uint8)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """(n_lines,) where each line's newline stands."""
        return np.flatnonzero(self.codes == _NEWLINE)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(n_lines,) where each line begins."""
        return np.concatenate([np.zeros(1, np.int64), self.ends + 1])[:-1]

    def __getitem__(self, line: int) -> bytes:
        return self.block[self.starts[line] : self.ends[line]].removesuffix(b"\r")

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lines in which the bytes at `positions` stand."""
        return np.searchsorted(self.ends, positions)

    def with_content(self) -> NDArray[np.bool_]:
        """(n_lines,) False where a line is blank: nothing but its line end."""
        length = self.ends - self.starts
        content: NDArray[np.bool_] = (length > 1) | ((length == 1) & (self.codes[self.starts] != _RETURN))
        return content

    def without(self, lines: Iterable[int]) -> bytes:
        """The block with those lines made blank."""
        block = bytearray(self.block)
        for line in lines:
            start, end = self.starts[line], self.ends[line]
            block[start:end] = b"\n" * (end - start)
        return bytes(block)


def faults(lines: Lines, delimiter: bytes) -> dict[int, str]:
    """The lines that a CSV parser must not see, with the first reason of each.

    Args:
        delimiter: one byte.
    """
    by_reason = [
        (reasons.NOT_UTF8, _not_utf8(lines)),
        (reasons.CARRIAGE_RETURN, _with_inner_return(lines)),
        *_misquoted(lines, delimiter),
    ]
    found: dict[int, str] = {}
    for reason, at in by_reason:
        for line in at.tolist():
            found.setdefault(line, reason)
    return found


def _not_utf8(lines: Lines) -> NDArray[np.int64]:
    """By halving: each level decodes the block at most once, and a block that is right is decoded once."""
    if lines.block.isascii():
        return np.zeros(0, np.int64)
    found, ranges = [], [(0, len(lines.ends))]
    while ranges:
        first, end = ranges.pop()
        try:
            str(memoryview(lines.block)[lines.starts[first] : lines.ends[end - 1]], "utf-8")
        except UnicodeDecodeError:
            middle = (first + end) // 2
            if middle == first:
                found.append(first)
            else:
                ranges += [(first, middle), (middle, end)]
    return np.array(found, np.int64)


def _with_inner_return(lines: Lines) -> NDArray[np.int64]:
    """A carriage return that ends no line: parsers would start a new row there."""
    block = lines.block
    if b"\r" not in block or block.count(b"\r") == block.count(b"\r\n"):
        return np.zeros(0, np.int64)
    returns = np.flatnonzero(lines.codes == _RETURN)
    return lines.at(returns[lines.codes[returns + 1] != _NEWLINE])


def _misquoted(lines: Lines, delimiter: bytes) -> list[tuple[str, NDArray[np.int64]]]:
    """Lines whose quotes are not as RFC 4180 has them.

    Counted within its line from 0, an even quote opens a field (it follows a delimiter or the line's start) or is the
    second of a doubled quote; an odd one closes a field or is the first of a doubled quote; and the count is even.
    """
    if b'"' not in lines.block:
        return []
    quotes = np.flatnonzero(lines.codes == _QUOTE)
    before_line = np.searchsorted(quotes, lines.starts)
    in_line = np.diff(before_line, append=len(quotes))
    line = np.repeat(np.arange(len(in_line)), in_line)
    opens = (np.arange(len(quotes)) - np.repeat(before_line, in_line)) % 2 == 0
    last = np.append(line[1:] != line[:-1], True)
    beside = np.zeros(256, bool)
    beside[[_NEWLINE, _RETURN, _QUOTE, delimiter[0]]] = True
    before = np.where(quotes > 0, lines.codes[quotes - 1], _NEWLINE)
    right = beside[np.where(opens, before, lines.codes[quotes + 1])]
    return [(reasons.UNCLOSED_QUOTE, line[opens & last]), (reasons.STRAY_QUOTE, line[~right])]


@lru_cache
def _field(delimiter: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'(?:"((?:[^"]|"")*+)"|([^"]*?))(?:(' + re.escape(delimiter) + rb")|\Z)")


def split(line: bytes, delimiter: bytes) -> list[bytes]:
    """The line's fields without their quotes, up to the first that cannot be read.

    >>> split(b'1,"a, ""b"" c",3', b",")
    [b'1', b'a, "b" c', b'3']
    >>> split(b'1,"a,3', b",")
    [b'1']
    """
    if b'"' not in line:
        return line.split(delimiter)
    fields, at = [], 0
    while match := _field(delimiter).match(line, at):
        quoted, plain, another = match.groups()
        fields.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        if another is None:
            break
        at = match.end()
    return fields
