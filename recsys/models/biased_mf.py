"""The nightly rater: matrix factorisation with biases, trained in compiled threads. No TensorFlow in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from recsys.compute import MIB, thread_count
from recsys.config import ComputeConfig, Section, Tunable
from recsys.errors import UsageError
from recsys.models.base import FitContext, map_each, save_each
from recsys.models.factors import FactorModel, Factors, FactorSettings, Ridge
from recsys.prepare.training_set import TrainingSet
from recsys.train.descent import descend, first_tables
from recsys.train.settings import EpochSettings
from recsys.train.strata import strata_of


class BiasedMFSettings(EpochSettings, FactorSettings):
    """Settings, for ratings of standard deviation 1 as `recsys.train.descent` explains.

    The defaults were found on validation slices of ml-1m, ml-100k, ml-latest-small and demo.
    """

    epochs: int = Field(20, ge=1, description="at most; the learning rate falls over that many")
    patience: int = Field(
        4, ge=1, description="epochs without a better validation loss before stopping; the start is flat"
    )
    learning_rate: Annotated[float, Tunable(1e-2, 0.15, log=True)] = Field(
        0.09, gt=0, description="of the factors in the first epoch"
    )
    final_rate: float = Field(0.05, gt=0, le=1, description="share of the learning rate left at the last epoch")
    bias_rate: Annotated[float, Tunable(0.02, 1, log=True)] = Field(
        0.2, gt=0, description="learning rate of the biases, in units of the factors'"
    )
    init_scale: float = Field(0.005, gt=0, description="standard deviation of the first factors")
    reg: Annotated[float, Tunable(0.01, 0.3, log=True)] = Field(
        0.062, ge=0, description="L2 of the factors of each rating's user and item, for average counts"
    )
    reg_power: Annotated[float, Tunable(0, 1)] = Field(
        0.25, ge=0, description="L2 is reg * (count / mean count) ** -power: rare rows are held tighter"
    )
    bias_reg: Annotated[float, Tunable(1e-3, 0.3, log=True)] = Field(
        0.06, ge=0, description="L2 of the biases, a rating"
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class BiasedMF(FactorModel):
    """Matrix factorisation, see `FactorModel`, by stochastic gradient descent, see `recsys.train.descent`.

    Attributes:
        parts: the factors and biases; rows are user_index and columns. Of a saved model they are memory-mapped.
        held_by: what held the users' rows.
    """

    name: ClassVar[str] = "biased_mf"
    summary: ClassVar[str] = "biases and factors, rare rows held tighter, in compiled threads; the nightly rater"
    settings: ClassVar[type[Section]] = BiasedMFSettings

    parts: Factors
    held_by: Ridge

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: BiasedMFSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Train on all but a validation slice, and keep the tables that predict the slice best.

        With `found` (epochs) train on everything, for that many epochs.

        Raises:
            UsageError: the tables do not fit the memory budget, or the loss is no longer finite.
        """
        shape = (training_set.n_users, len(training_set.items))
        check_memory(shape, settings.embedding_size, context.compute)
        slice_of = 0.0 if found else settings.validation_fraction
        memory, folder = context.compute.memory_mib, context.checkpoints
        with strata_of(training_set.learned, slice_of, context.seed, memory, folder) as (strata, watched):
            tables = first_tables(strata, shape, settings, context.seed)
            trained = descend(
                tables, strata, watched, settings, epochs=found["epochs"] if found else settings.epochs,
                seed=context.seed, threads=thread_count(context.compute), checkpoints=folder,
            )  # fmt: skip
            mean_count = len(strata) / training_set.n_users
        return cls(
            items=training_set.items, row_of=training_set.learned_column_of, learned=training_set.trained,
            best_epoch=trained.best_epoch, epochs=trained.history, parts=Factors(tables.overall, *tables.arrays),
            held_by=Ridge(settings.reg * tables.unit, settings.reg_power, settings.bias_reg, mean_count),
        )  # fmt: skip

    @property
    def factors(self) -> Factors:
        """The parts."""
        return self.parts

    @property
    def ridge(self) -> Ridge:
        """As the training had it."""
        return self.held_by

    def _save_state(self, folder: Path) -> dict[str, Any]:
        parts = self.parts
        save_each(
            folder, items=self.items, row_of=self.row_of, learned=self.learned, user_factors=parts.users,
            item_factors=parts.items, user_bias=parts.user_bias, item_bias=parts.item_bias,
        )  # fmt: skip
        return {"overall": parts.overall, "ridge": asdict(self.held_by)}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        arrays = map_each(folder)
        tables = (arrays[name] for name in ("user_factors", "item_factors", "user_bias", "item_bias"))
        return cls(
            items=arrays["items"], row_of=arrays["row_of"], learned=arrays["learned"],
            best_epoch=record["found"]["epochs"], parts=Factors(record["overall"], *tables),  # type: ignore[arg-type]
            held_by=Ridge(**record["ridge"]),
        )  # fmt: skip


def check_memory(shape: tuple[int, int], size: int, compute: ComputeConfig) -> None:
    """Refuse before the work starts what would not fit: float32 rows, and a copy of the best epoch's.

    The ratings themselves, 12 bytes each, are kept in files where they are more than half of the budget.
    """
    need = 8 * sum(shape) * (size + 1) / MIB
    if need > compute.memory_mib:
        raise UsageError(
            f"biased_mf needs {need:,.0f} MiB: 8 bytes x {size + 1} numbers x {sum(shape):,} users and items.",
            expected=f"at most {compute.memory_mib:,} MiB (compute.memory_mib)",
            found=f"{shape[0]:,} users, {shape[1]:,} items",
            todo="lower models.biased_mf.embedding_size, or raise --set compute.memory_mib",
        )
