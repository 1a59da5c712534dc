"""How the models were trained: losses by epoch, and their settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.models.registry import ROLES, Role, model_of
from recsys.report.blocks import Chart, Group, Section, Table, Words
from recsys.report.charts import Axes, Series, lines
from recsys.report.source import Source
from recsys.report.text import figure, shown
from recsys.train.stage import Fitted, fitted_on_all, fitted_on_split

History = Sequence[Mapping[str, float]]
MIB = 1 << 20
NAMES = {"ranker": "The ranker", "rater": "The rater"}


def section(source: Source) -> Section:
    """A group a role."""
    return Section("training", "Training", [_role(source, role) for role in ROLES])


def _role(source: Source, role: Role) -> Group:
    judged, published = fitted_on_split(source.run, role), fitted_on_all(source.run, role)
    histories = _history(judged), _history(published) if source.run.config.train.refit else []
    size = sum(path.stat().st_size for path in published.folder.rglob("*") if path.is_file()) / MIB
    about = f"{judged.name}: {model_of(role, judged.name).summary}. The saved model takes {size:,.1f} MiB."
    blocks: list[Any] = [Words(about)]
    if any(histories):
        blocks.append(_losses(judged.name, role, *histories))
    else:
        blocks.append(Words(f"{judged.name} is solved, not trained in epochs: there are no losses to show."))
    settings = Group(f"Settings of {judged.name}", [_settings(source, judged.name)], folded=True)
    return Group(f"{NAMES[role]}: {judged.name}", [*blocks, settings])


def _history(fitted: Fitted) -> History:
    file: Path = fitted.folder / "history.json"
    return json.loads(file.read_text()) if file.exists() else []  # type: ignore[no-any-return]


def _losses(name: str, role: Role, judged: History, published: History) -> Chart:
    epochs = list(range(1, max(len(judged), len(published)) + 1))
    series = [
        Series("training", _column(judged, "loss", len(epochs)), colour="--blue"),
        Series("validation", _column(judged, "validation_loss", len(epochs)), colour="--orange"),
        Series("training, fitted again on all", _column(published, "loss", len(epochs)), colour="--green", dash="dash"),
    ]
    known = [each for each in series if any(value is not None for value in each.values)]
    axes = Axes("Epoch", "Loss", numbers=True, switch=True)
    return lines(f"training-{role}", f"Loss by epoch of {name}", _label(judged), epochs, known, axes)


def _label(judged: History) -> str:
    validated = [(row["validation_loss"], row["epoch"]) for row in judged if "validation_loss" in row]
    if not validated:
        return f"Loss by epoch, {len(judged)} epochs."
    best, epoch = min(validated)
    return f"Loss by epoch; the best validation loss, {figure(best)}, came in epoch {epoch:.0f} of {len(judged)}."


def _column(history: History, name: str, length: int) -> list[float | None]:
    values: list[float | None] = [row.get(name) for row in history]
    return values + [None] * (length - len(values))


def _settings(source: Source, name: str) -> Table:
    settings = source.run.effective_config["models"][name]
    rows = [[key, shown(json.dumps(value))] for key, value in settings.items()]
    return Table(f"Settings of {name}", ["Setting", "Value"], rows, words=[1])
