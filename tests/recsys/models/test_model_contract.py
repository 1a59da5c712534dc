"""The shared contract over every model of the registry."""

import pytest
from model_contract import RankerContract, RaterContract

from recsys.errors import UsageError
from recsys.models.base import Ranker, Rater
from recsys.models.presets import PRESETS
from recsys.models.registry import RANKERS, RATERS, describe_all, ranker, rater, settings_of


class TestRankers(RankerContract):
    @pytest.fixture(scope="class", params=sorted(RANKERS))
    @classmethod
    def model_class(cls, request):
        return ranker(request.param)

    @pytest.fixture
    def other_class(self, model_class):
        return next(ranker(name) for name in RANKERS if name != model_class.name)


class TestRaters(RaterContract):
    @pytest.fixture(scope="class", params=sorted(RATERS))
    @classmethod
    def model_class(cls, request):
        return rater(request.param)

    @pytest.fixture
    def other_class(self, model_class):
        return next(rater(name) for name in RATERS if name != model_class.name)


class TestRegistry:
    def test_each_name_leads_to_the_model_of_that_name(self):
        assert [ranker(name).name for name in RANKERS] == list(RANKERS)
        assert [rater(name).name for name in RATERS] == list(RATERS)
        assert all(issubclass(ranker(name), Ranker) for name in RANKERS)
        assert all(issubclass(rater(name), Rater) for name in RATERS)

    def test_a_name_is_one_model_whatever_the_kind(self):
        both = set(RANKERS) & set(RATERS)  # settings stand under models.<name>
        assert both
        assert {name: RANKERS[name] for name in both} == {name: RATERS[name] for name in both}

    @pytest.mark.parametrize("find", [ranker, rater, lambda name: settings_of(name, {})])
    def test_an_unknown_name_is_refused_with_the_known_ones(self, find):
        with pytest.raises(UsageError, match="nosuch") as refusal:
            find("nosuch")
        assert "popular" in refusal.value.expected or "means" in refusal.value.expected

    def test_a_rater_is_no_ranker(self):
        with pytest.raises(UsageError, match="There is no ranker 'means'"):
            ranker("means")

    def test_settings_are_checked_and_named(self):
        assert settings_of("edlae", {"reg": 7.0}).reg == 7.0
        with pytest.raises(UsageError, match=r"models\.edlae\.reg"):
            settings_of("edlae", {"reg": -1.0})
        with pytest.raises(UsageError, match=r"models\.edlae\.lambda"):
            settings_of("edlae", {"lambda": 1.0})

    def test_every_model_is_described(self):
        described = describe_all()
        assert sorted(each["name"] for each in described) == sorted({*RANKERS, *RATERS, *PRESETS})
        kinds = {each["name"]: each["kind"] for each in described}
        assert (kinds["popular"], kinds["means"], kinds["biased_mf"]) == ("ranker", "rater", "ranker, rater")
        assert all(each["about"] and "\n" not in each["about"] for each in described)

    def test_a_preset_is_its_model_with_other_defaults(self):
        assert ranker("ease") is ranker("edlae")
        assert settings_of("ease", {}) == settings_of("edlae", {"dropout": 0.0})
        assert settings_of("ease", {"dropout": 0.1}).dropout == 0.1
        for name, preset in PRESETS.items():
            assert settings_of(name, {}).model_dump().items() >= preset.settings.items()
