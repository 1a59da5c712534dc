"""What a person or a log sees: lines, bars, tables and errors on standard error, results on standard output."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from recsys import progress
from recsys.gate.verdict import PROMOTED, REJECTED, SUSPICIOUS, UNGATED

LIST_HEAD = ("rank", "gets", "predicted", "source", "because of")
STYLES = {PROMOTED: "bold green", UNGATED: "bold yellow", SUSPICIOUS: "bold yellow", REJECTED: "bold red"}
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d*")
WORD = re.compile(r"(\S+)\s*")
LONGEST_LABEL = 26  # of a bar: 80 columns hold it with all else
FOLDED = 24  # of a title that has to be broken
console = Console(stderr=True, highlight=False)
# ESC, BEL, CR and their like steer a terminal, marks of direction turn the rest of its line; a title may hold any.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}" for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def visible(text: str) -> str:
    """Control characters, line breaks among them, as escapes."""
    return text.translate(_CONTROLS)


def visible_lines(text: str) -> str:
    """As `visible`, but the line breaks stay: for text of several lines."""
    return "\n".join(map(visible, text.split("\n")))


class _Lines(logging.Handler):
    """Log records with the time of day: plain lines, which a terminal wraps beside the time."""

    def emit(self, record: logging.LogRecord) -> None:
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "")
        stamp = self.formatter.formatTime(record, "%H:%M:%S") if self.formatter else ""
        hung(Text(stamp, style="dim"), Text(visible(record.getMessage()), style=style))


class _Done(ProgressColumn):
    """How much is done, of how much, and how much a second."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done, rate = _amount(task.completed, unit), task.finished_speed or task.speed
        of = "" if task.total is None else f"/{_amount(task.total, unit)}"
        return Text(f"{done}{of}" + ("" if rate is None else f" {_rate(rate, unit)}"))


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _amount(number: float, unit: str) -> str:
    return decimal(int(number)) if unit == "bytes" else f"{number:,.0f}"


def _rate(number: float, unit: str) -> str:
    if unit == "bytes":
        return f"{decimal(int(number))}/s"
    return f"{number:,.{0 if number >= 10 else 1}f} {unit}/s"


class _Bars:
    """Progress bars on a terminal, gone when their work is done; rich draws one display at a time, so they share it."""

    def __init__(self) -> None:
        label = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), label, BarColumn(bar_width=15), _Done(), TimeRemainingColumn(compact=True))
        self.display = Progress(*columns, console=console, transient=True)
        self.lock = threading.Lock()

    def start(self, label: str, total: int | None, unit: str) -> progress.Bar:
        with self.lock:
            self.display.start()
            return _Bar(self, self.display.add_task(_short(visible(label)), total=total, unit=unit))

    def end(self, task: TaskID) -> None:
        with self.lock:
            self.display.remove_task(task)
            if not self.display.tasks:
                self.display.stop()


class _Bar:
    def __init__(self, bars: _Bars, task: TaskID) -> None:
        self.bars, self.task = bars, task

    def advance(self, amount: int) -> None:
        self.bars.display.advance(self.task, amount)

    def close(self) -> None:
        self.bars.end(self.task)


def show_progress() -> None:
    """Send the library's log to the terminal, and its progress as bars where there is one that can draw them."""
    handler = _Lines()
    handler.setFormatter(logging.Formatter())
    logger = logging.getLogger("recsys")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    if console.is_terminal and not console.is_dumb_terminal:
        progress.report_to(_Bars())


def hung(head: Text, text: Text) -> None:
    """A line on standard error; where a terminal has to wrap it, its lines begin below one another, right of `head`."""
    lines = [Text.assemble(head, " ", text)]
    if console.is_terminal:
        left = head.cell_len + 1
        first, *rest = _wrapped(text, console.width - left)
        lines = [Text.assemble(head, " ", first), *(Text(" " * left) + line for line in rest)]
    for line in lines:
        console.print(line, soft_wrap=True)


def _wrapped(text: Text, room: int) -> list[Text]:
    """Lines of whole words: one that is longer, such as a path, is left to the terminal, so that it is copied whole."""
    cuts, used = [], 0
    for word in WORD.finditer(text.plain):
        if used and used + cell_len(word[1]) > room:
            cuts.append(word.start())
            used = 0
        used += cell_len(word[0])
    lines = list(text.divide(cuts))
    for line in lines:
        line.rstrip()
    return lines


