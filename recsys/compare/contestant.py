"""One model of a comparison: fitted, asked and measured, in a process of its own, so that its memory is its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from recsys.compute import peak_memory_mib
from recsys.config import ComputeConfig, EvaluateConfig
from recsys.errors import RecsysError
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.evaluation import (
    Measured,
    list_shard,
    ranking_metrics,
    rating_metrics,
    sum_errors,
    sum_lists,
)
from recsys.evaluate.sums import RankingSums, RatingSums
from recsys.models.base import FitContext, Ranker, Rater
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.registry import Role, model_of, settings_of
from recsys.prepare.prepared import Prepared

log = logging.getLogger("recsys")

BASELINES: Mapping[Role, str] = {"ranker": "popular", "rater": "means"}
Record = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """A model in one of its roles.

    Attributes:
        given: settings that differ from the defaults.
    """

    role: Role
    name: str
    given: Mapping[str, Any]

    @property
    def record(self) -> Record:
        """What a record says of any contestant, measured or failed."""
        return {
            "role": self.role,
            "model": self.name,
            "baseline": BASELINES[self.role] == self.name,
            "settings": settings_of(self.name, self.given).model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Terms:
    """What is the same for all contestants.

    Attributes:
        prepared: the folder of the prepared split.
        work: where a contestant may write.
    """

    prepared: Path
    work: Path
    evaluate: EvaluateConfig
    compute: ComputeConfig
    seed: int


def in_own_process(contestant: Contestant, terms: Terms) -> Record:
    """Measure a contestant in a new process (spawned: a fork would carry over memory, and locks of TensorFlow's).

    Returns:
        As `measure`; where it could not be measured `failed` says why, and `exit_code` what the error stands for.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(contestant, terms, sender))
    process.start()
    sender.close()
    record = None
    try:
        with suppress(EOFError, OSError):  # the process has ended, perhaps in the middle of a message
            while record is None:
                record = _received(receiver.recv())
        process.join()
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        receiver.close()
    return record or _failed(contestant, f"its process ended without a word, {_ending(process.exitcode)}", 1)


def measure(contestant: Contestant, terms: Terms) -> Record:
    """Fit on the training part, ask for lists or predictions, and measure them on the hold-out, all in this process.

    Returns:
        role, model, baseline, settings, failed (None), and
        fit_seconds: the fit alone, after its libraries were imported.
        score_seconds: of a ranker, the lists of all users, written; of a rater, the predictions of the hold-out.
        peak_memory_mib: of the process until then: interpreter, libraries and the mapped ratings included.
        metrics: {id: {value, low, high}} as in evaluation.json.

    Raises:
        RecsysError: whatever the model's fit raises.
    """
    prepared, kind = Prepared(terms.prepared), model_of(contestant.role, contestant.name)
    settings = settings_of(contestant.name, contestant.given)
    training_set = prepared.training_set("split")
    kind.warm_up()
    started = time.monotonic()
    model = kind.fit(training_set, settings, FitContext(terms.seed, terms.compute))
    fitted = time.monotonic()
    finish = _score_lists if isinstance(model, Ranker) and contestant.role == "ranker" else _predict
    measured = finish(model, prepared, terms)  # type: ignore[arg-type]
    asked, peak = time.monotonic(), peak_memory_mib()
    return {
        **contestant.record,
        "failed": None,
        "fit_seconds": round(fitted - started, 3),
        "score_seconds": round(asked - fitted, 3),
        "peak_memory_mib": peak,
        "metrics": measured()[0],
    }


def _score_lists(ranker: Ranker, prepared: Prepared, terms: Terms) -> Callable[[], Measured]:
    folder = Path(tempfile.mkdtemp(dir=terms.work, prefix="lists-"))
    shards = {folder / f"{number:05d}": shard for number, shard in enumerate(prepared.shards)}
    for table, shard in shards.items():
        list_shard(table, prepared, shard, ranker, terms.evaluate.cutoffs, terms.compute)

    def measured() -> Measured:
        sums = [sum_lists(table, prepared, shard, terms.evaluate, _bootstrap(terms)) for table, shard in shards.items()]
        return ranking_metrics(RankingSums.whole(sums), prepared, terms.evaluate, _bootstrap(terms))

    return measured


def _predict(rater: Rater, prepared: Prepared, terms: Terms) -> Callable[[], Measured]:
    context = FitContext(terms.seed, terms.compute)
    means = MeansOnly.fit(prepared.training_set("split"), MeansSettings(), context)
    sums = [sum_errors(prepared, shard, rater, means, _bootstrap(terms)) for shard in prepared.shards]
    return lambda: rating_metrics(RatingSums.whole(sums), _bootstrap(terms))


def _bootstrap(terms: Terms) -> Bootstrap:
    return Bootstrap(terms.evaluate.bootstrap_samples, terms.evaluate.confidence, terms.seed)


class _Sender(QueueHandler):
    """Log records into a pipe; unlike a queue it leaves no lock behind when its process is killed."""

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(record)  # type: ignore[attr-defined]


def _child(contestant: Contestant, terms: Terms, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.setLevel(logging.INFO)
    log.addHandler(_Sender(sender))  # type: ignore[arg-type]
    try:
        sender.send(measure(contestant, terms))
    except RecsysError as known:
        sender.send(_failed(contestant, str(known), known.exit_code))
    except Exception as defect:  # one model's defect is not the end of the comparison
        log.error("compare: %s failed", contestant.name, exc_info=defect)
        sender.send(_failed(contestant, f"a defect: {type(defect).__name__}: {defect}", 1))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _received(message: logging.LogRecord | Record) -> Record | None:
    if isinstance(message, logging.LogRecord):
        log.handle(message)
        return None
    return message


def _failed(contestant: Contestant, why: str, exit_code: int) -> Record:
    return {
        **contestant.record,
        "failed": why,
        "exit_code": exit_code,
        "fit_seconds": None,
        "score_seconds": None,
        "peak_memory_mib": None,
        "metrics": {},
    }


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name}, as the system does where memory is short" if name == "SIGKILL" else name
