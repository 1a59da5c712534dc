"""The stages that fit models. A model is judged on the split, and refitted on all ratings before it is published."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from recsys.models.base import FitContext, Model, Ranker, Rater, read_record
from recsys.models.kept_gram import KeptGram
from recsys.models.registry import Role, model_of, settings_of
from recsys.prepare.prepared import Part
from recsys.run import Run
from recsys.store import sealed_stage

log = logging.getLogger("recsys")


@dataclass(frozen=True)
class Fitted:
    """A fitted model on disk."""

    role: Role
    name: str
    folder: Path


def fit(run: Run, role: Role) -> Fitted:
    """Fit the run's ranker or rater on the training part, to be judged."""
    fitted = fitted_on_split(run, role)
    with sealed_stage(fitted.folder, run.record(f"train_{role}"), under_way=run.under_way) as folder:
        if folder is not None:
            settings = settings_of(fitted.name, run.config.models.get(fitted.name, {}))
            model = model_class(fitted).fit(
                run.prepared.training_set("split"), settings, _context(run, f"train_{role}", "split")
            )
            _save(model, folder, run)
    log.info("train: %s %s is fitted on the training part", role, fitted.name)
    return fitted


def refit(run: Run, role: Role) -> Fitted:
    """Fit the model that is published, on all ratings; with `train.refit` off it is the judged one."""
    judged, published = fitted_on_split(run, role), fitted_on_all(run, role)
    with sealed_stage(published.folder, run.record(f"refit_{role}"), under_way=run.under_way) as folder:
        if folder is not None and run.config.train.refit:
            settings = settings_of(judged.name, run.config.models.get(judged.name, {}))
            found = read_record(judged.folder)["found"]
            context = _context(run, f"refit_{role}", "all")
            model = model_class(judged).fit(run.prepared.training_set("all"), settings, context, found)
            _save(model, folder, run)
        elif folder is not None:
            shutil.copytree(judged.folder, folder, dirs_exist_ok=True)
    log.info("train: %s %s is ready to be published", role, judged.name)
    return published


def fitted_on_split(run: Run, role: Role) -> Fitted:
    """Where the judged model stands."""
    return Fitted(role, getattr(run.config.train, role), judged_folder(run.folder, role))


def judged_folder(run_folder: Path, role: Role) -> Path:
    """Where a run keeps a model that was judged: the next nights' models are compared with it."""
    return run_folder / "model" / "judged" / role


def fitted_on_all(run: Run, role: Role) -> Fitted:
    """Where the published model stands."""
    return Fitted(role, getattr(run.config.train, role), run.folder / "model" / role)


def model_class(fitted: Fitted) -> type[Model]:
    """The class of a fitted model."""
    return model_of(fitted.role, fitted.name)


def load_ranker(fitted: Fitted, run: Run) -> Ranker:
    """A fitted ranker under the run's id map; kept until `forget_models`, for the next shard."""
    model = _loaded(fitted, run.prepared.id_map_sha256)
    assert isinstance(model, Ranker)
    return model


def load_rater(fitted: Fitted, run: Run) -> Rater:
    """A fitted rater under the run's id map; kept until `forget_models`, for the next shard."""
    model = _loaded(fitted, run.prepared.id_map_sha256)
    assert isinstance(model, Rater)
    return model


def forget_models() -> None:
    """Give back the memory of the models that were loaded."""
    _loaded.cache_clear()


@lru_cache(maxsize=2)  # a ranker and a rater; those of another stage or run take their place
def _loaded(fitted: Fitted, id_map_sha256: str) -> Model:
    return model_class(fitted).load(fitted.folder, id_map_sha256)


def _context(run: Run, stage: str, part: Part) -> FitContext:
    """With a folder outside of the stage's own, which a restart empties: there a long training keeps its state."""
    kept = KeptGram(run.store, run.prepared.folder, part, run.record(f"{stage}_gram"))
    return FitContext(
        run.config.seed,
        run.config.compute,
        run.work / "checkpoints" / stage,
        kept if run.config.train.incremental else None,
    )


def _save(model: Model, folder: Path, run: Run) -> None:
    model.save(folder, run.prepared.id_map_sha256)
    if model.history():
        (folder / "history.json").write_text(json.dumps(model.history(), indent=2))
