"""The interface that every model has: learn, save, load, and order items (a ranker) or predict ratings (a rater)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.config import ComputeConfig, Section
from recsys.errors import UsageError
from recsys.models.kept_gram import KeptGram
from recsys.prepare.training_set import TrainingSet
from recsys.score.selection import NOTHING

FORMAT = 1  # raised when a saved model can no longer be read by older code


@dataclass(frozen=True, eq=False)
class Histories:
    """The users to score, a row each.

    Attributes:
        user_index: (n,) int32; -1 for a person the model was not fitted on (fold-in).
        ratings: (n, n_columns) CSR float32, what each has rated, in the model's columns; columns ascend in a row.
        seen: (n, n_columns) CSR, a stored entry where an item must be left out; at least the rated ones.
        allowed: (n_columns,) bool, the columns that may be listed at all; None: every one.
    """

    user_index: NDArray[np.int32]
    ratings: csr_matrix
    seen: csr_matrix
    allowed: NDArray[np.bool_] | None = None

    def of(self, rows: NDArray[np.bool_]) -> Histories:
        """These rows of it; itself where that is all of them."""
        if rows.all():
            return self
        return Histories(self.user_index[rows], self.ratings[rows], self.seen[rows], self.allowed)


@dataclass(frozen=True, eq=False)
class TopN:
    """The best columns of each user by (score descending, column ascending), short lists filled with `NOTHING`.

    Attributes:
        columns: (n_users, n) int32.
        scores: (n_users, n) float32, finite where a column stands.
    """

    columns: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of a model's own space; a row that was not learned is not published.

    Attributes:
        users: (n_users, size) float32.
        users_learned: (n_users,) bool.
        items: (n_columns, size) float32.
        items_learned: (n_columns,) bool.
    """

    users: NDArray[np.float32]
    users_learned: NDArray[np.bool_]
    items: NDArray[np.float32]
    items_learned: NDArray[np.bool_]


@dataclass(frozen=True)
class FitContext:
    """What a fit may use beside its data.

    Attributes:
        seed: of every random number of the fit.
        compute: threads and memory.
        checkpoints: a folder of this fit's own; what it keeps there lets a killed fit go on. None keeps nothing.
        kept_gram: where a model that counts common users finds the counts of the night before; None counts anew.
    """

    seed: int
    compute: ComputeConfig
    checkpoints: Path | None = None
    kept_gram: KeptGram | None = None


class Model(ABC):
    """A fitted model over some of the input's items.

    Attributes:
        name: as in the configuration.
        summary: one line for people.
        settings: the class of the model's settings.
        items: (n_columns,) int32, the item_index of each column, ascending.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[Section]]
    items: NDArray[np.int32]

    @classmethod
    def warm_up(cls) -> None:
        """Import what a fit will need and what takes seconds; safe to call from another thread."""

    @classmethod
    @abstractmethod
    def fit(
        cls, training_set: TrainingSet, settings: Any, context: FitContext, found: Mapping[str, Any] | None = None
    ) -> Self:
        """Learn from a training set. Deterministic for equal input, settings, seed and library versions.

        Args:
            found: what an earlier fit found out on a part of the data (`found()`); nothing is then held back for it.
        """

    def found(self) -> dict[str, Any]:
        """What a fit on more data need not find out again, e.g. the number of epochs. It is kept in model.json."""
        return {}

    @abstractmethod
    def _save_state(self, folder: Path) -> dict[str, Any]:
        """Write the arrays; return what stands in model.json beside the common keys."""

    @classmethod
    @abstractmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        """Read what `_save_state` wrote."""

    def save(self, folder: Path, id_map_sha256: str) -> None:
        """Write the model into an existing, empty folder: arrays, and `model.json` last."""
        state = self._save_state(folder)
        record = {
            "format": FORMAT,
            "model": self.name,
            "id_map_sha256": id_map_sha256,
            "versions": _versions(),
            "found": self.found(),
            **state,
        }
        (folder / "model.json").write_text(json.dumps(record, indent=2))

    @classmethod
    def load(cls, folder: Path, id_map_sha256: str) -> Self:
        """Read a saved model.

        Raises:
            UsageError: it cannot be read, is another model's, of another format or Keras generation, or of other ids.
        """
        record = read_record(folder)
        _check(folder, "format", FORMAT, record["format"], "publish a new run with this version of the program")
        _check(folder, "model", cls.name, record["model"], "load it as that model")
        _check(folder, "id map", id_map_sha256, record["id_map_sha256"], "use the model with the run it belongs to")
        own, saved = _versions()["keras"].split(".")[0], record["versions"]["keras"].split(".")[0]
        _check(folder, "Keras generation", own, saved, "install that generation, or publish a new run")
        return cls._load_state(folder, record)

    def embeddings(self) -> Embeddings | None:
        """The vectors of users and items; None where the model has none."""
        return None

    def history(self) -> list[dict[str, float]]:
        """Figures by epoch, where the model is trained in epochs."""
        return []


class Ranker(Model):
    """A model that orders items for a user."""

    @abstractmethod
    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) scores of all columns, seen ones too; the plain form that `top_n` must agree with."""

    @abstractmethod
    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n best columns of each user, seen ones and those not allowed left out, ties by column."""

    def can_score(self, histories: Histories) -> NDArray[np.bool_]:
        """(n_users,) whether the model has anything to say about a user: by default, a rating of a known item."""
        return np.diff(histories.ratings.indptr) > 0

    def similar(self, n: int, compute: ComputeConfig) -> TopN | None:
        """(n_columns, n) the nearest columns of each column, itself left out; None where the model cannot say."""
        return None

    def similarity(self, column: int) -> NDArray[np.float32] | None:
        """(n_columns,) the row that `similar` takes a column's nearest from; None where the model cannot say."""
        return None

    def because(self, histories: Histories, columns: NDArray[np.int32], compute: ComputeConfig) -> NDArray[np.int32]:
        """(n_users, n) the rated column that adds most to each score; `NOTHING` where the model cannot say exactly."""
        return np.full(columns.shape, NOTHING, dtype=np.int32)


