"""The page in a browser, opened from disk without a network: it is whole, can be used, and hides nothing from anybody."""

import importlib.resources
import json

import pytest
from browser import look, show, show_all
from pages import HOSTILE
from test_page import SECTIONS

from benchmarks.browser import chromium, requests, until, why_none
from recsys.report.text import shown

WIDTHS = (390, 1440)
LABEL = "(document.querySelector('#item-map .hoverlayer .hovertext')?.textContent || '').replace(/\\s/g, '')"
TURNING = dict.fromkeys(map(ord, "\u202e\u202c"))  # left out of labels, where they would turn the rest of the line


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("selenium", reason="no selenium: `make setup` installs it")
    if why_none():
        pytest.skip(why_none())
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(params=WIDTHS)
def width(request):
    return request.param


def test_all_is_there_and_fits_and_nothing_is_fetched(browser, hostile, width):
    look(browser, hostile[1], width)
    charts = show_all(browser)
    found = browser.find_elements("css selector", "main > section > h2")
    assert [heading.get_attribute("id") for heading in found] == SECTIONS
    assert all(heading.is_displayed() for heading in found)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if width > 1000:
        tables = "[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility())"
        cut = f"return {tables}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)"
        assert browser.execute_script(cut) == []
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('svg').length)"
    )
    assert len(drawn) == len(charts) > 20
    assert all(drawn)
    assert browser.find_element("css selector", "header .verdict strong").text in ("PROMOTED", "UNGATED")
    asked = [url for url in requests(browser) if not url.startswith("data:")]
    assert asked == [hostile[1].as_uri()]
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")] == []


def test_no_script_of_the_input_has_run(browser, hostile):
    browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "window.alert = () => { window.harmed = 1 }"}
    )
    look(browser, hostile[1], 1440)
    show_all(browser)
    assert browser.execute_script("return window.harmed === undefined")
    for title in HOSTILE[:3]:
        element = browser.find_element("css selector", ".person td, .person th")
        assert element.is_displayed()
        assert shown(title) in browser.execute_script("return document.body.innerText")


def test_the_map_tells_titles_under_the_pointer(browser, hostile, width):
    look(browser, hostile[1], width)
    show(browser, "item-map")
    titles = browser.execute_script("return JSON.parse(document.getElementById('page-data').textContent).map.title")
    assert len(titles) == len(HOSTILE)
    for place, title in enumerate(titles):
        x, y = browser.execute_script(
            "const map = document.getElementById('item-map'); map.scrollIntoView({block: 'center'});"
            "const box = map.querySelectorAll('.scatterlayer .point')[arguments[0]].getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]", place,
        )  # fmt: skip
        for step in (3, 0):
            browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x + step, "y": y + step})
        until(browser, f"return ({LABEL}).includes(arguments[0])", "".join(title.translate(TURNING).split()))
    assert browser.execute_script("return document.querySelectorAll('.hoverlayer a, .hoverlayer img').length") == 0


def test_the_search_marks_an_item_and_its_neighbours_by_keyboard(browser, hostile, width):
    from selenium.webdriver.common.keys import Keys

    look(browser, hostile[1], width)
    show(browser, "item-map")
    box = browser.find_element("id", "map-search")
    box.send_keys("ALERT(")
    options = browser.find_elements("css selector", "#map-options [role=option]")
    assert {option.find_element("css selector", "bdi").text for option in options} == {
        HOSTILE[0],
        HOSTILE[2],
        HOSTILE[3],
    }
    assert box.get_attribute("aria-expanded") == "true"
    box.send_keys(Keys.ARROW_DOWN)
    first = options[0].find_element("css selector", "bdi").text
    assert box.get_attribute("aria-activedescendant") == options[0].get_attribute("id")
    box.send_keys(Keys.ENTER)
    assert browser.find_element("css selector", "#map-found strong").text == first
    data = browser.execute_script("return JSON.parse(document.getElementById('page-data').textContent).map")
    near = [data["title"][place] for place in data["near"][data["title"].index(first)]]
    buttons = browser.find_elements("css selector", "#map-found button")
    assert [button.get_property("textContent") for button in buttons] == near
    assert near
    marks = "return document.querySelectorAll('#item-map .scatterlayer .trace').length"
    until(browser, f"{marks.replace('return', 'return 3 ===')}")
    buttons[0].click()
    assert browser.find_element("css selector", "#map-found strong").get_property("textContent") == near[0]
    box.clear()
    box.send_keys("no such title")
    assert "No item has this" in browser.find_element("id", "map-options").text
    box.send_keys(Keys.ESCAPE)
    assert box.get_attribute("aria-expanded") == "false"


