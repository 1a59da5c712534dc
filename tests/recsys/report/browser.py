"""Looking at a page in a browser."""

from pathlib import Path

from benchmarks.browser import requests, until


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
