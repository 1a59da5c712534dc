"""A comparison: one split, each model on it, one table."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from recsys import tables
from recsys.compare.contestant import BASELINES, Contestant, Record, Terms, in_own_process
from recsys.config import RunConfig
from recsys.experiment import Experiment, open_experiment, require_writable
from recsys.identity import code_version
from recsys.models.registry import RANKERS, RATERS, roles_of
from recsys.parquet import write_file
from recsys.prepare.prepared import Counts, Prepared
from recsys.prepare.stage import prepare_inputs, tell_counts
from recsys.progress import track
from recsys.store import Store, sealed_stage, write_whole

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        key: of the input, the split, the models with their settings, the seed and the code.
        file: the table.
        counts: of the input and the split.
        records: as `contestant.measure` gives them, baselines first.
    """

    key: str
    file: Path
    counts: Counts
    records: tuple[Record, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"key": self.key, "file": str(self.file), "input": asdict(self.counts), "models": list(self.records)}


def compare(config: RunConfig, names: Sequence[str] = (), out: Path | None = None) -> Comparison:
    """Draw one split, fit each model on it one after another, measure, and write the table.

    A comparison that was killed goes on after the last model measured. A model that fails is a row with its reason.

    Args:
        config: as for a night; its `train`, `gate` and `score` play no part.
        names: models and presets; empty: all models. One that can rank and rate is measured as both.
        out: the Parquet file; None: `<store>/comparisons/<key>.parquet`.

    Raises:
        UsageError, InputRefused, SourceUnavailable, StoreBusy: before any model is fitted.
    """
    contestants = choose(names, config)
    models = {f"{one.role} {one.name}": one.record["settings"] for one in contestants}
    experiment = open_experiment(config, models)
    work = experiment.store / "work" / f"comparison={experiment.key}"
    file = out or experiment.store / "comparisons" / f"{experiment.key}.parquet"
    require_writable(file)
    with Store(work).hold():
        prepared = _prepare(experiment, work)
        terms = Terms(prepared.folder, work, config.evaluate, config.compute, config.seed)
        with track("compare", len(contestants), "models") as bar:
            records = []
            for contestant in contestants:
                records.append(_measured_once(contestant, terms))
                bar.advance(1)
        _write(file, experiment, records)
        found = Comparison(experiment.key, file, prepared.counts, tuple(records))
    shutil.rmtree(work)  # after the lease's end, which leaves its record there
    return found


def choose(names: Sequence[str], config: RunConfig) -> list[Contestant]:
    """The contestants: rankers, then raters, each after their baseline, in the order asked for.

    Raises:
        UsageError: there is no such model.
    """
    asked = list(names) or [*RANKERS, *RATERS]
    roles = {name: roles_of(name) for name in asked}
    return [
        Contestant(role, name, config.models.get(name, {}))
        for role, baseline in BASELINES.items()
        for name in dict.fromkeys([baseline, *(name for name in asked if role in roles[name])])
    ]


def to_table(records: Sequence[Record]) -> pa.Table:
    """The records as rows of the schema `tables.comparison`."""
    found = [record["metrics"] for record in records]
    bounds = {name: "low" in value for metrics in found for name, value in metrics.items()}
    schema = tables.comparison(bounds)
    rows = [
        {name: record.get(name) for name in schema.names}
        | {"settings": json.dumps(record["settings"])}
        | {name: value["value"] for name, value in metrics.items()}
        | {f"{name}_{end}": value[end] for name, value in metrics.items() for end in ("low", "high") if end in value}
        for record, metrics in zip(records, found, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _prepare(experiment: Experiment, work: Path) -> Prepared:
    config = experiment.config
    with sealed_stage(work / "prepared", work / "stages" / "prepare.json") as folder:
        if folder is not None:
            prepare_inputs(
                folder,
                experiment.snapshot,
                experiment.holdout,
                config,
                top_items=experiment.top_items,
                refused=work / "refused",
            )
    prepared = Prepared(work / "prepared")
    tell_counts(prepared.counts)
    return prepared


def _measured_once(contestant: Contestant, terms: Terms) -> Record:
    """A failure is not kept: who goes on with more memory tries again."""
    kept = terms.work / "measured" / f"{contestant.role}-{contestant.name}.json"
    if kept.exists():
        return json.loads(kept.read_text())  # type: ignore[no-any-return]
    what = f"{contestant.name} ({contestant.role})"
    log.info("compare: %s begins", what)
    record = in_own_process(contestant, terms)
    if record["failed"]:
        log.warning("compare: %s could not be measured", what)
        return record
    took = (record["fit_seconds"], record["score_seconds"], record["peak_memory_mib"])
    log.info("compare: %s: fit %.1f s, score %.1f s, %s MiB", what, *took)
    kept.parent.mkdir(exist_ok=True)
    write_whole(kept, json.dumps(record))
    return record


def _write(file: Path, experiment: Experiment, records: Sequence[Record]) -> None:
    metadata = {
        "schema_version": tables.SCHEMA_VERSION,
        "key": experiment.key,
        "code": code_version(),
        "dataset": experiment.snapshot.dataset,
        "fingerprint": experiment.snapshot.fingerprint,
        "prepare": experiment.config.prepare.model_copy(update={"top_items": experiment.top_items}).model_dump_json(),
        "seed": str(experiment.config.seed),
    }
    write_file(to_table(records), file, metadata)
