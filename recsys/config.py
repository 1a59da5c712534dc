"""The configuration of a run: one frozen section a stage, unknown keys refused, every default with its reason.

`load` merges, weakest first: defaults, a TOML file, command-line options, `--set stage.key=value`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from recsys.errors import UsageError
from recsys.objects.address import Address, is_remote


def _no_truth_value(value: Any) -> Any:
    """`top-n = true` is a slip, not a list of one."""
    if isinstance(value, bool):
        raise ValueError("a whole number is expected, not true or false")
    return value


Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=0), BeforeValidator(_no_truth_value)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_no_truth_value)]
Split = Literal["random", "per-user", "leave-last", "time"]
Action = Literal["publish", "refuse"]


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Tunable:
    """Marks a number among a model's settings that `recsys tune` may choose, and within which bounds.

        reg: Annotated[float, Tunable(10, 10_000, log=True)] = Field(500.0, gt=0, description="...")

    Attributes:
        low, high: both inclusive; the default lies between them.
        log: searched by factors instead of steps: for what matters by its order of magnitude.
    """

    low: float
    high: float
    log: bool = False


class InputConfig(Section):
    """Which ratings, and what makes a row valid."""

    dataset: str | None = Field("demo", description="a known dataset; see `recsys datasets`; null: own ratings")
    ratings: str | None = Field(None, min_length=1, description="own ratings instead: a file, folder, glob or URI")
    items: str | None = Field(None, min_length=1, description="own items beside own ratings: item id, title, genres")
    columns: dict[str, str] = Field(
        default_factory=dict, description="names of the columns, e.g. {user: userId, item: movieId}"
    )
    id_type: Literal["auto", "integer", "string"] = Field(
        "auto", description="auto: integers where all but `max_bad_fraction` of the ids are"
    )
    until: date | None = Field(
        None, description="leave out ratings given after this day (UTC), as though it were that night; needs timestamps"
    )
    rating_min: float | None = Field(None, description="lowest valid rating; unset: the dataset's own")
    rating_max: float | None = Field(None, description="highest valid rating; unset: the dataset's own")
    rating_step: float | None = Field(
        None, gt=0, description="ratings are rating_min + k steps; unset: the dataset's own"
    )
    max_bad_fraction: Fraction = Field(0.01, description="more refused rows than this refuse the whole input")
    min_volume_ratio: Fraction = Field(
        0.5, description="refuse fewer ratings than this share of the published run's; 0 switches it off"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, values: Any) -> Any:
        """Own ratings are no dataset: neither the one that is named beside them nor the default."""
        if not isinstance(values, Mapping) or values.get("ratings") is None:
            return values
        if values.get("dataset") is not None:
            raise ValueError(
                f"the dataset {values['dataset']!r} and own ratings {values['ratings']!r} are both given; name one"
            )
        return {**values, "dataset": None}

    @model_validator(mode="after")
    def _ordered_scale(self) -> InputConfig:
        if self.rating_min is not None and self.rating_max is not None and self.rating_min > self.rating_max:
            raise ValueError(f"rating_min {self.rating_min:g} is above rating_max {self.rating_max:g}")
        return self

    @model_validator(mode="after")
    def _known_columns(self) -> InputConfig:
        unknown = set(self.columns) - {"user", "item", "rating", "timestamp", "title", "genres"}
        if unknown:
            raise ValueError(f"columns: {sorted(unknown)} are not among user, item, rating, timestamp, title, genres")
        return self


class DemoConfig(Section):
    """The size of the generated dataset `demo`. It is made from its own seed, so that --seed leaves the data alone."""

    users: Positive = Field(2_000, description="users; the default size makes a night of seconds")
    items: Positive = Field(1_000, description="items")
    ratings: Positive = Field(100_000, description="ratings; MovieLens 1M has 165 a user, this has 50")
    seed: Count = Field(7, description="seed of the generator")


class DownloadConfig(Section):
    """How public archives are fetched."""

    mirror: str | None = Field(None, description="folder or base URL that holds <dataset>.zip, asked first")
    attempts: Positive = Field(4, description="tries a source; 4 tries with back-off outlast a restart of a host")
    backoff_s: float = Field(1.0, ge=0, description="first pause between tries in seconds; doubles, with jitter")
    connect_timeout_s: float = Field(10.0, gt=0, description="seconds to connect")
    read_timeout_s: float = Field(30.0, gt=0, description="seconds without a byte before a try is given up")
    max_unpacked_mib: Positive = Field(
        8_192, description="an archive that unpacks to more is refused; ml-32m needs 900"
    )


class PrepareConfig(Section):
    """Which ratings the models see, and which are held out."""

    top_items: Count | None = Field(
        None,
        description="keep the N most rated items; 0 all; unset: what the ranker can hold in memory, at most 10,000",
    )
    min_user_ratings: Positive = Field(1, description="users with fewer ratings are not trained on, but are served")
    split: Split = Field("per-user", description="how the hold-out is drawn")
    test_fraction: Share = Field(0.2, description="share of the ratings held out, of each user's or of all")
    test_ratings: str | None = Field(None, min_length=1, description="a given hold-out (file or URI), never trained on")


class TrainConfig(Section):
    """Which models, and on what the published ones are fitted."""

    ranker: str = Field("weighted_edlae", description="the model that orders the lists; the best of them, in seconds")
    rater: str = Field("biased_mf", description="the model that predicts ratings")
    refit: bool = Field(True, description="fit again on all ratings, the hold-out included, before scoring")
    incremental: bool = Field(
        False,
        description="keep edlae's counts of common users for the next night, which adds what is new: the same tables "
        "sooner, for two files of 2 bytes x items^2 in the store",
    )


class EvaluateConfig(Section):
    """What is measured."""

    cutoffs: tuple[Positive, ...] = Field(
        (5, 10, 20), description="the k of the ranking metrics; 10 is always among them"
    )
    bootstrap_samples: Positive = Field(1_000, description="resamples of the users behind an interval")
    confidence: Share = Field(0.95, description="share of the resamples inside an interval")

    @model_validator(mode="after")
    def _gate_cutoff(self) -> EvaluateConfig:
        if 10 not in self.cutoffs:
            raise ValueError("cutoffs must name 10: the gate compares ndcg@10")
        return self


class GateConfig(Section):
    """What a run must reach to be published."""

    ranker_beats_popular: bool = Field(True, description="refuse a ranker whose ndcg@10 is not above popularity's")
    rater_beats_means: bool = Field(True, description="refuse a rater whose rmse is not below the means-only rater's")
    min_ndcg: float | None = Field(None, description="refuse an ndcg@10 below this")
    max_rmse: float | None = Field(None, description="refuse an rmse above this")
    champion: bool = Field(True, description="compare with the published run's models on tonight's hold-out")
    ndcg_margin: Fraction = Field(
        0.02, description="refuse an ndcg@10 certainly worse than the published run's by this share of it"
    )
    rmse_margin: Fraction = Field(0.01, description="likewise an rmse")
    min_users: Positive = Field(50, description="fewer users in common are no comparison")
    too_good_ndcg: float = Field(
        0.1, ge=0, description="suspect an ndcg@10 certainly better than the published run's by this share overnight"
    )
    too_good_rmse: float = Field(0.05, ge=0, description="likewise an rmse")
    min_list_overlap: Fraction = Field(0.05, description="suspect lists of which less than this share stayed")
    max_list_overlap: Fraction = Field(
        0.999,
        description="suspect lists of which more than this share stayed though `stale_change` of the input is new",
    )
    stale_change: Fraction = Field(0.01, description="share of new ratings that must move some list")
    max_fallback_share: Fraction = Field(0.5, description="suspect more rows than this filled up by popularity")
    min_coverage_ratio: Fraction = Field(0.5, description="suspect fewer items in the lists than this share of before")
    max_growth: float = Field(5.0, ge=1, description="suspect more ratings than this many times those of before")
    max_vanished_users: Fraction = Field(0.5, description="suspect an input without this share of the users of before")
    max_vanished_items: Fraction = Field(0.5, description="likewise of the items")
    max_rating_psi: float = Field(
        0.25, ge=0, description="suspect a population stability index of the ratings above this; 0.25 is a usual alarm"
    )
    on_rejected: Action = Field("refuse", description="what becomes of a REJECTED run: refuse or publish")
    on_suspicious: Action = Field("refuse", description="of a SUSPICIOUS one")
    on_ungated: Action = Field("publish", description="of one that cannot be compared with a published run")


class ScoreConfig(Section):
    """The lists."""

    top_n: Positive = Field(10, le=1_000, description="length of each list")


class RulesConfig(Section):
    """Policy over the lists; the models and their metrics know nothing of it."""

    file: str | None = Field(
        None, min_length=1, description="TOML or Parquet, in an object store too, see docs/rules.md; unset: no rules"
    )


class MonitorConfig(Section):
    """What a run leaves for other systems to watch. No part of its identity."""

    textfile: str | None = Field(
        None, min_length=1, pattern=r"\.prom$",
        description="file NAME.prom for the last run's figures, in the folder of node_exporter's textfile collector",
    )  # fmt: skip


class ComputeConfig(Section):
    """How much of the machine a run may take. No part of a run's identity."""

    memory_mib: Positive = Field(4_096, description="budget in MiB for the arrays of a stage")
    threads: Count = Field(0, description="threads of compiled loops, BLAS and TensorFlow; 0: one a core")
    workers: Count = Field(
        0, description="processes of --engine dask on this machine; 0: one a four cores, at least two"
    )
    workspace: str | None = Field(
        None, description="folder for working copies of stores in object stores; unset: recsys in the user's cache"
    )
    lease_s: float = Field(
        300.0, gt=0, description="seconds that another machine waits for a silent run before it takes the store over"
    )


