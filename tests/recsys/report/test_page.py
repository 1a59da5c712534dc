"""The page as a file: whole, in order, bounded, the same for the same run, and with nothing but text from the input."""

import base64
import hashlib
import json
import re
import shutil
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise

import nights
import numpy as np
import plotly.graph_objects
import pytest
from pages import HOSTILE

from recsys.publish.mend import mend
from recsys.publish.stage import publish
from recsys.report import PAGE
from recsys.report.blocks import Section
from recsys.report.page import render
from recsys.report.source import Source
from recsys.report.stage import report
from recsys.report.text import shown, with_interval
from recsys.store.manifest import read_manifest

SECTIONS = ["verdict", "nights", "data", "training", "rater", "ranker", "map", "people", "timings", "about"]
MOST_BYTES = 10_000_000


class Parsed(HTMLParser):
    """Elements, with their attributes; the text of each script; all other text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.scripts, self.words, self.open = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = [tag] if tag in ("script", "style") else []
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.open = []

    def handle_data(self, data):
        if self.open == ["script"]:
            self.scripts[-1] += data
        elif not self.open:
            self.words.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[1])

    def all(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def parsed(hostile):
    return Parsed(hostile[1].read_text())


def test_all_sections_stand_in_their_order_under_headings_without_gaps(parsed):
    assert [heading["id"] for heading in parsed.all("h2")] == SECTIONS
    assert [link["href"] for link in parsed.all("a")] == ["#main", *(f"#{name}" for name in SECTIONS)]
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    identities = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(identities) == len(set(identities))


def test_a_hostile_input_adds_no_element(parsed):
    assert len(parsed.scripts) == 4
    assert {tag for tag, _ in parsed.elements} == {
        "html", "head", "meta", "title", "link", "style", "script", "body", "a", "header", "div", "p", "bdi", "h1",
        "strong", "span", "ul", "li", "fieldset", "legend", "label", "input", "nav", "main", "noscript", "section", "h2",
        "dl", "dt", "dd", "table", "caption", "thead", "tr", "th", "td", "tbody", "h3", "figure", "figcaption",
        "details", "summary", "button", "small", "footer", "code",
    }  # fmt: skip
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]


def test_hostile_titles_are_shown_as_text(parsed):
    words = "".join(parsed.words)
    for title in HOSTILE[:10]:
        assert shown(title) in words, title
    assert shown("a" * 300) in words
    assert "</td><script>alert(4)</script>␛" in words
    assert "<b>made</b>" in words
    assert "could not be drawn" not in words
    assert sorted(parsed.data["map"]["title"]) == sorted(shown(title) for title in HOSTILE)
    assert parsed.data["map"]["genres"] == ["<i>Drama</i>", 'Sci"Fi', "خيال", "other"]


def test_the_policy_lets_only_the_pages_own_scripts_run_and_fetches_nothing(parsed):
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv"))
    for place in (0, 2, 3):
        digest = base64.b64encode(hashlib.sha256(parsed.scripts[place].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    addresses = [
        value for _, attributes in parsed.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert {address.partition(":")[0] for address in addresses if not address.startswith("#")} == {"data"}


def test_every_chart_has_its_element_its_words_and_what_plotly_takes(parsed):
    plots = {div["id"]: div for div in parsed.all("div") if div.get("class") == "plot"}
    assert set(plots) == {*parsed.data["charts"], "item-map"}
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 20 for plot in plots.values())
    for name, chart in parsed.data["charts"].items():
        coloured = json.loads(re.sub(r'"--[a-z0-9-]+(/[0-9.]+)?"', '"#000"', json.dumps(chart)))
        plotly.graph_objects.Figure(data=coloured["traces"], layout=coloured["layout"]), name  # it checks all names


def test_colours_are_the_pages_own(hostile, parsed):
    style = re.search("<style>(.*?)</style>", hostile[1].read_text(), re.DOTALL)[1]
    used = set(re.findall(r'color[a-z]*": ?"(--[a-z0-9-]+)', json.dumps(parsed.data["charts"])))
    assert used
    for name in used:
        assert style.count(f"{name}: #") == 3, name  # in the light, and in the dark chosen or not


def test_equal_runs_give_equal_bytes(hostile):
    run, file = hostile
    shutil.rmtree(file.parent)
    again = report(run)
    assert again == file
    # The page does not tell its own time, so that all of it is the same; other runs differ in the stages' seconds.
    assert render(Source(run)) == file.read_text()
    assert len(file.read_bytes()) < MOST_BYTES


def test_it_is_made_once(hostile, monkeypatch):
    monkeypatch.setattr("recsys.report.stage.render", lambda _: pytest.fail("made again"))
    assert report(hostile[0]) == hostile[1]


def test_it_is_named_in_the_manifest_and_kept_with_the_run(tmp_path):
    run = nights.score_run(nights.make_run(tmp_path))
    report(run)
    publish(run)
    manifest = read_manifest(run.folder)
    assert PAGE.as_posix() in {entry["path"] for entry in manifest["files"]}
    assert "report" in manifest["timings"]


def test_a_refused_run_has_its_page_too(tmp_path):
    config = nights.config_of(gate={"min_ndcg": 0.999})
    run = nights.score_run(nights.make_run(tmp_path, config=config))
    words = "".join(Parsed(report(run).read_text()).words)
    assert "REJECTED" in words
    assert "not published: readers keep the tables they have" in words
    assert "is not at least 0.999" in words


def test_models_without_vectors_and_without_epochs(tmp_path):
    run = nights.score_run(nights.make_run(tmp_path))  # rater: means
    page = Parsed(report(run).read_text())
    words = "".join(page.words)
    assert "could not be drawn" not in words
    assert "there is no map" in words
    assert page.data["map"]["x"] == []
    assert any(page.data["map"]["near"])
    assert "means is solved, not trained in epochs" in words


def test_without_a_hold_out(tmp_path):
    dense = np.full((4, 3), np.nan)
    dense[np.arange(4), [0, 1, 2, 0]] = 4.0
    config = nights.config_of(gate={"ranker_beats_popular": False, "rater_beats_means": False})
    run = nights.score_run(nights.make_run(tmp_path, dense=dense, refused=(), config=config))
    words = "".join(Parsed(report(run).read_text()).words)
    assert "No rating is held out" in words
    assert "could not be drawn" not in words
    assert "No row of the input was refused." in words


def test_beside_the_published_run(tmp_path):
    before, _ = nights.publish_night(tmp_path, night=nights.NIGHT - timedelta(days=1))
    run = nights.make_run(tmp_path, config=nights.config_of(gate={"min_users": 1}))
    mend(run)
    words = "".join(Parsed(report(nights.score_run(run)).read_text()).words)
    champion = Source(run).evaluation["champion"]
    assert f"Beside the published run {before.run_id} of {before.run_date}" in words
    assert with_interval(champion["differences"]["ndcg@10"]) in words
    assert f"the last night ({before.run_date})" in words  # of its row in the table of nights


def test_a_part_that_fails_is_told_and_holds_nothing_back(hostile, monkeypatch, caplog):
    def broken(source):
        raise KeyError("</p><b>psi</b>")

    monkeypatch.setattr("recsys.report.nights.section", broken)
    monkeypatch.setattr("recsys.report.people.section", lambda _: Section("people", "P", [], {"more": float("nan")}))
    page = Parsed(render(Source(hostile[0])))
    assert [heading["id"] for heading in page.all("h2")] == SECTIONS
    words = "".join(page.words)
    assert words.count("This part could not be drawn") == 2
    assert "KeyError: '</p><b>psi</b>'" in words
    assert "the part 'nights' could not be drawn" in caplog.text
