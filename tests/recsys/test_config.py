"""The configuration: where a value comes from, and what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from recsys.config import OPTION_KEY, OPTION_SECTION, EvaluateConfig, RunConfig, Section, load
from recsys.errors import UsageError

SECTIONS = {name: field.annotation for name, field in RunConfig.model_fields.items()}
SECTIONS = {name: kind for name, kind in SECTIONS.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


@pytest.fixture
def toml(tmp_path):
    """Text -> path of a file that holds it."""

    def write(text: str) -> Path:
        path = tmp_path / "recsys.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# precedence


def test_nothing_given_is_the_defaults():
    assert load() == RunConfig()


def test_each_source_wins_over_the_one_before(toml):
    file = toml("top-n = 20\nseed = 1\nranker = 'popular'\n[prepare]\nsplit = 'time'\n")
    assert load(file).score.top_n == 20
    assert load(file, {"top_n": 30}).score.top_n == 30
    config = load(file, {"top_n": 30, "seed": 2}, ("score.top_n=40",))
    assert (config.score.top_n, config.seed, config.train.ranker) == (40, 2, "popular")
    assert config.prepare.split == "time"
    assert config.train.rater == "biased_mf"  # named nowhere


def test_the_last_assignment_wins():
    assert load(assignments=("seed=1", "seed=2")).seed == 2


def test_an_option_that_was_not_given_leaves_the_files_value(toml):
    assert load(toml("top-n = 20"), {"top_n": None, "store": None}).score.top_n == 20


def test_a_source_leaves_the_other_keys_of_a_section(toml):
    config = load(toml("[prepare]\nsplit = 'time'\ntest_fraction = 0.3"), {"test_fraction": 0.4})
    assert (config.prepare.split, config.prepare.test_fraction) == ("time", 0.4)


def test_a_flat_name_and_its_section_are_one_place(toml):
    assert load(toml("top-n = 20\n[score]\n"), {}).score.top_n == 20
    assert load(toml("[score]\ntop_n = 20"), {"top_n": 5}).score.top_n == 5


@pytest.mark.parametrize("name", ["top-n", "top_n"])
def test_both_spellings_of_a_flat_name(toml, name):
    assert load(toml(f"{name} = 7")).score.top_n == 7
    assert load(options={name: 7}).score.top_n == 7
    assert load(assignments=(f"{name}=7",)).score.top_n == 7
    assert load(assignments=(f"score.{name}=7",)).score.top_n == 7


def test_both_spellings_inside_a_table_of_the_file(toml):
    """As in `--set score.top-n=7`: the same name in every source."""
    assert load(toml("[score]\ntop-n = 7")).score.top_n == 7


def test_flat_names_of_every_section():
    given = {
        "dataset": "ml-1m", "ratings": "r.csv", "items": "i.csv", "columns": {"user": "u"}, "mirror": "/m",
        "top_items": 5, "min_user_ratings": 2, "split": "time", "test_fraction": 0.1, "test_ratings": "t.csv",
        "ranker": "popular", "rater": "means", "top_n": 3, "rules": "r.toml",
    }  # fmt: skip
    assert set(given) == set(OPTION_SECTION)
    for name, value in given.items():
        assert getattr(getattr(load(options={name: value}), OPTION_SECTION[name]), OPTION_KEY.get(name, name)) == value


@pytest.mark.parametrize(
    ("text", "options", "assignments"),
    [
        ("", {"dataset": "demo", "ratings": "r.csv"}, ()),
        ("dataset = 'demo'", {"ratings": "r.csv"}, ()),
        ("dataset = 'demo'\nratings = 'r.csv'", {}, ()),
        ("[input]\ndataset = 'demo'", {}, ("input.ratings=r.csv",)),
    ],
)
def test_a_dataset_beside_own_ratings_is_refused(toml, text, options, assignments):
    with pytest.raises(UsageError, match=r"the dataset 'demo' and own ratings 'r\.csv'") as refused:
        load(toml(text), options, assignments)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", ["ratings", "items", "test_ratings"])
def test_an_empty_path_is_refused(name):
    with pytest.raises(UsageError, match=name):
        load(options={name: ""})


def test_own_ratings_are_no_dataset_in_any_copy_of_the_configuration():
    config = load(options={"ratings": "r.csv"})
    assert config.input.dataset is None
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
    assert load().input.dataset == "demo"


def test_every_flat_name_is_a_key_of_its_section():
    for name, section in OPTION_SECTION.items():
        assert OPTION_KEY.get(name, name) in SECTIONS[section].model_fields


def test_a_file_as_in_the_readme(toml):
    config = load(
        toml("""
        dataset = "ml-1m"
        store = "/srv/recsys"
        run-date = 2024-05-06
        top-n = 20
        columns = { user = "who", item = "what" }

        [gate]
        ranker_beats_popular = false

        [evaluate]
        cutoffs = [10, 50]

        [models.edlae]
        reg = 500.0
        """)
    )
    assert (config.input.dataset, config.store, config.run_date) == ("ml-1m", "/srv/recsys", date(2024, 5, 6))
    assert (config.score.top_n, config.input.columns) == (20, {"user": "who", "item": "what"})
    assert (config.gate.ranker_beats_popular, config.gate.rater_beats_means) == (False, True)
    assert config.evaluate.cutoffs == (10, 50)
    assert config.models == {"edlae": {"reg": 500.0}}


def test_an_assignment_reaches_a_models_setting(toml):
    file = toml("[models.edlae]\nreg = 500.0\ndropout = 0.1")
    config = load(file, None, ("models.edlae.reg=1.5", "models.biased-mf.epochs=3"))
    assert config.models == {"edlae": {"reg": 1.5, "dropout": 0.1}, "biased_mf": {"epochs": 3}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.dataset=ml-1m", "ml-1m"), ("input.dataset='ml-1m'", "ml-1m"), ('input.dataset="a = b"', "a = b"),
        ("input.dataset=a=b", "a=b"), (" input.dataset = ml-1m ", "ml-1m"),
    ],
)  # fmt: skip
def test_the_value_of_an_assignment_is_toml_or_else_text(text, value):
    assert load(assignments=(text,)).input.dataset == value


def test_the_values_given_are_left_as_they_were():
    options = {"models": {"edlae": {"reg": 1.0}}, "columns": {"user": "u"}}
    load(options=options, assignments=("models.edlae.reg=2.0", "input.columns.user=v"))
    assert options == {"models": {"edlae": {"reg": 1.0}}, "columns": {"user": "u"}}


# what is refused


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("nonsense=1", "nonsense"),
        ("score.topn=1", r"score\.topn"),
        ("no_such.key=1", "no_such"),
        ("score.top_n=ten", r"score\.top_n"),
        ("score.top_n=1.5", r"score\.top_n"),
        ("score.top_n=0", r"score\.top_n"),
        ("score.top_n=1001", r"score\.top_n"),
        ("score.top_n=", r"score\.top_n"),
        ("top_n.x=1", r"score\.top_n"),
        ("score=1", "score"),
        ("seed=-1", "seed"),
        ("prepare.test_fraction=0", r"prepare\.test_fraction"),
        ("prepare.test_fraction=1", r"prepare\.test_fraction"),
        ("prepare.test_fraction=nan", r"prepare\.test_fraction"),
        ("prepare.split=per_user", r"prepare\.split"),
        ("prepare.min_user_ratings=0", r"prepare\.min_user_ratings"),
        ("input.max_bad_fraction=1.1", r"input\.max_bad_fraction"),
        ("input.rating_min=inf", r"input\.rating_min"),
        ("input.rating_step=0", r"input\.rating_step"),
        ("input.columns.users=u", "columns.*users"),
        ("input.id_type=float", r"input\.id_type"),
        ("download.connect_timeout_s=0", r"download\.connect_timeout_s"),
        ("compute.memory_mib=0", r"compute\.memory_mib"),
        ("evaluate.cutoffs=[5, 20]", "evaluate.*10"),
        ("evaluate.cutoffs=[0, 10]", r"evaluate\.cutoffs"),
        ("evaluate.confidence=1", r"evaluate\.confidence"),
        ("run_date=yesterday", "run_date"),
        ("engine=spark", "engine"),
        ("models.edlae=1", r"models\.edlae"),
        ("demo.users=0", r"demo\.users"),
    ],
)
def test_what_is_wrong_is_named(assignment, named):
    with pytest.raises(UsageError, match=f"wrong at .*{named}") as error:
        load(assignments=(assignment,))
    assert error.value.exit_code == 2
    assert error.value.todo


@pytest.mark.parametrize("text", ["score.top_n", "=5", " = 5", ""])
def test_a_text_that_assigns_nothing_is_refused(text):
    with pytest.raises(UsageError, match="is not an assignment") as error:
        load(assignments=(text,))
    assert error.value.expected == "stage.key=value"


@pytest.mark.parametrize("assignment", ["score.top_n=true", "seed=false"])
def test_a_truth_value_is_no_number(assignment):
    with pytest.raises(UsageError, match="wrong at"):
        load(assignments=(assignment,))


def test_a_lowest_rating_above_the_highest_is_refused():
    with pytest.raises(UsageError, match=r"rating_min|rating_max"):
        load(assignments=("input.rating_min=5", "input.rating_max=1"))


def test_a_long_value_is_shown_in_part():
    with pytest.raises(UsageError) as error:
        load(options={"top_n": "x" * 5_000})
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "content", [b"top-n = ", b"\xff\xfe", b"a = 1\na = 2", None], ids=["broken", "not UTF-8", "twice", "missing"]
)
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "recsys.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"recsys\.toml cannot be read"):
        load(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)


# sections


@pytest.mark.parametrize("section", [RunConfig, *SECTIONS.values()], ids=lambda section: section.__name__)
def test_every_section_is_frozen_and_refuses_unknown_keys(section):
    assert issubclass(section, Section)
    name = next(iter(section.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(section(), name, None)
    with pytest.raises(ValidationError, match="Extra inputs"):
        section.model_validate({"no_such_key": 1})


@pytest.mark.parametrize("section", [RunConfig, *SECTIONS.values()], ids=lambda section: section.__name__)
def test_every_default_is_valid_and_every_key_is_described(section):
    assert section.model_validate(section().model_dump()) == section()
    if section is not RunConfig:
        assert all(field.description for field in section.model_fields.values())


def test_the_gates_cutoff_is_among_the_defaults():
    assert 10 in EvaluateConfig().cutoffs


@given(st.integers(), st.integers())
@settings(max_examples=60, deadline=None)
def test_bounds_of_top_n(value, other):
    """The strongest source alone decides, whatever a weaker one holds."""
    if 1 <= value <= 1_000:
        assert load(options={"top_n": other}, assignments=(f"score.top_n={value}",)).score.top_n == value
    else:
        with pytest.raises(UsageError, match=r"score\.top_n"):
            load(options={"top_n": value})


@pytest.mark.parametrize("place", ["store", "ratings", "items", "mirror", "test_ratings"])
def test_an_address_with_a_key_goes_no_further(place: str) -> None:
    values = {place: "s3://ID:SECRET@bucket/a"} | ({"ratings": "r.csv"} if place == "items" else {})
    with pytest.raises(UsageError, match="credentials or settings in the address") as error:
        load(None, values)
    assert "SECRET" not in str(error.value)
