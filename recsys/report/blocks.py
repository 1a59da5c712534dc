"""What a page consists of: sections of words, facts, tables and charts. The template draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Facts:
    """Figures that one takes in at a glance: name, value, and a word beside it."""

    facts: Sequence[tuple[str, str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row.

    Attributes:
        caption: what it shows.
        columns: their names.
        rows: texts, as many as columns.
        words: places of the columns, beside the first, that hold words; the others hold numbers.
        short: whether the first column is short, such as a rank.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()
    short: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Grid:
    """A table of marks, coloured by their height: `None` where there is none.

    Attributes:
        caption: what it shows.
        corner: name of the rows, and of the columns.
        rows, columns: their names.
        cells: a row each: the text, and its height from 0 to 1.
    """

    caption: str
    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[tuple[str, float] | None]]
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Chart:
    """A figure that Plotly draws.

    Attributes:
        id: of its element.
        title: its caption.
        label: what it says, in a sentence, for who does not see it.
        traces, layout: Plotly's; colours are names of the page's, such as "--blue", which change with the theme.
        table: its numbers.
        switch: the axis ("yaxis") that can be switched between linear and log.
        height: in pixels.
    """

    id: str
    title: str
    label: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    table: Table | None = None
    switch: str | None = None
    height: int = 300
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Group:
    """Blocks under a heading of their own; charts stand side by side where there is room.

    Attributes:
        title: its heading.
        blocks: in their order.
        folded: whether it is closed until somebody opens it.
    """

    title: str
    blocks: Sequence[Any]
    folded: bool = False
    kind: ClassVar[str] = "group"


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: of its heading, for links.
        title: its heading.
        blocks: in their order.
        data: what the page's script needs beside the charts, by name.
    """

    id: str
    title: str
    blocks: Sequence[Any]
    data: Mapping[str, Any] = field(default_factory=dict)


def charts_of(blocks: Iterable[Any]) -> list[Chart]:
    """All charts among the blocks and in their groups."""
    found: list[Chart] = []
    for block in blocks:
        found += charts_of(block.blocks) if isinstance(block, Group) else [block] if isinstance(block, Chart) else []
    return found
