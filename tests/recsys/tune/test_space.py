"""Which settings a search may choose."""

import pytest
from pydantic import Field

from recsys.config import Section, Tunable
from recsys.errors import UsageError
from recsys.models import registry
from recsys.models.presets import Preset
from recsys.models.registry import PRESETS, RANKERS, RATERS, settings_of
from recsys.tune.space import is_whole, space_of, starting_point


def test_the_marked_settings_with_their_bounds():
    space = space_of("item_knn", {})
    assert space == {"neighbours": Tunable(10, 1_000, log=True), "shrinkage": Tunable(0, 100)}
    assert starting_point("item_knn", {}, space) == {"neighbours": 200, "shrinkage": 10.0}


def test_what_is_given_stays():
    assert set(space_of("item_knn", {"shrinkage": 5.0})) == {"neighbours"}


@pytest.mark.parametrize(
    ("name", "given"), [("popular", {}), ("means", {}), ("item_knn", {"neighbours": 5, "shrinkage": 0.0})]
)
def test_a_model_with_nothing_to_tune_is_refused(name, given):
    with pytest.raises(UsageError, match="no setting to tune"):
        space_of(name, given)


def test_bounds_are_widened_to_a_presets_own_value(monkeypatch):
    monkeypatch.setattr(registry, "PRESETS", {"wide": Preset("edlae", "wide", {"reg": 50_000.0, "dropout": 0.95})})
    space = space_of("wide", {})
    assert (space["reg"], space["dropout"]) == (Tunable(10, 50_000, log=True), Tunable(0, 0.95))
    start = starting_point("wide", {}, space)
    assert (start["reg"], start["dropout"]) == (50_000.0, 0.95)


def test_whole_numbers_are_told_apart():
    assert is_whole("biased_mf", "embedding_size")
    assert not is_whole("biased_mf", "reg")


@pytest.mark.parametrize("name", [*RANKERS, *RATERS, *PRESETS])
def test_the_bounds_are_settings_the_model_accepts(name):
    settings = settings_of(name, {})
    for field, described in type(settings).model_fields.items():
        for mark in (mark for mark in described.metadata if isinstance(mark, Tunable)):
            assert described.annotation in (int, float), field
            assert mark.low < mark.high
            assert not mark.log or mark.low > 0
            assert name in PRESETS or mark.low <= getattr(settings, field) <= mark.high, field
            for end in (mark.low, mark.high):
                settings_of(name, {field: described.annotation(end)})


def test_the_mark_changes_no_schema():
    class Plain(Section):
        reg: float = Field(500.0, gt=0)

    plain, marked = Plain.model_json_schema(), type(settings_of("edlae", {})).model_json_schema()
    assert plain["properties"]["reg"].items() <= marked["properties"]["reg"].items()
