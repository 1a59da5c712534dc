"""The screen that the gallery draws, as a terminal would have it."""

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from benchmarks.screen import Screen, draw, shown


def test_bars_that_are_gone_leave_nothing():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60)
    with Progress(console=console, transient=True, auto_refresh=False) as bars:
        for name in ("one", "two"):
            bars.add_task(name, total=2)
        console.print("a line meanwhile")
        bars.refresh()
    console.print("the end")
    screen = Screen()
    screen.write(out.getvalue())
    assert [line for line in screen.lines if line] == ["a line meanwhile", "the end"]


def test_a_program_has_a_terminal_of_the_width_given_and_moments_are_caught():
    code = (
        "import os, sys; print(sys.stderr.isatty(), os.get_terminal_size().columns); print('10 epochs/s'); print('end')"
    )
    lines, moment = shown([sys.executable, "-c", code], {}, 72, lambda line: "epochs/s" in line)
    assert lines == ["True 72", "10 epochs/s", "end", ""]
    assert "10 epochs/s" in moment
    with pytest.raises(RuntimeError, match="exit code 3"):
        shown([sys.executable, "-c", "raise SystemExit(3)"], {}, 72)


def test_it_is_drawn_as_text(tmp_path):
    draw(["\x1b[1;32mPROMOTED\x1b[0m", "<b>&"], 40, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">PROMOTED</span>" in page
    assert "&lt;b&gt;&amp;" in page