class RunConfig(Section):
    """All that decides what a run makes, and where."""

    store: str = Field("./store", description="folder or URI (s3://, gs://, az://) of all runs and the pointer")
    run_date: date | None = Field(None, description="the night's date; unset: today in UTC, or the scheduled day")
    seed: Count = Field(42, description="seed of splits, initial weights, shuffles and bootstrap")
    engine: Literal["local", "dask"] = Field("local", description="where the pieces of the stages run")
    scheduler: str | None = Field(
        None, min_length=1, description="address of a Dask scheduler; unset: engine dask starts workers on this machine"
    )
    input: InputConfig = InputConfig()
    demo: DemoConfig = DemoConfig()
    download: DownloadConfig = DownloadConfig()
    prepare: PrepareConfig = PrepareConfig()
    train: TrainConfig = TrainConfig()
    models: dict[str, dict[str, Any]] = Field(default_factory=dict, description="settings of a model, by its name")
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    score: ScoreConfig = ScoreConfig()
    rules: RulesConfig = RulesConfig()
    monitor: MonitorConfig = MonitorConfig()
    compute: ComputeConfig = ComputeConfig()

    @model_validator(mode="after")
    def _addresses(self) -> RunConfig:
        """An address with a key in it goes no further: parameters of a flow are kept by Prefect's server."""
        inputs = self.input.ratings, self.input.items, self.prepare.test_ratings, self.rules.file
        given = (self.store, self.download.mirror, *inputs)
        for address in given:
            if address is not None and is_remote(address):
                Address.parse(address)
        return self

    @model_validator(mode="after")
    def _scheduler_of_dask(self) -> RunConfig:
        if self.scheduler is not None and self.engine != "dask":
            raise ValueError(f"a scheduler, {self.scheduler!r}, goes with --engine dask, the engine is {self.engine}")
        return self