class Rater(Model):
    """A model that predicts ratings."""

    @abstractmethod
    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) predicted ratings in the input's units, not clipped; NaN where the rater cannot say.

        Indices may be `UNKNOWN` (-1).

        Raises:
            IndexError: an index is outside the id map.
        """

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) predicted ratings for people the model was not fitted on, from their own ratings (fold-in).

        Args:
            ratings: (n, n_columns) CSR float32, what each has rated, in the model's columns.
            columns: (n, k) int32, the columns asked for; -1 for none.

        Returns:
            In the input's units, not clipped; NaN where the rater cannot say, which by default is everywhere.
        """
        return np.full(columns.shape, np.nan, dtype=np.float32)


def check_bounds(index: NDArray[np.int32], size: int, what: str) -> None:
    """Refuse indices outside -1..size-1: a gather would wrap around or return another's row."""
    if len(index) and (np.min(index) < -1 or np.max(index) >= size):
        raise IndexError(f"{what} must be in -1..{size - 1}, found {int(np.min(index))}..{int(np.max(index))}")


def predicted_pairs(
    rating: Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray],
    user_index: NDArray[np.int32],
    item_index: NDArray[np.int32],
    learned: NDArray[np.bool_],
    row_of: NDArray[np.int32],
) -> NDArray[np.float32]:
    """What `Rater.predict` returns: ratings of learned users and items, NaN for the other pairs.

    Args:
        rating: from (n,) user_index and (n,) rows of items, all learned, to (n,) ratings.
        learned: (n_users,) whether each user was learned from.
        row_of: (n_items,) int32 the model's row of each item_index, -1 for an item that was not learned from.

    Raises:
        IndexError: an index is outside the id map.
    """
    check_bounds(user_index, len(learned), "user_index")
    check_bounds(item_index, len(row_of), "item_index")
    row = row_of[item_index]
    known = (item_index >= 0) & (row >= 0) & (user_index >= 0) & learned[user_index]
    predicted = np.full(len(user_index), np.nan, dtype=np.float32)
    predicted[known] = rating(user_index[known], row[known])
    return predicted


def save_arrays(folder: Path, **arrays: NDArray) -> None:
    """Write arrays to `arrays.npz`, uncompressed: weights do not shrink, and loading stays a copy."""
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)  # type: ignore[arg-type]


def load_arrays(folder: Path) -> dict[str, NDArray]:
    """Read `arrays.npz`; pickled content is refused."""
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def save_each(folder: Path, **arrays: NDArray) -> None:
    """Write each array to a file of its own, `<name>.npy`, so that a reader can map it."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def map_each(folder: Path) -> dict[str, NDArray]:
    """Map what `save_each` wrote: only what is looked at is read. Pickled content is refused."""
    files = sorted(folder.glob("*.npy"))
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}


def read_record(folder: Path) -> dict[str, Any]:
    """A saved model's model.json.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return json.loads((folder / "model.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"There is no readable model in {folder}.",
            expected="model.json as this program writes it",
            found=str(error),
            todo="`recsys runs verify` says whether the run is damaged",
        ) from error


def _versions() -> dict[str, str]:
    return {package: version(package) for package in ("keras", "numpy")}


def _check(folder: Path, what: str, expected: object, found: object, todo: str) -> None:
    if expected != found:
        raise UsageError(
            f"The model in {folder} does not fit: its {what} is another.",
            expected=str(expected),
            found=str(found),
            todo=todo,
        )
