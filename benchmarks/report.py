"""The page of a night as the ratings grow: its size, what it takes to draw it, and to open it.

python -m benchmarks.report
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.browser import chromium, until, why_none
from benchmarks.kept import Figures
from benchmarks.night import environment, night
from recsys.report.find import find_page

SIZES = ((2_000, 1_000, 100_000), (100_000, 10_000, 2_000_000), (1_000_000, 100_000, 5_000_000))
SMALL = ((300, 200, 9_000),)  # users, items, ratings
MOST_MB = 10
MB = 1e6
# The charts in the first window are drawn as soon as the page is; milliseconds since it was asked for.
OPENED = "return document.querySelector('.plot[data-drawn]') && performance.now()"


def for_page(given: page.Given) -> Figures:
    """A row a size."""
    rows = []
    for users, items, ratings in SMALL if given.small else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(
                {"users": users, "items": items, "ratings": ratings, **_of_night(Path(folder), users, items, ratings)}
            )
        print(rows[-1], file=sys.stderr, flush=True)
    return {
        "rows": rows,
        "notes": [f"Promised: at most {MOST_MB} MB, whatever the night.", *filter(None, [why_none()])],
    }


def _of_night(folder: Path, users: int, items: int, ratings: int) -> dict[str, Any]:
    """One night on generated ratings, and its page."""
    size = [f"demo.users={users}", f"demo.items={items}", f"demo.ratings={ratings}"]
    options = [part for each in size for part in ("--set", each)]
    _, manifest = night(tuple(options), folder / "store", environment(str(folder)))
    return figures(find_page(folder / "store").file, manifest["timings"]["report"], folder / "profile")


def figures(file: Path, taken: Mapping[str, float], profile: Path) -> dict[str, Any]:
    """Of a page: MB, seconds to draw and to open it.

    Args:
        taken: the stage's record.
        profile: a folder for the browser.
    """
    opened = None if why_none() else _seconds_to_open(file, profile)
    return {"MB": file.stat().st_size / MB, "seconds to draw": taken["seconds"], "seconds to open": opened}


def _seconds_to_open(file: Path, profile: Path) -> float:
    """Until the first chart stands, in a new browser."""
    with chromium(profile) as browser:
        browser.get(file.as_uri())
        browser.execute_script("document.querySelector('.plot').scrollIntoView()")
        return float(until(browser, OPENED)) / 1000


if __name__ == "__main__":
    page.main(["--only", "report", *sys.argv[1:]])
