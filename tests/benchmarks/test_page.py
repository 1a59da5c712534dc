"""The page of the benchmarks: a section can be renewed by itself, and nothing is measured to write it."""

from __future__ import annotations

import pytest

from benchmarks import page
from benchmarks.kept import records

NAMES = [section.name for section in page.SECTIONS]


def record(name, rows, notes=()):
    return {
        "name": name, "figures": {"rows": rows, "notes": list(notes)}, "code": "0.1.0+abc", "versions": {"numpy": "2.4.6"},
        "date": "2026-11-21T10:00+00:00", "threads": 2, "load": 0.5, "seconds": 10.0,
    }  # fmt: skip


def headings(text):
    return [line for line in text.splitlines() if line.startswith("#")]


def test_of_nothing_each_section_names_its_command():
    text = page.page([], "")
    assert headings(text) == ["# Benchmarks", *(f"## {section.title}" for section in page.SECTIONS)]
    assert all(f"`python -m benchmarks.page --only {name}`" in text for name in NAMES)


@pytest.mark.parametrize(("load", "told"), [(2.0, False), (2.1, True)])
def test_it_is_said_when_other_work_wanted_the_cores(load, told):
    record = {
        "name": "night", "figures": {"rows": []}, "code": "0.1.0+abc", "versions": {}, "date": "2026-11-21",
        "threads": 2, "load": load, "seconds": 10.0,
    }  # fmt: skip
    assert ("wanted the cores" in page.section_lines(page.SECTIONS[0], record)[-1]) == told


def test_a_section_has_its_table_its_notes_and_under_what_it_was_measured():
    rows = [{"system": "ours", "seconds": 37.94, "seen": 0}, {"system": "theirs", "not run": "no network"}]
    text = page.page([record("peers", rows, ["3.2 times"])], "")
    own = text[text.index("## Beside other systems") :]
    assert "| system | seconds | seen | not run |\n| --- | --- | --- | --- |\n| ours | 37.9 | 0 |  |" in own
    assert (
        "| theirs |  |  | no network |\n\n- 3.2 times\n\n*2026-11-21, 2 cores, load before 0.5, 0.1.0+abc; numpy 2.4.6*"
        in own
    )


def test_what_was_not_measured_here_stays_as_it_stands():
    before = page.page([record("night", [{"dataset": "old"}]), record("large", [{"stage": "old"}])], "")
    after = page.page([record("night", [{"dataset": "new"}])], before)
    assert after == before.replace("| old |", "| new |", 1)
    assert page.page([], after) == after


def test_a_section_that_is_no_more_leaves_the_page():
    assert page.page([], page.page([], "") + "\n## Beside plain NumPy\n\nold\n") == page.page([], "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0000"), (9.999, "10.00"), (-12.34, "-12.3"), (1234.5, "1,234"), (60400, "60,400"), ("a|b", "a\\|b")],
)
def test_cells(value, shown):
    assert page.cell(value) == shown


def test_medians_are_of_each_key():
    rounds = [{"fit": 1.0, "score": 9.0}, {"fit": 5.0, "score": 7.0}, {"fit": 3.0, "score": 8.0}]
    assert page.medians(rounds) == {"fit": 3.0, "score": 8.0}


@pytest.fixture
def measured(monkeypatch):
    """Nothing is measured; the names and terms that were asked for."""
    calls = []
    monkeypatch.setattr(
        page.Section, "measure", lambda self, given: calls.append((self.name, given)) or {"rows": [{"figure": 1}]}
    )
    monkeypatch.setattr(page.Section, "report", lambda self, figures: page.figure_lines(figures))
    return calls


def test_the_quick_and_the_slow_ones_are_apart(tmp_path, measured, capsys):
    places = ["--out", str(tmp_path / "page.md"), "--kept", str(tmp_path / "kept"), "--mirror", str(tmp_path)]
    page.main(places)
    quick = [name for name, _ in measured]
    page.main(["--slow", *places])
    assert [name for name, _ in measured] == [*quick, *(name for name in NAMES if name not in quick)]
    assert {given.rounds for _, given in measured} == {3}
    assert [one["name"] for one in records(tmp_path / "kept")] == sorted(NAMES)
    assert "Not measured" not in (tmp_path / "page.md").read_text()
    page.main(["--only", quick[0], *places])  # asked for again, it is measured again
    assert [name for name, _ in measured][-1] == quick[0]


def test_a_try_out_keeps_nothing(tmp_path, measured, capsys):
    page.main(["--only", "peers", "--small", "--out", str(tmp_path / "page.md"), "--kept", str(tmp_path / "kept")])
    assert list(tmp_path.iterdir()) == []
    assert "| figure |" in capsys.readouterr().out


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        page.main(["--only", "night,nothing"])
    assert "no benchmark nothing" in capsys.readouterr().err
