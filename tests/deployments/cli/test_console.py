"""What stands on a terminal of some width, and what where there is none; text of the input is text on both."""

import io
import logging

import pytest
from rich.console import Console
from rich.text import Text

from deployments.cli import console as terminal
from recsys.gate.verdict import PROMOTED, REJECTED

TITLES = ("<script>alert(1)</script>", '"quoted" & [bold]', "שלום\u202eevil", "🎬 :smile: 👩\u200d👧", "a\x1b[31m\x07b")
LONG = "a reason that no terminal has room for in one line, " * 4


@pytest.fixture
def on(monkeypatch):
    """on(width) -> what standard error holds then; None: it is no terminal."""

    def console(width: int | None, **given) -> io.StringIO:
        out = io.StringIO()
        colours = "standard" if width else None
        made = Console(
            file=out, highlight=False, force_terminal=width is not None, width=width, color_system=colours, **given
        )
        monkeypatch.setattr(terminal, "console", made)
        return out

    return console


def log(message: str) -> None:
    handler = terminal._Lines()
    handler.setFormatter(logging.Formatter())
    handler.emit(logging.LogRecord("recsys", logging.WARNING, "", 0, message, (), None))


@pytest.mark.parametrize("width", [80, 120])
def test_a_path_longer_than_the_line_is_copied_whole(on, width):
    path = "/srv/" + "a_folder/" * 20 + "index.html"
    out = on(width, no_color=True)
    log(f"report: {path}, 4.7 MiB, and then some more words that do not fit into what is left of the line")
    terminal.error(f"no such file\n  expected: {path}")
    assert out.getvalue().count(path) == 2  # whatever breaks it on the screen is no part of the text
    assert [line[:9].strip() for line in Text.from_ansi(out.getvalue()).plain.splitlines()[1:3]] == ["", ""]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_wraps_a_long_line_beside_the_time(on, width):
    out = on(width, no_color=True)
    log(LONG)
    lines = [Text.from_ansi(line).plain.rstrip() for line in out.getvalue().splitlines()]
    assert len(lines) > 1
    assert all(len(line) <= width for line in lines)
    assert all(line.startswith(" " * 9) and line[9] != " " for line in lines[1:])
    assert " ".join(line[9:].strip() for line in lines) == LONG.strip()


def test_elsewhere_a_line_is_a_line_without_escapes(on):
    out = on(None)
    log(LONG)
    terminal.error("what\n  expected: this\n  found:    that\n            and that")
    first, *rest = out.getvalue().splitlines()
    assert first[9:] == LONG
    assert rest == ["error: what", "  expected: this", "  found:    that", "            and that"]


def test_no_color_leaves_no_colour(on):
    out = on(80, no_color=True)
    terminal.console.print(terminal.verdict_text(REJECTED))
    assert "31m" not in out.getvalue()
    out = on(80)
    terminal.console.print(terminal.verdict_text(REJECTED))
    assert "31m" in out.getvalue()


def test_only_the_time_of_a_log_line_is_dim(on):
    out = on(80)
    log("a warning")
    line = out.getvalue()
    assert line.startswith("\x1b[2m")
    assert line.index("\x1b[0m") < line.index("a warning")
    assert "\x1b[33ma warning" in line


def test_bars_tell_what_is_done_how_fast_and_what_is_left(on):
    out = on(80)
    bars = terminal._Bars()
    bar = bars.start("read [bold]x[/bold] :skis:", 3_000_000, "bytes")
    users = bars.start("score", 1_000, "users")
    for _ in range(5):
        bar.advance(500_000)
        users.advance(100)
        for task in bars.display.tasks:  # as if a second had gone by between two steps
            for place, sample in enumerate(task._progress):
                task._progress[place] = sample._replace(timestamp=task.start_time + place)
        bars.display.refresh()
    bar.close()
    users.close()
    drawn = Text.from_ansi(out.getvalue().replace("\r", "\n")).plain
    assert "read [bold]x[/bold] :skis:" in drawn
    assert "2.5 MB/3.0 MB 500.0 kB/s" in drawn
    assert "500/1,000 100 users/s" in drawn
    assert "00:05" in drawn
    assert max(map(len, drawn.splitlines())) <= 80


def test_a_narrow_terminal_goes_without_what_is_spare(monkeypatch, capsys):
    for width, left_out in ((120, []), (40, ["spare"]), (24, ["spare", "more"])):
        monkeypatch.setattr(terminal, "width", lambda width=width: width)
        terminal.table(
            "", ("id", "title", "more", "spare"), [(1, "a title", "x" * 8, "y" * 20)], spare=("spare", "more")
        )
        out = capsys.readouterr().out
        assert ("not shown" in out) == bool(left_out)
        assert all((name in out.split("not shown")[0]) == (name not in left_out) for name in ("more", "spare"))
        assert max(map(len, out.split("not shown")[0].splitlines())) <= width


def test_elsewhere_a_row_is_a_line_with_all_columns(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "width", lambda: None)
    rows = [("a title " * 30, 1, ""), ("b", 1_000, "last"), ("🦉", "", None)]
    terminal.table("what", ("title", "n", "more"), rows, spare=("more",))
    told, head, *lines = capsys.readouterr().out.splitlines()
    assert told == "what"
    assert head.split() == ["title", "n", "more"]
    assert [line.split("  ")[0].strip() for line in lines] == [("a title " * 30).strip(), "b", "🦉"]
    assert lines[1].split() == ["b", "1000", "last"]
    assert lines[1].index("1000") + 4 == head.index("n  ") + 1, "numbers end below their name"
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [120, None])
def test_titles_are_text_in_every_view(on, capsys, monkeypatch, width):
    monkeypatch.setattr(terminal, "width", lambda: width)
    rows = [(place, title) for place, title in enumerate(TITLES)]
    terminal.table("neighbours of " + TITLES[1], ("rank", "title"), rows)
    terminal.say(f"{TITLES[4]}: 3 ratings")
    told = capsys.readouterr().out
    err = on(80)
    for title in TITLES:
        log(title)
    told += Text.from_ansi(err.getvalue()).plain
    for title in (
        "<script>alert(1)</script>",
        '"quoted" & [bold]',
        r"שלום\u202eevil",
        "🎬 :smile: 👩\u200d👧",
        r"a\x1b[31m\x07b",
    ):
        assert told.count(title) >= 2, title
    assert "\x07" not in err.getvalue()
    assert "\u202e" not in told


def test_numbers_stand_on_the_right():
    drawn = terminal.drawn(
        {"id": [Text("a"), Text("b")], "n": [Text("1"), Text("1,000.5")], "none": [Text(""), Text("")]}
    )
    assert [column.justify for column in drawn.columns] == ["left", "right", "right"]
    assert str(terminal.verdict_text(PROMOTED).style) == "bold green"
