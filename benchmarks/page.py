"""docs/benchmarks.md: a section a benchmark, each renewed by itself.

    python -m benchmarks.page [--only night,peers] [--slow] [--mirror DIR] [--rounds 3]

Without --only the quick ones are measured, with --slow the others. What was measured is kept in
build/benchmarks/<name>.json; a section that was not measured here stays as it stands on the page.

A benchmark is a module here with `for_page(given: Given) -> Figures` and a place in `SECTIONS`. Figures are `rows`, a
mapping a row of the table, by column, and `notes`, lines below it; or what the module's own `report(figures)` writes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kept import Figures, Record, keep, records
from recsys.errors import RecsysError
from recsys.store import write_whole

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench` and, where it says so, `make bench-large`; no figure is entered by hand. Machines differ; the
ratios are what to look at. CPU s: of all processes; it hardly depends on what else the machine did."""


@dataclass(frozen=True)
class Given:
    """How to measure.

    Attributes:
        mirror: folder with the MovieLens archives.
        rounds: times that each contestant runs, one after another; the median counts.
        small: a try-out at a fraction of the size; nothing is kept.
    """

    mirror: Path
    rounds: int = 3
    small: bool = False


@dataclass(frozen=True)
class Section:
    """A benchmark and its place on the page.

    Attributes:
        name: of the module in benchmarks/.
        title: its heading; the page is cut by it.
        about: what is measured, for a reader of the page.
        slow: tens of minutes; left to `make bench-large`.
    """

    name: str
    title: str
    about: str
    slow: bool = False

    def measure(self, given: Given) -> Figures:
        """What the module measures."""
        return import_module(f"benchmarks.{self.name}").for_page(given)

    def report(self, figures: Figures) -> list[str]:
        """The figures in Markdown."""
        return getattr(import_module(f"benchmarks.{self.name}"), "report", figure_lines)(figures)