# The flat names of the command line and of a configuration file, and the section each belongs to.
OPTION_SECTION: Mapping[str, str] = {
    "dataset": "input", "ratings": "input", "items": "input", "columns": "input",
    "mirror": "download",
    "top_items": "prepare", "min_user_ratings": "prepare", "split": "prepare",
    "test_fraction": "prepare", "test_ratings": "prepare",
    "ranker": "train", "rater": "train",
    "top_n": "score",
    "rules": "rules",
}  # fmt: skip
OPTION_KEY = {"rules": "file"}  # where a section's key is not the option's name


def load(
    file: Path | None = None, options: Mapping[str, Any] | None = None, assignments: tuple[str, ...] = ()
) -> RunConfig:
    """The configuration from its sources; each of these wins over the ones before it: file, options, assignments.

    Args:
        file: TOML; flat option names at the top (`dataset`, `top-n`), stages as tables (`[gate]`, `[models.edlae]`).
        options: flat names as in `OPTION_SECTION` or fields of `RunConfig`; None values are left out.
        assignments: `stage.key=value`, the value as TOML or else as text.

    Raises:
        UsageError: an unknown key, a value of the wrong type or out of bounds, or unreadable TOML.
    """
    values: dict[str, Any] = {}
    for source in (_read_toml(file) if file else {}, options or {}, *map(parse_assignment, assignments)):
        _merge(values, _sectioned(source))
    return validated(RunConfig, values)


