"""Tuning: the training part is cut once more, settings are tried on the slice, the best become a configuration."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys import config as configuration
from recsys.config import RunConfig
from recsys.errors import InputRefused, UsageError
from recsys.experiment import Experiment, open_experiment, require_writable
from recsys.models.registry import Role, roles_of, settings_of
from recsys.prepare.prepared import Prepared
from recsys.prepare.stage import prepare_inputs
from recsys.prepare.subset import beside_holdout
from recsys.prepare.write import write_prepared
from recsys.read import read_items
from recsys.store import Store, sealed_stage, write_whole
from recsys.tune.objective import METRICS, Objective
from recsys.tune.search import Limits, Trial, best_of, search
from recsys.tune.space import is_whole, space_of, starting_point

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        key: of the input, the split, the model with what is given, the seed and the code.
        metric: ndcg@10 or rmse, on the validation slice.
        file: the best settings as a configuration for `recsys run --config`.
        settings: all settings of the model at its best.
    """

    key: str
    model: str
    role: Role
    metric: str
    file: Path
    settings: dict[str, Any]
    best: Trial
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "key": self.key,
            "model": self.model,
            "role": self.role,
            "metric": self.metric,
            "measured_on": "validation slice of the training part; the test part was not looked at",
            "file": str(self.file),
            "settings": self.settings,
            "best": vars(self.best),
            "trials": [vars(trial) for trial in self.trials],
        }


def tune(
    config: RunConfig, name: str, limits: Limits, *, today: date, role: Role | None = None, out: Path | None = None
) -> Tuned:
    """Search for the settings of one model that are best on a validation slice.

    The test part is drawn as a night would draw it, and dropped before anything else is done; the slice is then cut
    from what is left in the same way. A search that was killed goes on where it was.

    Args:
        config: as for a night; `models.<name>` gives settings that stay as they are.
        today: stands in the written file.
        role: for a model that can both rank and rate.
        out: the TOML file; None: `<store>/tuning/<key>/best.toml`.

    Raises:
        UsageError: there is nothing to tune, or no trial has a figure.
        InputRefused, SourceUnavailable, StoreBusy: as for a night.
    """
    role = _role(name, role)
    given = config.models.get(name, {})
    space = space_of(name, given)
    experiment = open_experiment(config, {f"{role} {name}": settings_of(name, given).model_dump(mode="json")})
    folder = experiment.store / "tuning" / experiment.key
    file = out or folder / "best.toml"
    require_writable(file)
    with Store(folder).hold():
        prepared = _prepare_training_part(experiment, folder)
        objective = Objective(role, name, given, prepared, config.compute, config.seed)
        trials = search(
            folder / "study.journal",
            objective,
            {field: (bounds, is_whole(name, field)) for field, bounds in space.items()},
            starting_point(name, given, space),
            metric=objective.metric,
            direction=objective.direction,
            limits=limits,
            seed=config.seed,
        )
        best = best_of(trials, objective.direction)
        settings = settings_of(name, {**given, **best.chosen}).model_dump(mode="json")
        tuned = Tuned(experiment.key, name, role, METRICS[role], file, settings, best, tuple(trials))
        write_whole(file, as_toml(tuned, experiment, today))
        _require_loadable(tuned)
        shutil.rmtree(prepared.folder)
    return tuned


def as_toml(tuned: Tuned, experiment: Experiment, today: date) -> str:
    """The best settings as a configuration, with what a reader should know of the figure behind them."""
    prepare, first = experiment.config.prepare, tuned.trials[0]
    begun = "refused" if first.figure is None else f"{first.figure:.4f}"
    lines = [
        f"# recsys tune {tuned.model} on {experiment.snapshot.dataset}, {today.isoformat()}:"
        f" trial {tuned.best.number} of {len(tuned.trials)}.",
        f"# {tuned.metric} {tuned.best.figure:.4f} on a validation slice of the training part"
        f" ({begun} where the search began). The test part was not looked at.",
        f"# split {prepare.split}, test_fraction {prepare.test_fraction:g}, top_items {experiment.top_items},"
        f" seed {experiment.config.seed}; study {tuned.key}",
        f"{tuned.role} = {json.dumps(tuned.model)}",
        "",
        f"[models.{tuned.model}]",
        *(f"{name} = {json.dumps(value)}" for name, value in tuned.settings.items() if value is not None),
    ]
    return "\n".join(lines) + "\n"


def _role(name: str, asked: Role | None) -> Role:
    """The role asked for, or the last a model has: what does both is a rater first, its lists are by the way."""
    roles = roles_of(name)
    if asked is None:
        return roles[-1]
    if asked not in roles:
        raise UsageError(
            f"{name} can be tuned as {' or '.join(roles)}.",
            expected=f"--as {' or --as '.join(roles)}",
            found=asked,
            todo="say what it is to be good at",
        )
    return asked


def _prepare_training_part(experiment: Experiment, folder: Path) -> Prepared:
    """The training part alone, with the validation slice for a hold-out: no later step could read the test part."""
    config = experiment.config
    with sealed_stage(folder / "prepared", folder / "stages" / "prepare.json") as work:
        if work is not None:
            with TemporaryDirectory(dir=folder, prefix="whole-") as whole:
                prepare_inputs(
                    Path(whole),
                    experiment.snapshot,
                    experiment.holdout,
                    config,
                    top_items=experiment.top_items,
                    refused=folder / "refused",
                )
                training = beside_holdout(Prepared(Path(whole)))
                write_prepared(
                    work,
                    training,
                    None,
                    titles=partial(read_items, experiment.snapshot),
                    config=config.prepare,
                    top_items=experiment.top_items,
                    scale=experiment.snapshot.scale,
                    seed=config.seed + 1,  # another draw than that of the test part
                    compute=config.compute,
                )
    prepared = Prepared(folder / "prepared")
    counts = prepared.counts
    if not counts.held_out:
        raise InputRefused(
            "No rating of the training part can be held out for validation.",
            expected="users with several ratings beside the test part",
            found=f"{counts.ratings:,} ratings of {counts.users:,} users",
            todo="give more ratings, or another --split or --test-fraction",
        )
    log.info(
        "tune: %s ratings beside the test part, %s of them for validation",
        f"{counts.ratings:,}",
        f"{counts.held_out:,}",
    )
    return prepared


def _require_loadable(tuned: Tuned) -> None:
    loaded = configuration.load(tuned.file).models[tuned.model]
    if settings_of(tuned.model, loaded).model_dump(mode="json") != tuned.settings:
        raise RuntimeError(f"{tuned.file} does not say what was found: {loaded}")
