"""What a search minimises or maximises: one figure on the validation slice."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.config import ComputeConfig
from recsys.errors import RecsysError
from recsys.evaluate import ranking
from recsys.evaluate.evaluation import list_shard, read_lists
from recsys.evaluate.rating import errors_by_user
from recsys.models.base import FitContext, Ranker, Rater
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.registry import Role, model_of, settings_of
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import TrainingSet
from recsys.tune.search import Direction

METRICS: Mapping[Role, str] = {"ranker": "ndcg@10", "rater": "rmse"}
K = 10


class NoFigure(RecsysError):
    """A trial ended without a figure."""


@dataclass(frozen=True)
class Objective:
    """A model's figure under some settings.

    Attributes:
        prepared: the training part; what is held out of it is the validation slice.
        given: settings that stay as they are.
    """

    role: Role
    name: str
    given: Mapping[str, Any]
    prepared: Prepared
    compute: ComputeConfig
    seed: int

    @property
    def metric(self) -> str:
        """The metric's id."""
        return METRICS[self.role]

    @property
    def direction(self) -> Direction:
        """Whether more is better."""
        return "maximize" if self.role == "ranker" else "minimize"

    def __call__(self, chosen: Mapping[str, Any]) -> float:
        """Fit and measure.

        Raises:
            RecsysError: the model refuses these settings, or has no figure under them.
        """
        settings = settings_of(self.name, {**self.given, **chosen})
        model = model_of(self.role, self.name).fit(self._training_set, settings, self._context)
        figure = self._ndcg(model) if self.role == "ranker" else self._rmse(model)  # type: ignore[arg-type]
        if not math.isfinite(figure):
            raise NoFigure(f"{self.metric} of {self.name} is {figure}.", found=str(dict(chosen)))
        return figure

    @cached_property
    def _training_set(self) -> TrainingSet:
        return self.prepared.training_set("split")

    @cached_property
    def _validation(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        return self.prepared.holdout()

    @cached_property
    def _means(self) -> MeansOnly:
        return MeansOnly.fit(self._training_set, MeansSettings(), self._context)

    @property
    def _context(self) -> FitContext:
        return FitContext(self.seed, self.compute)

    def _ndcg(self, ranker: Ranker) -> float:
        values = [self._ndcg_by_user(ranker, shard) for shard in self.prepared.shards]
        return float(np.concatenate(values).mean())

    def _ndcg_by_user(self, ranker: Ranker, shard: Shard) -> NDArray[np.float64]:
        ids = self.prepared.ids
        with tempfile.TemporaryDirectory(dir=self.prepared.folder.parent, prefix="lists-") as folder:
            list_shard(Path(folder), self.prepared, shard, ranker, (K,), self.compute)
            lists = read_lists(Path(folder), ids, shard, K)
        user, item, _ = self.prepared.holdout(shard)
        marked = ranking.relevance(lists, user - np.int32(shard.start), item, ids.n_items)
        return ranking.per_user(marked, (K,))[self.metric]

    def _rmse(self, rater: Rater) -> float:
        return errors_by_user(rater, self._means, self._validation, self.prepared.scale).rmse
