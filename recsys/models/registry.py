"""All models by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from recsys.config import Section, validated
from recsys.errors import UsageError
from recsys.models.base import Model, Ranker, Rater

# Where each model stands. Imported when asked for: TensorFlow alone takes seconds.
RANKERS: Mapping[str, str] = {"popular": "recsys.models.popular:Popular", "edlae": "recsys.models.edlae:Edlae"}
RATERS: Mapping[str, str] = {
    "means": "recsys.models.means:MeansOnly",
    "biased_mf": "recsys.models.biased_mf:BiasedMF",
    "bayesian_mf": "recsys.models.bayesian_mf:BayesianMF",
}
# A preset is a model under a name of its own, with other defaults: (model, settings that differ).
PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {}


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


def settings_of(name: str, given: Mapping[str, Any]) -> Section:
    """The model's settings, defaults filled in and checked.

    Raises:
        UsageError: no such model or setting, or a value out of bounds.
    """
    kind = _find(name, {**RANKERS, **RATERS}, "model")
    _, preset = PRESETS.get(name, (name, {}))
    return validated(kind.settings, {**preset, **given}, f"models.{name}.")


def describe_all() -> list[dict[str, str]]:
    """name, kind and a line about each model."""
    found = [("ranker", name, RANKERS) for name in _names(RANKERS)] + [
        ("rater", name, RATERS) for name in _names(RATERS)
    ]
    return [{"name": name, "kind": kind, "about": _about(name, known, kind)} for kind, name, known in found]


def _names(known: Mapping[str, str]) -> list[str]:
    return [*known, *(preset for preset, (model, _) in PRESETS.items() if model in known)]


def _about(name: str, known: Mapping[str, str], kind: str) -> str:
    if name not in PRESETS:
        return _find(name, known, kind).summary
    model, settings = PRESETS[name]
    return f"{model} with {', '.join(f'{key} {value}' for key, value in settings.items())}"


def _find(name: str, known: Mapping[str, str], what: str) -> type[Model]:
    if name not in _names(known):
        raise UsageError(
            f"There is no {what} {name!r}.",
            expected=f"one of {', '.join(sorted(_names(known)))}",
            found=repr(name),
            todo="choose one; `recsys models` describes them",
        )
    module, _, attribute = known[PRESETS[name][0] if name in PRESETS else name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
