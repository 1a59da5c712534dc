"""One page a night: an HTML file of its own, with its script inside, that needs no network."""

from pathlib import Path

PAGE = Path("report") / "index.html"  # in a run's folder
