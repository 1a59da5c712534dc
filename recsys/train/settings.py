"""Settings that all models trained in epochs share. TensorFlow is not imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from recsys.config import Section, Tunable

Optimizer = Literal["adam", "adamax", "adadelta", "nadam", "rmsprop", "sgd"]
Initializer = Literal["normal", "uniform", "he_normal", "glorot_uniform"]


class EmbeddingSettings(Section):
    """The size of what a model keeps of each user and item."""

    embedding_size: Annotated[int, Tunable(8, 256, log=True)] = Field(
        64, ge=1, description="numbers that describe a user, and an item"
    )


class EpochSettings(Section):
    """How long and how fast a model is trained. Defaults differ by model."""

    epochs: int = Field(10, ge=1, description="at most; the learning rate falls over that many")
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before stopping")
    learning_rate: Annotated[float, Tunable(1e-3, 2e-2, log=True)] = Field(
        5e-3, gt=0, description="the optimiser's, at the first step"
    )
    final_rate: float = Field(0.05, gt=0, le=1, description="share of the learning rate left at the last epoch")
    validation_fraction: float = Field(0.05, ge=0, lt=1, description="share of the examples kept for early stopping")


class TrainingSettings(EpochSettings):
    """How Keras trains a model in epochs."""

    optimizer: Optimizer = Field(
        "adam", description="Keras' optimiser of that name, its other settings as Keras has them"
    )
    loss: Literal["mse", "mae"] = Field("mse", description="what is minimised: mean squared or mean absolute error")
    batch: int = Field(
        0, ge=0, description="examples a step; 0: the power of two that makes about 85 steps an epoch, 256 to 8,192"
    )
