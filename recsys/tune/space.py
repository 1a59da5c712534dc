"""What a search may choose: the settings marked `Tunable`, less those that are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys.config import Section, Tunable
from recsys.errors import UsageError
from recsys.models.registry import settings_of

Space = Mapping[str, Tunable]


def space_of(name: str, given: Mapping[str, Any]) -> Space:
    """The bounds of each setting to be chosen, by its name.

    Bounds are widened where a preset's own value lies outside: the search begins with it.

    Args:
        given: settings that stay as they are.

    Raises:
        UsageError: nothing is left to choose.
    """
    settings = settings_of(name, given)
    marked = {field: bounds for field, bounds in _marked(settings).items() if field not in given}
    if not marked:
        raise UsageError(
            f"{name} has no setting to tune.",
            expected="a model with tunable settings that are not given by --set or --config",
            found=f"settings: {', '.join(type(settings).model_fields) or 'none'}; given: {', '.join(given) or 'none'}",
            todo="choose another model; `recsys models` lists them",
        )
    return {field: _around(getattr(settings, field), bounds) for field, bounds in marked.items()}


def starting_point(name: str, given: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The settings a search begins with: the model's, or the preset's, own."""
    settings = settings_of(name, given)
    return {field: getattr(settings, field) for field in space}


def is_whole(name: str, field: str) -> bool:
    """Whether a setting is a whole number."""
    return type(settings_of(name, {})).model_fields[field].annotation is int


def _marked(settings: Section) -> dict[str, Tunable]:
    return {
        name: mark
        for name, field in type(settings).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Tunable)
    }


def _around(value: float, bounds: Tunable) -> Tunable:
    low = bounds.low if bounds.log and value <= 0 else min(bounds.low, value)
    return Tunable(low, max(bounds.high, value), bounds.log)