def test_the_map_is_coloured_by_genre_and_zoomed(browser, hostile):
    look(browser, hostile[1], 1440)
    show(browser, "item-map")
    scale = "return [...document.querySelectorAll('#item-map .colorbar text')].map(text => text.textContent)"
    assert browser.execute_script(scale) == ["12", "19", "ratings"]  # no round number is between
    browser.find_element("css selector", "#map-colour label:last-of-type").click()
    until(browser, "return document.querySelectorAll('#item-map .legend .traces').length === 4")
    legend = browser.find_element("css selector", "#item-map .legend").get_property("textContent")
    assert "<i>Drama</i>" in legend
    filled = browser.execute_script(
        "const box = (e) => document.querySelector(e).getBoundingClientRect(), all = box('#item-map .bglayer .bg');"
        "const points = [...document.querySelectorAll('#item-map .scatterlayer .point')].map(p => p.getBoundingClientRect());"
        "const reach = (side) => Math.max(...points.map(p => p[side])) - Math.min(...points.map(p => p[side]));"
        "return [reach('x') / all.width, reach('y') / all.height]"
    )
    assert min(filled) > 0.8
    before = browser.execute_script("return document.getElementById('item-map')._fullLayout.xaxis.range[1]")
    browser.find_element("css selector", "#map-zoom button[value=in]").click()
    narrower = "return document.getElementById('item-map')._fullLayout.xaxis.range[1]"
    assert until(browser, f"{narrower} < {before} * 0.7") is True
    browser.find_element("css selector", "#map-zoom button[value=all]").click()
    until(browser, f"{narrower} === {before}")


def test_an_axis_is_switched_to_a_log_scale(browser, hostile):
    look(browser, hostile[1], 1440)
    show(browser, "training-rater")
    axis = "return document.getElementById('training-rater')._fullLayout.yaxis.type"
    assert browser.execute_script(axis) == "linear"
    log = browser.find_element("css selector", "[data-switch=training-rater] button[value=log]")
    log.click()
    until(browser, f"{axis} === 'log'")
    assert log.get_attribute("aria-pressed") == "true"
    show(browser, "data-users")
    browser.find_element("css selector", "[data-switch=data-users] button[value=log]").click()
    ticks = "return [...document.querySelectorAll('#data-users .ytick text')].map(tick => tick.textContent).join(' ')"
    until(browser, f"{ticks} === '1 2 5 10 20'")  # whole numbers, not the digit 2 for 20


def test_the_theme_is_chosen_and_kept(browser, hostile, width):
    look(browser, hostile[1], width)
    ground = "return getComputedStyle(document.body).backgroundColor"
    show(browser, "data-ratings")
    ink = "return document.querySelector('#data-ratings .bars path').style.fill"
    light = browser.execute_script(ground), browser.execute_script(ink)
    browser.find_element("css selector", "#theme label:last-of-type").click()
    until(browser, f"{ink} !== arguments[0]", light[1])
    dark = browser.execute_script(ground), browser.execute_script(ink)
    assert dark[0] != light[0]
    look(browser, hostile[1], width)
    show(browser, "data-ratings")
    assert (browser.execute_script(ground), browser.execute_script(ink)) == dark
    browser.find_element("css selector", "#theme label:first-of-type").click()
    until(browser, f"{ink} === arguments[0]", light[1])
    look(browser, hostile[1], width, dark=True)  # auto: as the machine has it
    show(browser, "data-ratings")
    assert (browser.execute_script(ground), browser.execute_script(ink)) == dark


def test_the_keyboard_reaches_all_and_sees_where_it_is(browser, hostile):
    from selenium.webdriver.common.keys import Keys

    look(browser, hostile[1], 1440)
    browser.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")
    body = browser.find_element("css selector", "body")
    body.send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the report"
    skip.send_keys(Keys.ENTER)
    until(browser, "return document.activeElement.id === 'main'")
    for _ in range(3):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        style = "return getComputedStyle(document.activeElement).outlineStyle"
        assert browser.execute_script(style) != "none"
    reached = browser.execute_script(
        "return [...document.querySelectorAll('a[href], button, input, summary, [role=region]')]"
        ".filter(e => e.checkVisibility() && e.tabIndex < 0).map(e => e.outerHTML)"
    )
    assert reached == []


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (390, True),
        (1440, False),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in [(390, False), (1440, True)]),
    ],
)
def test_axe_finds_nothing_serious(browser, hostile, width, dark):
    script = importlib.resources.files(pytest.importorskip("axe_core_python")) / "axe.min.js"
    look(browser, hostile[1], width, dark=dark)
    show_all(browser)
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    browser.execute_script(script.read_text(encoding="utf-8"))
    # What is inside a chart is one picture with words of its own.
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run({exclude: [['.svg-container']]}).then(found => done(found.violations), error => done([String(error)]))"
    )
    told = [(each["id"], each["impact"], each["nodes"][0]["html"][:200]) for each in found]
    assert [each for each in told if each[1] in ("serious", "critical")] == [], json.dumps(told, indent=1)


def test_it_prints_all_in_light_colours(browser, hostile):
    look(browser, hostile[1], 1440, dark=True)
    browser.execute_script(
        "window.seen = []; addEventListener('beforeprint', () => seen.push("
        "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim(), document.querySelectorAll('.plot .main-svg').length))"
    )
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(printed["data"]) > 50_000
    ink, _ = browser.execute_script("return seen")[:2]
    assert ink == "#1c2230"
    until(browser, "return getComputedStyle(document.documentElement).getPropertyValue('--ink').trim() === '#e6e9ee'")
