"""docs/reproduction.md, written from what has been measured; what has not stays as it was, or says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks import ranking_records, rating_records, sooner
from benchmarks.kept import Record, records
from benchmarks.tutorials import FORMULAS, TUTORIALS, Tutorial
from recsys.evaluate.evaluation import FORMULAS as METRICS

RATERS = ("bayesian_mf", "biased_mf")
MISSING = "Not measured yet."
NEEDS: Mapping[str, Sequence[str]] = {
    "Five tutorials": tuple(TUTORIALS),
    "Tutorial B's RMSE, sooner": ("sooner-ours", "sooner-plain"),
    "RMSE beside the records": tuple(
        f"rmse-{rating_records.slug(protocol)}-{model}" for protocol in rating_records.PROTOCOLS for model in RATERS
    ),
    "NDCG beside the records": ("ndcg",),
}


def page(folder: Path, before: str = "") -> str:
    """The page, of the records in the folder.

    Args:
        before: the page as it stands; a section that lacks a part in the folder is taken from it, if it is whole there.
    """
    found = records(folder)
    old = {title: lines for title, lines in _sections_of(before).items() if _lacks(title, found)}
    stay = {part for title in old for part in NEEDS[title]}
    found = [record for record in found if record["name"].rpartition("-")[0] not in stay]
    sections = {
        "Five tutorials": _tutorials,
        "Tutorial B's RMSE, sooner": _sooner,
        "RMSE beside the records": _ratings,
        "NDCG beside the records": _rankings,
        "Formulas": lambda _: [f"- `{name}`: {text}" for name, text in _formulas()],
        "When and with what": lambda found: _measured(found, _rows_of(before, stay)),
    }
    head = [
        "# Reproduction",
        "",
        "Written by `make reproduce` from what it measured; no figure of ours is entered by hand. A figure is the mean",
        "over the seeds +- their standard deviation. The test part is used for the figure alone, but where a",
        "tutorial's own protocol watches it (A1, A2, A3, B).",
    ]
    body = [
        line for title, lines in sections.items() for line in ("", f"## {title}", "", *(old.get(title) or lines(found)))
    ]
    return "\n".join([*head, *body]) + "\n"


def _lacks(title: str, found: Sequence[Record]) -> bool:
    return any(not _of(found, part) for part in NEEDS.get(title, ()))


def _sections_of(text: str) -> dict[str, list[str]]:
    """The lines below each heading of a page, without sections that say that something is not measured."""
    parts = (part.partition("\n") for part in text.split("\n## ")[1:])
    return {title: lines.strip().splitlines() for title, _, lines in parts if MISSING.lower() not in lines.lower()}


def _rows_of(text: str, parts: Iterable[str]) -> dict[str, str]:
    """The rows of a page's last table that tell of these parts."""
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in _sections_of(text).get("When and with what", ())}
    return {part: rows[part] for part in sorted(parts) if part in rows}


def _of(found: Sequence[Record], part: str) -> list[Record]:
    """The records of a part, `part`-seed, by seed."""
    own = [record for record in found if record["name"].rpartition("-")[0] == part]
    return sorted(own, key=lambda record: int(record["name"].rpartition("-")[2]))


