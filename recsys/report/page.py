"""The page: the sections in their order, drawn by the template, with its style and scripts inside."""

from __future__ import annotations

import base64
import hashlib
import logging
from datetime import date
from functools import cache
from importlib import resources
from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined

import recsys
from recsys.report import about, data, item_map, nights, people, ranker, rater, timings, training, verdict
from recsys.report.blocks import Section, Words, charts_of
from recsys.report.source import Source
from recsys.report.text import in_script, shown

log = logging.getLogger("recsys")

PARTS = {
    "verdict": verdict, "nights": nights, "data": data, "training": training, "rater": rater, "ranker": ranker,
    "map": item_map, "people": people, "timings": timings, "about": about,
}  # fmt: skip


def sections_of(source: Source) -> list[Section]:
    """All sections in their order."""
    return [_section(name, part, source) for name, part in PARTS.items()]


def _section(name: str, part: ModuleType, source: Source) -> Section:
    try:
        section: Section = part.section(source)
        in_script([section.data, *(chart.traces for chart in charts_of(section.blocks))])
    except Exception as defect:  # the tables are made: what is wrong with a part of the page does not hold them back
        log.error("report: the part %r could not be drawn", name, exc_info=defect)
        told = shown(
            f"This part could not be drawn; the night's log says where: {type(defect).__name__}: {defect}", 300
        )
        return Section(name, name.capitalize(), [Words(told)])
    return section


def render(source: Source) -> str:
    """The whole page."""
    sections = sections_of(source)
    found = source.verdict
    charts = [chart for section in sections for chart in charts_of(section.blocks)]
    more = {name: value for section in sections for name, value in section.data.items()}
    drawn = {chart.id: {"traces": chart.traces, "layout": chart.layout} for chart in charts}
    first, script, plotly = _file("first.js"), _file("report.js"), plotly_script()
    return (
        _environment()
        .get_template("report.html")
        .render(
            sections=sections,
            verdict=found.verdict,
            findings=[(verdict.TONES[each.verdict], each.verdict, shown(each.reason, 400)) for each in found.findings],
            tone=verdict.TONES[found.verdict],
            meaning=verdict.meaning(found),
            dataset=shown(source.run.snapshot.dataset),
            night=in_words(source.run.run_date),
            run_date=source.run.run_date.isoformat(),
            run_id=source.run.run_id,
            version=recsys.__version__,
            policy=_policy(first, script, plotly),
            style=_file("report.css"),
            first=first,
            script=script,
            plotly=plotly,
            data=in_script({"charts": drawn, "map": None, **more}),
        )
    )


def in_words(night: date) -> str:
    """A date as people say it, in any locale.

    >>> in_words(date(2026, 11, 6))
    'Friday, 6 November 2026'
    """
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    months = (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    )  # fmt: skip
    return f"{days[night.weekday()]}, {night.day} {months[night.month - 1]} {night.year}"


@cache
def plotly_script() -> str:
    """Plotly's own script, as it comes with the package."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _policy(*scripts: str) -> str:
    """Nothing is fetched, and no script but these runs, whatever a title holds."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