SECTIONS = (
    Section(
        "night",
        "The whole night",
        "From the command to the published table: Prefect's temporary server, both models, the hold-out, both refits. "
        "Per-user split, 20% held out. Memory is the peak over all processes together, and of the run's own process. "
        "The first night has also made a fresh Prefect database.",
    ),
    Section(
        "peers",
        "Beside other systems",
        "ml-1m without 20% of each user's ratings, as CSV, to a Parquet table of the ten best for each of 6,040 "
        "users; each from the start of its process to the end. Ours is the whole night: Prefect, a hold-out of its "
        "own, both models, both refits; the others fit one model and write one table. `ndcg@10` on the hidden "
        "ratings, and `seen`, rows that the user had rated, are counted by our code on their tables. Stages by the "
        "system's own clocks: ours are the ranker's (download and prepare, refit_ranker, score with what the rater "
        "predicts).",
    ),
    Section(
        "scoring",
        "Top-n from factors",
        "Lists of ten from factor models, seen items left out, in one process and in turns. Bare product: the float32 "
        "matrix product alone, in blocks that stay in the cache, its results thrown away. As naive: the share of 50 "
        "users' lists that equal those of a sort of all float64 scores. Skewed: norms are log-normal, as popularity "
        "makes them.",
    ),
    Section(
        "incremental",
        "A night of 1% new ratings",
        "The Gram matrix of the default ranker (10,000 items at most) in full, and last night's brought up to date "
        "(`train.incremental`), reading it and finding what has changed included; both are equal to the bit. One "
        "thread, the least of several turns. The latest: by time. Sessions: the latest 20 to 99 ratings of users drawn "
        "by their activity. New users: all their ratings. Anywhere: ratings drawn evenly, so that most users change.",
        slow=True,
    ),
    Section(
        "ingest",
        "Reading and preparing",
        "From a CSV of ml-25m's shape to the prepared folder, each in its own process. Ours checks every row, drops "
        "repeats, sorts by user, draws a hold-out and writes both training sets; Polars and DuckDB count, keep the "
        "most rated items, centre, and write Parquet: less work. `ratio`, `cpu_ratio`: their seconds over ours.",
        slow=True,
    ),
    Section(
        "training",
        "Training the rater",
        "The nightly rater's compiled training beside Keras' compiled epochs and plain Keras `fit` of the same model, "
        "biases and 64 factors: on 90% of ml-1m until the other 10% are predicted well, and an epoch of random ratings "
        "of ml-25m's shape (Keras is timed on a sample there).",
        slow=True,
    ),
    Section(
        "growth",
        "Growth",
        "The stages one by one, each in a process of its own, on generated ratings of more and more users of the same "
        "activity; microseconds a user. `score MiB`: peak of the process that scores; `private`: without the pages of "
        "mapped files.",
        slow=True,
    ),
    Section(
        "large",
        "A large night",
        "Generated ratings of ml-25m's shape (162,541 users, 59,047 items, 25,000,095 ratings) as one CSV file, from "
        "`recsys run` to the published table, by stage.",
        slow=True,
    ),
    Section(
        "report",
        "The report",
        "The page of a night on generated ratings, opened from disk in a new Chromium without a network, until its "
        "first chart is drawn. To draw: the stage `report`, most of it the map of the items.",
        slow=True,
    ),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sections asked for, print them, and write the page after each."""
    given = _parser().parse_args(arguments)
    asked = given.only or [section.name for section in SECTIONS if section.slow == given.slow]
    terms = Given(given.mirror.resolve(), given.rounds, given.small)
    try:
        for section in (section for section in SECTIONS if section.name in asked):
            measured = partial(section.measure, terms)
            if given.small:
                print("\n".join(section.report(measured())))
                continue
            record = keep(given.kept, section.name, measured, threads=os.cpu_count() or 1, fresh=True)
            print("\n".join(section_lines(section, record)), flush=True)
            write_whole(given.out, page(records(given.kept), given.out.read_text() if given.out.exists() else ""))
    except RecsysError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error


def page(kept: Sequence[Record], standing: str) -> str:
    """The page: of each section what is kept, else what stands there.

    Args:
        kept: records by the names of sections.
        standing: the page as it is.
    """
    by_name = {record["name"]: record for record in kept}
    before = {part.partition("\n")[0]: part.rstrip().split("\n") for part in standing.split("\n## ")[1:]}
    parts = [HEAD]
    for section in SECTIONS:
        if section.name in by_name:
            lines = section_lines(section, by_name[section.name])
        else:
            lines = [f"## {line}" if not place else line for place, line in enumerate(before.get(section.title, []))]
        parts.append("\n".join(lines or _missing(section)))
    return "\n\n".join(parts) + "\n"


def section_lines(section: Section, record: Record) -> list[str]:
    """A section in Markdown, with when and under what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    load = f"load before {record['load']}"
    if record["load"] > record["threads"]:
        load += " (other work wanted the cores: seconds on the wall are too many, CPU seconds some too many)"
    under = f"{record['date'][:10]}, {record['threads']} cores, {load}, {record['code']}; {versions}"
    return [f"## {section.title}", "", section.about, "", *section.report(record["figures"]), "", f"*{under}*"]


def figure_lines(figures: Figures) -> list[str]:
    """The table of the rows, then the notes."""
    notes = [f"- {note}" for note in figures.get("notes", ())]
    return [*table(figures["rows"]), *([""] if notes else []), *notes]


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as a Markdown table; a column for each key, in the order in which they first come."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[cell(row.get(column)) for column in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *lines)]


def cell(value: Any) -> str:
    """A figure with as many digits as it deserves.

    >>> [cell(value) for value in (None, 34084, 1421.7, 37.94, 3.351, 0.44623, "ml-1m")]
    ['', '34,084', '1,422', '37.9', '3.35', '0.4462', 'ml-1m']
    """
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
        return f"{value:,.{digits}f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each key, the median over the rounds."""
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def _missing(section: Section) -> list[str]:
    return [f"## {section.title}", "", f"Not measured yet: `python -m benchmarks.page --only {section.name}`."]


def _names(text: str) -> list[str]:
    known = [section.name for section in SECTIONS]
    asked = text.split(",")
    if unknown := [name for name in asked if name not in known]:
        raise argparse.ArgumentTypeError(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mirror = Path(os.environ.get("RECSYS_MIRROR", "../shared/data"))
    parser.add_argument("--only", type=_names, metavar="NAME,...", help=", ".join(section.name for section in SECTIONS))
    parser.add_argument("--slow", action="store_true", help="the slow ones")
    parser.add_argument(
        "--mirror", type=Path, default=mirror, help="folder with the archives; RECSYS_MIRROR by default"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each contestant runs")
    parser.add_argument("--small", action="store_true", help="a try-out at a fraction of the size; nothing is kept")
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--kept", type=Path, default=FOLDER, help="folder of what has been measured")
    return parser


if __name__ == "__main__":
    main()
