"""What a terminal shows of a program: it runs on a pseudo-terminal, and rich draws the screen as a page."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

# The few ways in which rich moves: up a line, erase a line, hide and show the cursor. Colours stay in the text.
_MOVES = re.compile(r"(\x1b\[1A|\x1b\[2K|\x1b\[\?25[lh]|\r|\n)")

PAGE = """<!doctype html><meta charset="utf-8"><body style="margin: 0; overflow: hidden; background: {background}">
<pre style="display: inline-block; margin: 16px; color: {foreground}; font: 16px/normal 'DejaVu Sans Mono', monospace">
{code}</pre>"""


class Screen:
    """Lines as they stand after what was written, escapes of colours within them."""

    def __init__(self) -> None:
        self.lines, self.row = [""], 0

    def write(self, text: str) -> None:
        """Take what a program wrote."""
        for part in _MOVES.split(text):
            if part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part == "\x1b[1A":
                self.row = max(0, self.row - 1)
            elif part in ("\r", "\x1b[2K"):  # rich draws a line anew from its beginning
                self.lines[self.row] = "" if part == "\x1b[2K" else self.lines[self.row]
            elif part and not part.startswith("\x1b[?"):
                self.lines[self.row] += part


def shown(
    command: Sequence[str], env: Mapping[str, str], width: int, caught: Callable[[str], bool] | None = None
) -> tuple[list[str], list[str]]:
    """Run a command on a terminal of that width.

    Args:
        caught: of the line that is being drawn, whether to keep the screen of that moment.

    Returns:
        The lines at the end, and those of the last moment caught.

    Raises:
        RuntimeError: the command failed.
    """
    screen, moment = Screen(), list[str]()
    for text in _output(command, env, width):
        screen.write(text)
        if caught is not None and any(caught(line) for line in screen.lines[-4:]):
            moment = list(screen.lines)
    return screen.lines, moment


def _output(command: Sequence[str], env: Mapping[str, str], width: int) -> Iterator[str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with subprocess.Popen(command, env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        whole, rest = "", b""
        while block := _read(ours):
            whole, rest = _whole(rest + block)
            yield whole
    os.close(ours)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {whole}")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the last program on it has ended
        return b""


def _whole(data: bytes) -> tuple[str, bytes]:
    """Text up to the last whole line or escape, and the bytes behind."""
    cut = max(data.rfind(b"\n"), data.rfind(b"\x1b") - 1, data.rfind(b"\r")) + 1
    return data[:cut].decode(errors="replace"), data[cut:]


def draw(lines: Sequence[str], width: int, file: Path) -> None:
    """The screen as a page. Lines stand as near as the font wants them, so that frames close."""
    console = Console(record=True, width=width, file=StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line))
    body = console.export_html(theme=DIMMED_MONOKAI, inline_styles=True, code_format=PAGE)
    file.write_text(body, encoding="utf-8")
