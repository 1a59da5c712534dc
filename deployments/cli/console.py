"""What a person or a log sees: lines, bars, tables and errors on standard error, results on standard output."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from recsys import progress

LIST_HEAD = ("rank", "gets", "predicted", "source", "because of")
console = Console(stderr=True, highlight=False, soft_wrap=True)
# ESC, BEL, CR and their like steer a terminal; a title or an id may hold any of them.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def visible(text: str) -> str:
    """Control characters, line breaks among them, as escapes."""
    return text.translate(_CONTROLS)


def visible_lines(text: str) -> str:
    """As `visible`, but the line breaks stay: for text of several lines."""
    return "\n".join(map(visible, text.split("\n")))


class _Lines(logging.Handler):
    """Log records as plain lines with the time of day."""

    def emit(self, record: logging.LogRecord) -> None:
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "")
        stamp = self.formatter.formatTime(record, "%H:%M:%S") if self.formatter else ""
        console.print(Text(f"{stamp} ", style="dim") + Text(visible(record.getMessage()), style=style))


class _Bars:
    """Progress bars on a terminal, gone when their work is done; rich draws one display at a time, so they share it."""

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        more = (TextColumn("{task.fields[unit]}"), TimeRemainingColumn())
        self.display = Progress(*columns, *more, console=console, transient=True)
        self.lock = threading.Lock()

    def start(self, label: str, total: int | None, unit: str) -> progress.Bar:
        with self.lock:
            self.display.start()
            return _Bar(self, self.display.add_task(Text(visible(label)).markup, total=total, unit=unit))

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
    """Send the library's log to the terminal, and its progress as bars where there is one."""
    handler = _Lines()
    handler.setFormatter(logging.Formatter())
    logger = logging.getLogger("recsys")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    if console.is_terminal:
        progress.report_to(_Bars())


def error(message: str) -> None:
    """Say what went wrong."""
    console.print(Text(f"error: {visible_lines(message)}", style="red"))


def result(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; titles and ids are shown as text, never as markup or control codes.

    A cell may be a styled `Text`.
    """
    drawn = Table(title=Text(visible(title)) if title else None, title_justify="left")
    for column in columns:
        drawn.add_column(Text(visible(column)))
    for row in rows:
        drawn.add_row(*(value if isinstance(value, Text) else Text(visible(_plain(value))) for value in row))
    Console(highlight=False, width=width()).print(drawn)


def list_cells(row: Mapping[str, Any], titles: Mapping[Any, str | None]) -> list[object]:
    """A row of `recommendations` with its title, under `LIST_HEAD`.

    Args:
        titles: of each item_id, None where it has none.
    """
    predicted = "" if row["predicted_rating"] is None else f"{row['predicted_rating']:.2f}"
    because = titles.get(row["because_item_id"]) or row["because_item_id"]
    return [row["rank"], row["title"] or row["item_id"], predicted, row["source"], because]


def width() -> int:
    """Columns of a table: the terminal's. A pipe has none of its own, and 80 would cut what scripts look for."""
    out = Console(highlight=False)
    return out.width if out.is_terminal else 160


def _plain(value: object) -> str:
    return "" if value is None else str(value)
