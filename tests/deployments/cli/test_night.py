"""How a night's end is told: on a terminal, elsewhere, after a first night and after a refused one."""

import io
import json

import pytest
from rich.console import Console
from rich.text import Text

from deployments.cli import console as terminal
from deployments.cli import night
from recsys.store import Store

REASON = "ndcg@10 0.1000 of <b>edlae</b> is not better than 0.2000 of popular"
FINDINGS = [
    {"check": "a", "verdict": "REJECTED", "reason": REASON},
    {"check": "b", "verdict": "PROMOTED", "reason": "fine"},
]
MANIFEST = {
    "run_id": "b" * 16, "run_date": "2026-11-19", "sources": {"model": 1990, "popular": 10},
    "metrics": {"ndcg@10": {"value": 0.32, "low": 0.31, "high": 0.33}, "coverage@10": {"value": 0.5}, "rmse": {"value": 0.83}},
    "baselines": {"popular": {"ndcg@10": {"value": 0.16}}, "means": {"rmse": {"value": 0.91}}},
}  # fmt: skip
CHAMPION = {
    "run_id": "a" * 16, "run_date": "2026-11-18", "users": 1900, "metrics": {"ndcg@10": {"value": 0.2}},
    "differences": {
        "ndcg@10": {"value": 0.01, "low": 0.005, "high": 0.015}, "rmse": {"value": 0.02, "low": -0.01, "high": 0.05},
    },
}  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(width, verdict, champion) -> what standard error holds; width None: it is no terminal."""

    def tell(width, verdict="PROMOTED", champion=CHAMPION) -> str:
        out = io.StringIO()
        colours = "standard" if width else None
        made = Console(file=out, highlight=False, force_terminal=width is not None, width=width, color_system=colours)
        for module in (terminal, night):
            monkeypatch.setattr(module, "console", made)
        before = tmp_path / "runs/run_date=2026-11-18" / f"run_id={'a' * 16}"
        folder = tmp_path / "runs/run_date=2026-11-19" / f"run_id={'b' * 16}"
        for each in (before, folder):
            each.mkdir(parents=True, exist_ok=True)
        (before / "manifest.json").write_text(json.dumps({"metrics": {"ndcg@10": {"value": 0.3111}}}))
        findings = FINDINGS if verdict == "REJECTED" else FINDINGS[1:]
        gate = {"verdict": verdict, "reasons": [], "publish": verdict != "REJECTED", "findings": findings}
        (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"gate": gate}))
        (folder / "evaluation.json").write_text(json.dumps({"champion": champion}))
        night.tell_night(Store(tmp_path), folder, "published")
        return out.getvalue()

    return tell


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_a_table(told, width):
    drawn = told(width)
    plain = Text.from_ansi(drawn).plain
    assert plain.index("PROMOTED") < plain.index("nothing speaks against it") < plain.index("ndcg@10")
    row = next(line for line in plain.splitlines() if "ndcg@10" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "ndcg@10", "0.3200", "[0.3100, 0.3300]", "0.1600", "0.3111", "+0.0100",
    ]  # fmt: skip
    assert "\x1b[32m+0.0100" in drawn, "certainly better than last night"
    assert "m+0.0200" not in drawn, "nobody knows"
    assert f"last night: run {'a' * 16} of 2026-11-18" in plain
    assert "2,000 rows: 1,990 model, 10 popular" in plain
    assert "report/index.html" in plain
    assert plain.rstrip().endswith("/recommendations")
    table = [line for line in plain.splitlines() if line[:1] in "│┃┏┡└"]
    assert max(map(len, table)) <= width


def test_a_first_night_has_nothing_beside_it(told):
    plain = Text.from_ansi(told(80, "UNGATED", {"why_not": "nothing was published before"})).plain
    assert "last night" not in plain
    assert "change" not in plain


def test_what_speaks_against_it_comes_first_and_alone(told):
    plain = Text.from_ansi(told(80, "REJECTED")).plain
    assert plain.index("REJECTED") < plain.index("<b>edlae</b>") < plain.index("tonight")
    assert "fine" not in plain


def test_elsewhere_lines_without_escapes(told):
    lines = told(None, "REJECTED").splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0] == f"  verdict       REJECTED; {REASON}"
    assert lines[1].split() == [
        "ndcg@10",
        "0.3200",
        "[0.3100,",
        "0.3300]",
        "baseline",
        "0.1600",
        "last",
        "night",
        "0.3111",
    ]
    assert all(line.startswith(("  ", "run ")) for line in lines)
