"""A seeded search with Optuna, kept in a journal file, so that a search that was killed goes on where it was.

A search that was broken off and one that was not try the same settings: the sampler is seeded anew for each trial by
how many have ended, and a trial that a kill left unfinished counts for nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recsys.config import Tunable
from recsys.errors import RecsysError, UsageError
from recsys.progress import track

log = logging.getLogger("recsys")

Direction = Literal["maximize", "minimize"]
REFUSED = "refused"  # the attribute of a trial whose settings the model refused
Space = Mapping[str, tuple[Tunable, bool]]  # bounds, and whether a whole number is asked for


@dataclass(frozen=True)
class Trial:
    """One try.

    Attributes:
        number: from 1, in the order they ended; 1 has the settings the search began with.
        figure: None where the model refused the settings.
        refused: why; empty where it did not.
    """

    number: int
    chosen: Mapping[str, Any]
    figure: float | None
    refused: str


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes:
        trials: in all, those of earlier calls included.
        timeout_s: no trial begins later than that many seconds from now; None: no such limit.
    """

    trials: int
    timeout_s: float | None = None


def search(
    journal: Path,
    objective: Callable[[Mapping[str, Any]], float],
    space: Space,
    start: Mapping[str, Any],
    *,
    metric: str,
    direction: Direction,
    limits: Limits,
    seed: int,
) -> list[Trial]:
    """Try settings until a limit is reached; return all trials that ended, also those of earlier calls.

    Args:
        journal: the study's file; made where it does not exist. Only one process may use it.
        start: what is tried first.
    """
    study = _open(journal, direction)
    deadline = None if limits.timeout_s is None else time.monotonic() + limits.timeout_s
    with track("tune", limits.trials, "trials") as bar:
        bar.advance(min(len(_ended(study)), limits.trials))
        while len(_ended(study)) < limits.trials and (deadline is None or time.monotonic() < deadline):
            _try(study, objective, space, start, seed)
            bar.advance(1)
            _tell(_trials(study), metric, direction, limits)
    return _trials(study)


def best_of(trials: list[Trial], direction: Direction) -> Trial:
    """The best trial, the first among equals.

    Raises:
        UsageError: none has a figure.
    """
    measured = [trial for trial in trials if trial.figure is not None]
    if not measured:
        raise UsageError(
            "No trial has a figure.",
            expected="settings that the model accepts",
            found=trials[0].refused if trials else "no trial within --timeout",
            todo="allow more trials or time, or give the settings that must stay with --set",
        )
    sign = -1.0 if direction == "maximize" else 1.0
    return min(measured, key=lambda trial: sign * (trial.figure or 0.0))


def _open(journal: Path, direction: Direction) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _mend(journal)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name="tune", direction=direction, load_if_exists=True)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _mend(journal: Path) -> None:
    """What a kill in the middle of a write leaves: Optuna's lock, and half a line that would spoil the next one."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists():
        text = journal.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with journal.open("r+b") as file:
                file.truncate(whole)


def _try(study: Any, objective: Any, space: Space, start: Mapping[str, Any], seed: int) -> None:
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    ended = len(_ended(study))
    study.sampler = TPESampler(seed=int(np.random.SeedSequence([seed, ended]).generate_state(1)[0]))
    if not ended and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial(dict(start))
    trial = study.ask(_distributions(space))
    try:
        study.tell(trial, objective(trial.params))
    except RecsysError as refused:
        trial.set_user_attr(REFUSED, str(refused))
        study.tell(trial, state=TrialState.PRUNED)  # the sampler then keeps away from there


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(int(bounds.low), int(bounds.high), log=bounds.log)
        if whole
        else FloatDistribution(bounds.low, bounds.high, log=bounds.log)
        for name, (bounds, whole) in space.items()
    }


def _ended(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _trials(study: Any) -> list[Trial]:
    return [
        Trial(number, trial.params, trial.value, trial.user_attrs.get(REFUSED, ""))
        for number, trial in enumerate(_ended(study), start=1)
    ]


def _tell(trials: list[Trial], metric: str, direction: Direction, limits: Limits) -> None:
    last = trials[-1]
    chosen = ", ".join(f"{name} {value:.4g}" for name, value in last.chosen.items())
    figure = "refused" if last.figure is None else f"{metric} {last.figure:.4f}"
    best = last.figure is not None and best_of(trials, direction) is last
    note = ", the best so far" if best else ""
    log.info("tune: trial %s of %s: %s with %s%s", last.number, limits.trials, figure, chosen, note)
