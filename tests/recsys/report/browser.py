"""Debian's Chromium without a network, as a person's browser that opens a file."""

import json
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-quic", "--disable-dev-shm-usage", "--lang=en",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere
    "--proxy-server=127.0.0.1:9", "--window-size=1440,1000",  # and nobody listens at the proxy
)  # fmt: skip
WAIT_S = 60  # of a busy machine


@contextmanager
def chromium(profile: Path):
    """A browser with an empty profile, its log and its requests kept; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: `make setup` installs it")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium: `apt-get install chromium chromium-driver`")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_page_load_timeout(WAIT_S)
    browser.set_script_timeout(WAIT_S)
    try:
        yield browser
    finally:
        browser.quit()


def look(browser, page: Path, width: int, *, dark: bool = False) -> None:
    """Open a page in a window of that width, on a machine whose colours are light or dark and that nothing glides on."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    liked = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in liked.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    requests(browser)
    browser.get(page.as_uri())
    until(browser, "return typeof Plotly === 'object'")


def show(browser, chart: str) -> None:
    """Go to a chart, and wait until it is drawn."""
    browser.execute_script("document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", chart)
    until(browser, "return document.getElementById(arguments[0]).dataset.drawn === 'yes'", chart)


def show_all(browser) -> list[str]:
    """Go to all charts, one after another; returns their ids."""
    charts = browser.execute_script("return [...document.querySelectorAll('.plot')].map(plot => plot.id)")
    for chart in charts:
        show(browser, chart)
    return charts


def until(browser, condition: str, *arguments):
    """Wait until a script answers with something true, and return it."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := browser.execute_script(condition, *arguments)):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return answer


def requests(browser) -> list[str]:
    """Addresses that were asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [each["request"]["url"] for each in sent]
