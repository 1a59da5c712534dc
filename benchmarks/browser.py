"""Debian's Chromium that reaches this machine alone, for a page on disk or a server's: for benchmarks and tests."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-quic", "--disable-dev-shm-usage", "--lang=en",
    "--window-size=1440,1000",
    # Only this machine answers: no name leads anywhere, and nobody listens at the proxy.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--proxy-server=127.0.0.1:9",
)  # fmt: skip
WAIT_S = 180  # of a busy machine


def why_none() -> str:
    """What is missing for a browser, in a sentence; empty where there is one."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)}: `apt-get install chromium chromium-driver`" if missing else ""


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with an empty profile, its log and its requests kept.

    Args:
        profile: a folder of its own.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    browser.set_page_load_timeout(WAIT_S)
    browser.set_script_timeout(WAIT_S)
    try:
        yield browser
    finally:
        browser.quit()


def until(browser: Any, condition: str, *arguments: Any) -> Any:
    """Wait until a script answers with something true, and return it.

    Raises:
        TimeoutError: it did not in `WAIT_S`.
    """
    deadline = time.monotonic() + WAIT_S
    while not (answer := browser.execute_script(condition, *arguments)):
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)
    return answer


def requests(browser: Any) -> list[str]:
    """Addresses that were asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [each["request"]["url"] for each in sent]


def choose_tab(browser: Any, name: str) -> None:
    """Choose a tab of a page of Prefect, and wait until what belongs to it is there."""
    tab = name.lower().replace(" ", "-")
    clicked = "document.querySelector(`li#${arguments[0]}.p-tab`)?.click()"
    until(browser, f"{clicked}; return document.getElementById(`${{arguments[0]}}-content`) !== null", tab)
