"""The benchmark of the page, on a page that is only a page."""

import json

from benchmarks import browser, page, report


def test_without_a_browser_the_size_is_told_and_why_the_rest_is_not(tmp_path, monkeypatch):
    file = tmp_path / "index.html"
    file.write_text("a" * 1_500_000)
    monkeypatch.setattr(browser.shutil, "which", lambda name: None if name == "chromedriver" else f"/usr/bin/{name}")
    assert browser.why_none() == "no chromedriver: `apt-get install chromium chromium-driver`"
    found = report.figures(file, {"seconds": 2.5}, tmp_path)
    assert found == {"MB": 1.5, "seconds to draw": 2.5, "seconds to open": None}


def test_a_row_a_size(tmp_path, monkeypatch):
    made = []

    def night(options, store, env):
        made.append(options)
        return None, {"timings": {"report": {"seconds": 1.0}}}

    file = tmp_path / "index.html"
    file.write_text("page")
    monkeypatch.setattr(report, "night", night)
    monkeypatch.setattr(report, "find_page", lambda store: type("Page", (), {"file": file}))
    monkeypatch.setattr(report, "why_none", lambda: "no chromium")
    found = report.for_page(page.Given(tmp_path, small=True))
    assert json.dumps(found)
    assert found["rows"] == [
        {"users": 300, "items": 200, "ratings": 9_000, "MB": 4e-6, "seconds to draw": 1.0, "seconds to open": None}
    ]
    assert made == [("--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000")]
    assert found["notes"][-1] == "no chromium"