def _values(own: Iterable[Record], key: str) -> list[float]:
    return [record["figures"][key] for record in own]


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean +- standard deviation; of one value no deviation."""
    deviation = f" +- {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def _seeds(own: Sequence[Record]) -> str:
    return ", ".join(record["name"].rpartition("-")[2] for record in own)


def _tutorials(found: Sequence[Record]) -> list[str]:
    head = [
        "Each at the tutorial's own settings (`recsys models` lists the presets). Re-run: the tutorial's own code on a",
        "2-core machine with Keras 3.15. Theirs in seconds is that re-run's, or what the tutorial says; ours are",
        "of one training, wall and (CPU).",
        "",
        "| id | preset | parameters: tutorial | ours | formula | tutorial | re-run | ours | bar | reached "
        "| seconds: theirs | ours |",
        "|" + "---|" * 12,
    ]
    parts = {name: _of(found, name) for name in TUTORIALS}
    rows = [_tutorial_row(name, parts) for name in TUTORIALS]
    return [*head, *rows, "", *_besides(parts), "", *_by_seed(parts), "", "Protocols:", "", *_protocols()]


def _tutorial_row(name: str, parts: Mapping[str, Sequence[Record]]) -> str:
    tutorial, own = TUTORIALS[name], parts[name]
    above = [_values(parts[name], "mse") for name in tutorial.above]
    bar = f"above {tutorial.above[0]}" if tutorial.above else f"{tutorial.bar}"
    cells = [
        name, f"`{tutorial.preset}`", f"{tutorial.parameters:,}" if tutorial.parameters else "", "",
        f"`{tutorial.formula}`", f"{tutorial.published:.4f}", tutorial.rerun, MISSING, bar, "",
        tutorial.their_seconds, "",
    ]  # fmt: skip
    if own:
        cells[3] = " ".join(f"{count:,}" for count in sorted(set(_values(own, "parameters"))))
        cells[7] = spread(_values(own, tutorial.figure))
        cells[9] = reached(tutorial, own, above)
        cells[11] = f"{mean(_values(own, 'seconds')):.0f} ({mean(_values(own, 'cpu_seconds')):.0f})"
    return "| " + " | ".join(cells) + " |"


def reached(tutorial: Tutorial, own: Sequence[Record], above: Sequence[Sequence[float]] = ()) -> str:
    """Whether the parameters are equal, where the tutorial counts them, and the mean is at most the bar.

    `above`: figures by seed whose mean must lie below; an empty one is not measured yet.
    """
    equal = tutorial.parameters is None or set(_values(own, "parameters")) == {tutorial.parameters}
    figure = mean(_values(own, tutorial.figure))
    if not all(above):
        return ""
    return "yes" if equal and figure <= tutorial.bar and all(mean(each) < figure for each in above) else "**no**"


def _besides(parts: Mapping[str, Sequence[Record]]) -> list[str]:
    """Figures beside the table's."""
    lines = []
    for name in ("A1", "A2", "A3"):
        if own := parts[name]:
            curve = " ".join(f"{value:.4f}" for value in np.mean(_values(own, "curve"), axis=0))
            lines.append(
                f"- {name} by epoch, mean over the seeds: {curve}; best {spread(_values(own, 'best'))}, "
                f"last {spread(_values(own, 'last'))}."
            )
    if own := parts["B"]:
        epochs = ", ".join(str(epoch) for epoch in _values(own, "best_epoch"))
        lines.append(f"- B: best epoch {epochs} (the tutorial's: 17).")
    if own := parts["C"]:
        lines.append(f"- C: mean squared error {spread(_values(own, 'mse'))} (re-run 0.9196).")
    if own := parts["D"]:
        span = {
            f"{low:.3f} to {high:.3f}"
            for low, high in zip(_values(own, "lowest"), _values(own, "highest"), strict=True)
        }
        lines.append(
            f"- D: preferences from {' and '.join(span)} (tutorial: -4.643 to 3.923). Loss on watched users at its "
            f"best epoch {spread(_values(own, 'watched_loss'))}."
        )
    if errors := [f"{name} {spread(_values(parts[name], 'mae'))}" for name in ("E20", "E10", "E5") if parts[name]]:
        lines.append(f"- E, `mae_raw`: {', '.join(errors)} (tutorial: 0.9582, 0.8259, 0.7500).")
    return lines


def _by_seed(parts: Mapping[str, Sequence[Record]]) -> list[str]:
    return ["By seed:", ""] + [
        f"- {name}, seeds {_seeds(own)}: " + " ".join(f"{value:.4f}" for value in _values(own, TUTORIALS[name].figure))
        for name, own in parts.items()
        if own
    ]


def _protocols() -> list[str]:
    names: dict[str, list[str]] = {}
    for name, tutorial in TUTORIALS.items():
        names.setdefault(tutorial.protocol, []).append(name)
    return [f"- {', '.join(same)}: {protocol}" for protocol, same in names.items()]