def error(message: str) -> None:
    """Say what went wrong; the parts of a `RecsysError` begin in column 12, their labels stand before."""
    first, *rest = visible_lines(message).split("\n")
    hung(Text("error:", style="red"), Text(first, style="red"))
    for line in rest:
        cut = 11 if line.startswith("  ") and line[11:12] == " " else 0
        if cut:
            hung(Text(line[:cut], style="red"), Text(line[cut + 1 :], style="red"))
        else:
            console.print(Text(line, style="red"), soft_wrap=True)


def result(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """A line on standard output, with what it quotes shown as text."""
    out, line = Console(highlight=False), Text(visible(text))
    for part in _wrapped(line, out.width) if out.is_terminal else [line]:
        out.print(part, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, spare: Sequence[str] = ()) -> None:
    """A table on standard output; titles and ids are shown as text, never as markup or control codes.

    A terminal gets a frame of its width, anything else a line a row with all columns.

    Args:
        rows: of values; a styled `Text` is taken as it is.
        spare: columns that a narrow terminal can do without, the first to go first; they are named below.
    """
    found = zip(*([_cell(value) for value in row] for row in rows), strict=True)
    cells: dict[str, Sequence[Text]] = dict.fromkeys(columns, ()) | dict(zip(columns, found, strict=False))
    room = width()
    if room is None:
        for line in _plain(cells, title):
            Console(highlight=False).print(line, soft_wrap=True)
        return
    left_out = []
    for name in spare:
        if _wide(cells) > room:
            left_out.append(name)
            del cells[name]
    out = Console(highlight=False, width=room)
    out.print(drawn(cells, title))
    if left_out:
        out.print(Text(f"not shown: {', '.join(left_out)}; --json has them", style="dim"))


def _plain(cells: Mapping[str, Sequence[Text]], title: str) -> list[Text]:
    """The lines of a table without a frame: columns stand below one another, two blanks apart."""
    columns = []
    for name, column in cells.items():
        head, right = Text(visible(name)), _numbers(column)
        most = max(cell.cell_len for cell in (head, *column))
        columns.append([_padded(cell, most, right=right) for cell in (head, *column)])
    lines = [Text("  ").join(row) for row in zip(*columns, strict=True)]
    for line in lines:
        line.rstrip()
    return [Text(visible(title)), *lines] if title else lines


def _padded(cell: Text, length: int, *, right: bool) -> Text:
    blank = Text(" " * (length - cell.cell_len))
    return blank + cell if right else cell + blank


def drawn(cells: Mapping[str, Sequence[Text]], title: str = "") -> Table:
    """Columns of cells under their names; numbers stand on the right."""
    found = Table(title=Text(visible(title)) if title else None, title_justify="left")
    for name, column in cells.items():
        found.add_column(Text(visible(name)), justify="right" if _numbers(column) else "left", overflow="fold")
    for row in zip(*cells.values(), strict=True):
        found.add_row(*row)
    return found


def _numbers(column: Sequence[Text]) -> bool:
    return bool(column) and all(NUMBER.fullmatch(cell.plain) for cell in column)


def _cell(value: object) -> Text:
    return value if isinstance(value, Text) else Text("" if value is None else visible(str(value)))


def _wide(cells: Mapping[str, Sequence[Text]]) -> int:
    """Columns of a terminal that a table needs, with longer cells in lines of `FOLDED`; a frame has three a column."""
    widths = [max(cell.cell_len for cell in (Text(name), *column)) for name, column in cells.items()]
    return 1 + sum(3 + min(width, FOLDED) for width in widths)


def verdict_text(verdict: str) -> Text:
    """A verdict in its colour."""
    return Text(verdict, style=STYLES.get(verdict, ""))


def list_cells(row: Mapping[str, Any], titles: Mapping[Any, str | None]) -> list[object]:
    """A row of `recommendations` with its title, under `LIST_HEAD`.

    Args:
        titles: of each item_id, None where it has none.
    """
    predicted = "" if row["predicted_rating"] is None else f"{row['predicted_rating']:.2f}"
    because = titles.get(row["because_item_id"]) or row["because_item_id"]
    return [row["rank"], row["title"] or row["item_id"], predicted, row["source"], because]


def width() -> int | None:
    """Columns of the terminal that results go to; None where they go elsewhere."""
    out = Console(highlight=False)
    return out.width if out.is_terminal else None
