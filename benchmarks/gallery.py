"""The pictures of docs/gallery.md: two nights of ml-1m as the report, Prefect's pages and a terminal show them.

RECSYS_MIRROR=DIR python -m benchmarks.gallery
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.browser import choose_tab, chromium, until, why_none
from benchmarks.night import environment
from benchmarks.screen import draw, shown
from recsys.report.find import find_page

PICTURES = Path(__file__).parents[1] / "docs" / "gallery"
NIGHTS = ("2000-12-08", "2000-12-09")  # ml-1m grew by some thousand ratings a day then
WIDTH, PHONE = 1200, 390
USER = "5900"
COLUMNS = 100
MOST_BYTES = 400_000  # of a picture: they are kept with the code
START_S = 90
SETTLE_S = 8
# The charts that can be seen are drawn.
DRAWN = """return typeof Plotly === 'object' && [...document.querySelectorAll('.plot')].every(plot => {
    const box = plot.getBoundingClientRect();
    return box.top > innerHeight || box.bottom < 0 || plot.dataset.drawn === 'yes';
})"""
BIN = Path(sys.executable).parent
TRAINS = "trials/s", "sweeps/s", "epochs/s", "users/s"


def main() -> None:
    """Make all pictures."""
    if missing := why_none() or ("" if os.environ.get("RECSYS_MIRROR") else "RECSYS_MIRROR names no folder"):
        sys.exit(missing)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder, served(Path(folder)) as env:
        terminal = nights(Path(folder) / "store", env)
        with chromium(Path(folder) / "profile") as browser:
            of_report(browser, find_page(Path(folder) / "store").file)
            of_prefect(browser, env["PREFECT_API_URL"])
            for name, lines in terminal.items():
                of_terminal(browser, name, lines, Path(folder))
    for file in sorted(PICTURES.glob("*.png")):
        size = file.stat().st_size
        print(f"{file.name}: {size / 1000:.0f} kB{', too large' if size > MOST_BYTES else ''}")


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """Within, a Prefect server of our own runs; gives the environment in which it is set up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment(str(folder)) | {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the other asks a host outside
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as server:
        try:
            _wait_for(env["PREFECT_API_URL"])
            yield env
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx.get(f"{url}/health").raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def nights(store: Path, env: dict[str, str]) -> dict[str, list[str]]:
    """Two nights, each on the ratings there were by then; gives screens of the second and of what it made, by name."""
    recsys = str(BIN / "recsys")
    mirror = store.with_name("movielens")  # its own place is nobody's business
    mirror.symlink_to(Path(os.environ["RECSYS_MIRROR"]).resolve())
    env = env | {"TERM": "xterm-256color", "RECSYS_STORE": str(store), "RECSYS_MIRROR": str(mirror)}
    for night in NIGHTS:
        command = [recsys, "run", "--dataset", "ml-1m", "--run-date", night, "--set", f"input.until={night}"]
        last, under_way = shown(command, env, COLUMNS, lambda line: any(rate in line for rate in TRAINS))
    looked: list[str] = []
    for words in (("show", "user", USER, "--most", "10"), ("similar", "toy story (", "-n", "5"), ("runs", "list")):
        quoted = [f'"{word}"' if " " in word else word for word in words]
        looked += [f"$ recsys {' '.join(quoted)}", *shown([recsys, *words], env, COLUMNS)[0]]
    named = {"terminal-progress": under_way, "terminal-run": last, "terminal-show": looked}
    return {name: _without_folder(lines, store) for name, lines in named.items()}


def _without_folder(lines: list[str], store: Path) -> list[str]:
    return [line.replace(f"{store.parent}/", "") for line in lines]


def of_report(browser: Any, page: Path) -> None:
    """The report from its top, wide and on a phone, light and dark, and the map of its items."""
    for dark in (False, True):
        colours = "dark" if dark else "light"
        for name, width, height in (("wide", WIDTH, 1000), ("phone", PHONE, 844)):
            _window(browser, width, height, dark=dark)
            browser.get(page.as_uri())
            until(browser, DRAWN)
            _take(browser, f"report-{name}-{colours}")
    _window(browser, WIDTH, 1000)
    browser.get(page.as_uri())
    browser.execute_script("document.getElementById('item-map').scrollIntoView({block: 'center'})")
    until(browser, "return document.getElementById('item-map').dataset.drawn === 'yes'")
    _take(browser, "report-map")


def of_prefect(browser: Any, api: str) -> None:
    """The second night's flow run, its artifacts, and the events of its tables."""
    with httpx.Client(base_url=api, timeout=30) as client:
        run = client.post("/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 1}).json()[0]["id"]
        of_run = {"flow_runs": {"id": {"any_": [run]}}}
        artifacts = {each["key"]: each["id"] for each in client.post("/artifacts/filter", json=of_run).json()}
    ui = api.removesuffix("/api")
    for name, path, text in (
        ("prefect-run", f"runs/flow-run/{run}", "Task runs"),
        ("prefect-artifacts", f"runs/flow-run/{run}", "Task runs"),
        ("prefect-summary", f"artifacts/artifact/{artifacts['night-summary']}", "Night of"),
        ("prefect-metrics", f"artifacts/artifact/{artifacts['night-metrics']}", "ndcg@10"),
        ("prefect-assets", "events?events=prefect.asset.materialization.succeeded", "recommendations"),
    ):
        _window(browser, WIDTH, 900, dark=False)
        browser.get(f"{ui}/{path}")
        until(browser, "return document.body.innerText.includes(arguments[0])", text)
        if name == "prefect-artifacts":
            choose_tab(browser, "Artifacts")
            _settle(browser)  # the graph above moves what is below it
            browser.execute_script("document.getElementById('artifacts-content').scrollIntoView()")
        _settle(browser)
        _take(browser, name)


def _settle(browser: Any) -> None:
    """Wait until a page stands still: the graph of a run comes late, and glides into place."""
    time.sleep(SETTLE_S)
    before, deadline = b"", time.monotonic() + START_S
    while (now := browser.get_screenshot_as_png()) != before and time.monotonic() < deadline:
        before = now
        time.sleep(SETTLE_S / 4)


def of_terminal(browser: Any, name: str, lines: list[str], folder: Path) -> None:
    """A screen."""
    file = folder / f"{name}.html"
    draw(lines, COLUMNS, file)
    browser.get(file.as_uri())
    box = browser.execute_script(
        "const box = document.querySelector('pre'); return [box.offsetWidth, box.offsetHeight]"
    )
    _window(browser, box[0] + 32, box[1] + 32)
    _take(browser, name)


def _window(browser: Any, width: int, height: int, *, dark: bool = False) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    liked = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in liked.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _take(browser: Any, name: str) -> None:
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
    (PICTURES / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