def _sooner(found: Sequence[Record]) -> list[str]:
    ours, theirs = _of(found, "sooner-ours"), _of(found, "sooner-plain")
    if not ours:
        return [MISSING]
    lines = [
        f"B's dot product ({sooner.FACTORS} factors, no biases) on one split, 10% held out by the seed: this library's",
        f"compiled epochs beside plain Keras `fit` (AdaMax at Keras 3's rate, 1e-3; batch {sooner.PLAIN_BATCH}).",
        "Clocks start before the model is built, and stand while plain's held-out part is predicted. Ours:",
        f"`{ours[0]['figures']['settings']}`,",
        "found on a validation slice of the training part; the held-out part is looked at once, at the end.",
        "",
        f"Ours, seeds {_seeds(ours)}: RMSE {spread(_values(ours, 'rmse'))} (target {sooner.TARGET}), "
        f"{spread(_values(ours, 'seconds'), 1)} s, {spread(_values(ours, 'cpu_seconds'), 1)} CPU seconds.",
    ]
    if not theirs:
        return [*lines, "", f"Plain `fit`: {MISSING[0].lower()}{MISSING[1:]}"]
    curve = theirs[0]["figures"]["curve"]
    return [
        *lines, "", f"Seed 0: {sooner.ratio(ours[0]['figures'], theirs[0]['figures'])}.", "",
        "| plain fit, epoch | seconds | CPU seconds | RMSE |", "|---|---|---|---|",
        *(f"| {at['epoch']} | {at['seconds']:,.0f} | {at['cpu_seconds']:,.0f} | {at['rmse']:.4f} |" for at in curve),
    ]  # fmt: skip


def _ratings(found: Sequence[Record]) -> list[str]:
    results = [
        rating_records.joined([rating_records.Result(**record["figures"]) for record in own])
        for protocol in rating_records.PROTOCOLS
        for model in RATERS
        if (own := _of(found, f"rmse-{rating_records.slug(protocol)}-{model}"))
    ]
    about = [
        "`rmse`. ml-1m 90/10: the seed draws the split and is the model's; ml-100k u1: the archive's own u1.base and",
        "u1.test. Settings are the models' defaults, chosen without the test parts.",
        "",
    ]
    return [*about, rating_records.report(results)] if results else [MISSING]


def _rankings(found: Sequence[Record]) -> list[str]:
    own = _of(found, "ndcg")
    if not own:
        return [MISSING]
    measured = [
        {entry: {metric: np.array(values) for metric, values in of.items()} for entry, of in record["figures"].items()}
        for record in own
    ]
    about = [
        "`ndcg@10`, ml-1m, by the protocol of Anelli et al. 2022: ratings of 4 and 5 as binary, iterative 10-core, 20%",
        'of each user held out by the split\'s seed, all other items ranked. The rows "tuned" choose their settings on',
        "20% of each user's ratings of the training part.",
        "",
    ]
    tests = ["```", ranking_records.paired_tests(measured), "```"]
    return [*about, ranking_records.report(measured), *tests]


def _formulas() -> list[tuple[str, str]]:
    return [*FORMULAS.items(), *((name, METRICS[name]) for name in ("rmse", "ndcg", "recall", "precision"))]


def _measured(found: Sequence[Record], stay: Mapping[str, str]) -> list[str]:
    """By part: seeds, dates, code versions, threads, load, and the time it took."""
    head = [
        f"{os.cpu_count()} cores. Load is how many processes wanted one in the minute before: where that is more than",
        "there are, times are longer than on an idle machine.",
        "",
        "| part | seeds | from | to | code | threads | load | seconds |",
        "|" + "---|" * 8,
    ]
    parts = dict.fromkeys(record["name"].rpartition("-")[0] for record in found)
    rows = [*(_measured_row(part, _of(found, part)) for part in parts), *stay.values()]
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in record["versions"].items()) for record in found
    )
    return [*head, *rows, "", *(f"Versions: {line}." for line in versions)]


def _measured_row(part: str, own: Sequence[Record]) -> str:
    def all_of(key: str, write: Callable[[Any], str] = str) -> str:
        return ", ".join(dict.fromkeys(write(record[key]) for record in own))

    dates, loads = sorted(record["date"] for record in own), [record["load"] for record in own]
    cells = [
        part, _seeds(own), dates[0], dates[-1], all_of("code"), all_of("threads"), f"{min(loads)} to {max(loads)}",
        f"{sum(record['seconds'] for record in own):,.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
