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


def settings_of(name: str, given: Mapping[str, Any]) -> Section:
    """The model's settings, defaults filled in and checked.

    Raises:
        UsageError: no such model or setting, or a value out of bounds.
    """
    kind = _find(name, {**RANKERS, **RATERS}, "model")
    return validated(kind.settings, given, f"models.{name}.")


def describe_all() -> list[dict[str, str]]:
    """name, kind and a line about each model."""
    found = [("ranker", name, RANKERS) for name in RANKERS] + [("rater", name, RATERS) for name in RATERS]
    return [{"name": name, "kind": kind, "about": _find(name, known, kind).summary} for kind, name, known in found]


def _find(name: str, known: Mapping[str, str], what: str) -> type[Model]:
    if name not in known:
        raise UsageError(
            f"There is no {what} {name!r}.",
            expected=f"one of {', '.join(sorted(known))}",
            found=repr(name),
            todo="choose one; `recsys models` describes them",
        )
    module, _, attribute = known[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