def validated(section: type[AnySection], values: Mapping[str, Any], prefix: str = "") -> AnySection:
    """A section from plain values.

    Raises:
        UsageError: as `load`; names the key, after `prefix`.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise _explained(error, section, prefix) from error


def _explained(error: ValidationError, section: type[Section], prefix: str) -> UsageError:
    first = error.errors(include_url=False)[0]
    place = prefix + ".".join(str(part) for part in first["loc"])
    todo = "`recsys run --help` lists the options; recsys/config.py has every key with its reason"
    if first["type"] == "extra_forbidden":
        near = _near(place, [prefix + key for key in _keys(section)])
        return UsageError(
            f"The configuration is wrong at {place}: there is no such key.", expected=near, found=place, todo=todo
        )
    why, expected = _words(first["type"], first["msg"])
    return UsageError(
        f"The configuration is wrong at {place or 'the top'}{why}.",
        expected=expected,
        found=repr(first.get("input"))[:200],
        todo=todo,
    )


def _keys(section: type[Section]) -> list[str]:
    """Every key below a section, with dots."""
    keys = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        inner = _keys(kind) if isinstance(kind, type) and issubclass(kind, Section) else []
        keys += [f"{name}.{key}" for key in inner] or [name]
    return keys


def _near(place: str, keys: list[str]) -> str:
    """The keys that may have been meant: nearly the same, or of the same last part; else the section's own."""
    section, _, last = place.rpartition(".")
    ends = {key.rpartition(".")[2]: key for key in keys}
    near = get_close_matches(place, keys, 3, 0.75) + [ends[end] for end in get_close_matches(last, ends, 2, 0.75)]
    heads = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    near = near or get_close_matches(place, heads, 1, 0.75) or [key for key in keys if key.startswith(f"{section}.")]
    near = list(dict.fromkeys(near or heads))
    return near[0] if len(near) == 1 else f"one of {', '.join(near)}"


def _words(kind: str, message: str) -> tuple[str, str]:
    """Pydantic's message as the end of a sentence, or as what was expected; the checks here write whole sentences."""
    if kind == "value_error":
        return message.replace("Value error, ", ": "), ""
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "", "a table of keys: stage.key=value, or [stage] and its keys in a file"
    return "", message.removeprefix("Input should be ")


def _sectioned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Move flat option names into their sections; accept `top-n` for `top_n`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if value is None:
            continue
        section = OPTION_SECTION.get(name)
        if _is_section(name, value):
            _merge(result, {name: _spelled(name, value)})
        else:
            _merge(result, {section: {OPTION_KEY.get(name, name): value}} if section else {name: value})
    return result


def _spelled(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """`top-n` for `top_n` within a section too; the keys of `models` are names, checked by the models."""
    return dict(section) if name == "models" else {key.replace("-", "_"): value for key, value in section.items()}


def _is_section(name: str, value: Any) -> bool:
    return isinstance(value, Mapping) and name in RunConfig.model_fields


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def parse_assignment(text: str, option: str = "--set") -> dict[str, Any]:
    """`a.b=1` as {"a": {"b": 1}}; the value is TOML, or else text.

    Raises:
        UsageError: it is no assignment; names the option it was given with.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{option} {text!r} is not an assignment.", expected="stage.key=value", found=text)
    nested: Any = _parse_value(value.strip())
    for part in reversed(key.strip().split(".")):
        nested = {part.replace("-", "_"): nested}
    return nested  # type: ignore[no-any-return]


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"The configuration file {file} cannot be read.",
            expected="a TOML file",
            found=str(error),
            todo="mend the file or the path given with --config",
        ) from error
