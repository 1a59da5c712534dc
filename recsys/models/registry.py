"""All models by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from recsys.config import RunConfig, Section, validated
from recsys.errors import UsageError
from recsys.models.base import Model, Ranker, Rater
from recsys.models.presets import PRESETS

Role = Literal["ranker", "rater"]
ROLES: tuple[Role, ...] = ("ranker", "rater")

# Where each model stands. Imported when asked for: TensorFlow alone takes seconds. A model may stand in both.
RANKERS: Mapping[str, str] = {
    "popular": "recsys.models.popular:Popular",
    "edlae": "recsys.models.edlae:Edlae",
    "ials": "recsys.models.ials:Ials",
    "item_knn": "recsys.models.item_knn:ItemKnn",
    "biased_mf": "recsys.models.biased_mf:BiasedMF",
    "matrix_factorisation": "recsys.models.matrix_factorisation:MatrixFactorisation",
    "recommender_net": "recsys.models.recommender_net:RecommenderNet",
    "masked_autoencoder": "recsys.models.masked_autoencoder:MaskedAutoencoder",
}
RATERS: Mapping[str, str] = {
    "means": "recsys.models.means:MeansOnly",
    "bayesian_mf": "recsys.models.bayesian_mf:BayesianMF",
    "biased_mf": "recsys.models.biased_mf:BiasedMF",
    "matrix_factorisation": "recsys.models.matrix_factorisation:MatrixFactorisation",
    "recommender_net": "recsys.models.recommender_net:RecommenderNet",
    "masked_autoencoder": "recsys.models.masked_autoencoder:MaskedAutoencoder",
}


def ranker(name: str) -> type[Ranker]:
    """The ranker of that name.

    Raises:
        UsageError: there is none.
    """
    return _find(name, RANKERS, "ranker")  # type: ignore[return-value]


def rater(name: str) -> type[Rater]:
    """The rater of that name.

    Raises:
        UsageError: there is none.
    """
    return _find(name, RATERS, "rater")  # type: ignore[return-value]


def model_of(role: Role, name: str) -> type[Model]:
    """The model of that name in that role.

    Raises:
        UsageError: there is none.
    """
    return ranker(name) if role == "ranker" else rater(name)


def roles_of(name: str) -> list[Role]:
    """What the model of that name can be: a ranker, a rater, or both.

    Raises:
        UsageError: there is no such model.
    """
    _find(name, {**RANKERS, **RATERS}, "model")
    known: dict[Role, Mapping[str, str]] = {"ranker": RANKERS, "rater": RATERS}
    return [role for role, models in known.items() if name in _names(models)]


def settings_of(name: str, given: Mapping[str, Any]) -> Section:
    """The model's settings, defaults filled in and checked.

    Raises:
        UsageError: no such model or setting, or a value out of bounds.
    """
    kind = _find(name, {**RANKERS, **RATERS}, "model")
    preset = PRESETS[name].settings if name in PRESETS else {}
    return validated(kind.settings, {**preset, **given}, f"models.{name}.")


def check_models(config: RunConfig) -> None:
    """Tell a misspelt model or setting before the work starts.

    Raises:
        UsageError: as `settings_of`.
    """
    ranker(config.train.ranker)
    rater(config.train.rater)
    for name, settings in config.models.items():
        settings_of(name, settings)


def unused_models(config: RunConfig) -> list[str]:
    """Models with settings in the configuration of a night that neither orders nor predicts by them."""
    return [name for name in config.models if name not in (config.train.ranker, config.train.rater)]


def describe_all() -> list[dict[str, str]]:
    """name, kind (`ranker`, `rater` or both, with a comma) and a line about each model."""
    names = dict.fromkeys([*_names(RANKERS), *_names(RATERS)])
    return [{"name": name, "kind": ", ".join(roles_of(name)), "about": _about(name)} for name in names]


def _names(known: Mapping[str, str]) -> list[str]:
    return [*known, *(preset for preset, preset_of in PRESETS.items() if preset_of.model in known)]


def _about(name: str) -> str:
    return PRESETS[name].about if name in PRESETS else _find(name, {**RANKERS, **RATERS}, "model").summary


def _find(name: str, known: Mapping[str, str], what: str) -> type[Model]:
    if name not in _names(known):
        raise UsageError(
            f"There is no {what} {name!r}.",
            expected=f"one of {', '.join(sorted(_names(known)))}",
            found=repr(name),
            todo="choose one; `recsys models` describes them",
        )
    module, _, attribute = known[PRESETS[name].model if name in PRESETS else name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
