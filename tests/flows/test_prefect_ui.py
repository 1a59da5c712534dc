"""A night seen in a browser, on the pages of a real Prefect server: what happened is told, and text stays text."""

from __future__ import annotations

import json

import httpx
import pytest

from benchmarks.browser import choose_tab, chromium, requests, until, why_none
from recsys.report.text import in_code, in_markdown, shown

NIGHT = "night-2026-10-31"
HOSTILE = (
    "<script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 1'>",
    "**bold** _it_ ~~gone~~ `code` # head",
    "[link](javascript:alert(1)) ![img](http://evil.example/x.png) <http://evil.example>",
    "http://evil.example www.evil.example nobody@evil.example",
    "Quo\"ted ' & &lt;entity&gt; | pipe | 0.25 - 3 * 4 + 5",
    "- item\n1. item\n> quoted\n---",
    "מלחמת הכוכבים",
    "🎬 Ünïcödé \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "$x^2$ {{ 7 * 7 }} \\ \\\\ \\*",
)
FILE = "r <b>x<b> *y* [l](h) `t` &amp; $.csv"  # a name that a disk takes


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("selenium", reason="no selenium: `make setup` installs it")
    if why_none():
        pytest.skip(why_none())
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def night(cli, prefect_server, tmp_path_factory):
    """The id of the flow run of a night on a file with a hostile name, and its artifacts by key."""
    folder = tmp_path_factory.mktemp("night")
    rows = (
        f"{user},{(7 * user + step * step) % 60},{1 + (user + step) % 5}" for user in range(60) for step in range(12)
    )
    (folder / FILE).write_text("user,item,rating\n" + "\n".join(dict.fromkeys(rows)) + "\n")
    through = [word for verdict in ("rejected", "suspicious") for word in ("--set", f"gate.on_{verdict}=publish")]
    cli("run", "--ratings", folder / FILE, "--store", folder / "store", "--run-date", NIGHT[6:], *through)
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        run = api.post("/flow_runs/filter", json={"flow_runs": {"name": {"any_": [NIGHT]}}}).json()[0]["id"]
        artifacts = api.post("/artifacts/filter", json={"flow_runs": {"id": {"any_": [run]}}}).json()
    return run, {artifact["key"]: artifact for artifact in artifacts}


@pytest.fixture
def look(browser, prefect_server):
    """look(path, text) -> the words of a page of the server, once that text is among them."""

    def words(path: str, text: str) -> str:
        requests(browser)
        browser.get(prefect_server.removesuffix("api") + path)
        until(browser, "return document.body.innerText.includes(arguments[0])", text)
        return browser.execute_script("return document.body.innerText")

    yield words
    outside = [
        url for url in requests(browser) if not url.startswith((prefect_server[:-3], "data:", "blob:", "chrome:"))
    ]
    assert outside == []
    assert browser.execute_script("return window.harmed === undefined")


def test_the_flow_run_with_its_tasks(look, night, browser) -> None:
    assert NIGHT in look(f"runs/flow-run/{night[0]}", "Completed")
    choose_tab(browser, "Task Runs")
    listed = "[...document.querySelectorAll('#task-runs-content a')]"
    for name in ("download", "prepare", "fit-ranker", "fit-rater", "evaluate", "judge", "report", "seal", "publish"):
        box = browser.find_element("css selector", "#task-runs-content input")
        box.clear()
        box.send_keys(name)
        until(browser, f"return {listed}.some(link => link.innerText.startsWith(arguments[0]))", name)


def test_its_logs(look, night) -> None:
    words = look(f"runs/flow-run/{night[0]}", "judge: ")
    assert FILE in words


def test_its_artifacts(look, night, browser) -> None:
    look(f"runs/flow-run/{night[0]}", "Completed")
    choose_tab(browser, "Artifacts")
    for key in ("night-summary", "night-metrics", "night-gate", "night-tables", "night-report"):
        until(browser, "return document.getElementById('artifacts-content').innerText.includes(arguments[0])", key)


def test_the_summary_names_the_file_as_it_is(look, night, browser) -> None:
    words = look(f"artifacts/artifact/{night[1]['night-summary']['id']}", "Night of")
    assert FILE in words
    assert "Lists" in words
    assert browser.find_elements("css selector", ".markdown-renderer b, .markdown-renderer em") == []


def test_the_tables_of_metrics_and_of_the_gate(look, night) -> None:
    words = look(f"artifacts/artifact/{night[1]['night-metrics']['id']}", "ndcg@10")
    assert all(name in words for name in ("metric", "baseline", "rmse"))
    words = look(f"artifacts/artifact/{night[1]['night-gate']['id']}", "ranker_beats_popular")
    checks = json.loads(night[1]["night-gate"]["data"])
    assert all(row["reason"].replace("\\", "") in words for row in checks)


def test_links_lead_to_the_tables_and_the_report(look, night, browser) -> None:
    for key, end in (("night-tables", "/recommendations"), ("night-report", "/report/index.html")):
        look(f"artifacts/artifact/{night[1][key]['id']}", end)
        links = [link.get_attribute("href") for link in browser.find_elements("css selector", "a[href^='file:']")]
        assert [link.endswith(end) for link in links] == [True]


def test_the_tables_are_told_as_assets(look, night) -> None:
    words = look("events?events=prefect.asset.materialization.succeeded", "recommendations")
    assert "similar_items" in words


def test_text_of_the_input_is_drawn_as_text(look, browser, prefect_server) -> None:
    body = "\n\n".join(f"- {in_markdown(text)}\n- {in_code(text)}" for text in HOSTILE)
    table = json.dumps([{"reason": in_markdown(text)} for text in HOSTILE])
    for kind, data in (("markdown", body), ("table", table)):
        made = httpx.post(f"{prefect_server}/artifacts/", json={"key": "hostile", "type": kind, "data": data}).json()
        words = look(f"artifacts/artifact/{made['id']}", "מלחמת")
        for text in HOSTILE:
            assert shown(text) in words, (kind, text)
        drawn = "[...document.querySelectorAll('.artifact-data-view, .artifact-data-markdown, .artifact-data-table')]"
        inside = browser.execute_script(
            f"return {drawn}.flatMap(e => [...e.querySelectorAll('a, img, script, em, strong, del, h1, h2')].map(x => x.outerHTML))"
        )
        assert inside == [], kind
