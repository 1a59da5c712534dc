"""The stage `report`: one page of all that the run made."""

from __future__ import annotations

import logging
from pathlib import Path

from recsys.report import PAGE
from recsys.report.page import render
from recsys.report.source import Source
from recsys.run import Run
from recsys.store import sealed_stage

log = logging.getLogger("recsys")


def report(run: Run) -> Path:
    """Make the page, once; equal runs give equal bytes but for what the stages took."""
    file = run.folder / PAGE
    with sealed_stage(file.parent, run.record("report"), under_way=run.under_way) as folder:
        if folder is not None:
            (folder / file.name).write_text(render(Source(run)), encoding="utf-8")
    log.info("report: %s, %.1f MiB", file, file.stat().st_size / (1 << 20))
    return file
