"""What a rules file may say: two tables, and rules of five kinds. Unknown keys are refused, near ones named."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from recsys.config import Positive, Section
from recsys.errors import UsageError

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "min_age", "max_age"]
OPERATORS: tuple[str, ...] = get_args(Operator)
_AGE = re.compile(r"(\d{1,5}) (day|year)s?")
_SCALARS = (bool, int, float, str, date)


class Condition(Section):
    """One comparison of a column.

    Attributes:
        value: a scalar; of `in`, `not in` and `contains` a tuple; of an age "30 days" or "2 years".
    """

    column: str
    operator: Operator
    value: Any

    @property
    def age(self) -> tuple[int, str]:
        """The number and the unit, `day` or `year`, of an age."""
        found = _AGE.fullmatch(self.value)
        assert found is not None  # `_condition` let it through
        return int(found[1]), found[2]


def _conditions(given: Any) -> Any:
    """{column: value, list or {operator: value}} as a tuple of conditions, all of which must hold."""
    if not isinstance(given, Mapping) or not given:
        raise ValueError("a table of columns is expected, such as { year = { '>=' = 1990 }, country = ['DE', 'AT'] }")
    found = []
    for column, wanted in given.items():
        short = "in" if isinstance(wanted, list) else "=="
        each = wanted if isinstance(wanted, Mapping) else {short: wanted}
        if not each:
            raise ValueError(f"{column}: a comparison is expected, one of {', '.join(OPERATORS)}")
        found += [_condition(column, operator, value) for operator, value in each.items()]
    return tuple(found)


def _condition(column: str, operator: str, value: Any) -> Condition:
    if operator not in OPERATORS:
        near = get_close_matches(operator, OPERATORS, 1) or OPERATORS
        raise ValueError(f"{column}: there is no comparison {operator!r}; expected {', '.join(near)}")
    if operator in ("in", "not in", "contains"):
        value = tuple(value) if isinstance(value, list) else (value,)
        texts = operator == "contains"
        if not value or not all(_is_scalar(one) and (not texts or isinstance(one, str)) for one in value):
            raise ValueError(f"{column}: {operator!r} is followed by {'texts' if texts else 'a list of values'}")
    elif operator in ("min_age", "max_age"):
        if not isinstance(value, str) or not _AGE.fullmatch(value):
            raise ValueError(f"{column}: {operator} is written as '30 days' or '2 years', not {value!r}")
    elif not _is_scalar(value):
        raise ValueError(f"{column}: {operator!r} is followed by a number, a text, a date, true or false")
    return Condition(column=column, operator=operator, value=value)  # type: ignore[arg-type]


def _is_scalar(value: Any) -> bool:
    number = isinstance(value, int | float)
    return type(value) in _SCALARS and not (number and not (math.isfinite(value) and abs(value) < 2**63))


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(_conditions)]
ItemId = StrictInt | StrictStr


class Table(Section):
    """A table beside the ratings: Parquet, CSV or TSV with a header."""

    file: str = Field(min_length=1, description="its path; a relative one begins at the rules file's folder")
    id: str = Field("", description="name of the column with the ids; unset: item_id or user_id")


class Rule(Section):
    """What all kinds have."""

    name: str = Field("", max_length=100, description="as the manifest calls it; unset: its kind and number")
    selector: Conditions | None = Field(None, alias="for", description="columns of the user table; unset: everybody")

    @property
    def closes(self) -> bool:
        """Whether it takes something away: then it also holds for whom, and for what, a column is not known."""
        return True


class ItemRule(Rule):
    """A rule about some items: those of a list, those whose columns fit, or those of the list whose columns fit."""

    items: tuple[ItemId, ...] | None = Field(None, description="item ids")
    file: str | None = Field(None, min_length=1, description="Parquet or CSV with a column of item ids")
    id: str = Field("item_id", min_length=1, description="the column of `file`")
    where: Conditions | None = Field(None, description="columns of the items")

    @model_validator(mode="after")
    def _says_which(self) -> ItemRule:
        if self.items is None and self.file is None and self.where is None:
            raise ValueError("it names no items; expected `items`, `file` or `where`")
        return self

    @property
    def has_list(self) -> bool:
        """Whether ids are named."""
        return self.items is not None or self.file is not None


class Deny(ItemRule):
    """Its items are never listed."""

    kind: Literal["deny"]


class Allow(ItemRule):
    """Only its items are listed."""

    kind: Literal["allow"]


class Boost(ItemRule):
    """Its items stand higher, or lower."""

    kind: Literal["boost"]
    add: float | None = Field(None, ge=-1e9, le=1e9, description="added to the ranker's score, in its units")
    factor: float | None = Field(
        None, ge=1e-6, le=1e6, description="a positive score is multiplied by it, a negative one divided"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Boost:
        if (self.add is None) == (self.factor is None):
            raise ValueError("expected either `add` or `factor`")
        return self

    @property
    def closes(self) -> bool:
        """Whether it lowers its items."""
        return self.factor < 1 if self.factor is not None else (self.add or 0.0) < 0


class Cap(Rule):
    """At most so many items of each value of a column in a list."""

    kind: Literal["cap"]
    column: str = Field(min_length=1, description="a text with | between several values, or a list, counts for each")
    at_most: Positive = Field(description="items of one value in one list")
    where: Conditions | None = Field(None, description="only items that fit are counted")


class Mmr(Rule):
    """Maximal marginal relevance: what is like the items above it stands lower."""

    kind: Literal["mmr"]
    # `lambda` is the literature's word and Python's too.
    relevance: float = Field(
        0.7, ge=0.01, le=1.0, alias="lambda", description="what the score weighs beside being unlike; 1: all"
    )
    by: str = Field("genres", min_length=1, description="the column by which items are alike; lists of numbers: cosine")
    pool: Annotated[int, Field(ge=1, le=10_000)] = Field(100, description="best items that a list is chosen from")


MODELS: Mapping[str, type[Rule]] = {"deny": Deny, "allow": Allow, "cap": Cap, "boost": Boost, "mmr": Mmr}
AnyRule = Annotated[Deny | Allow | Cap | Boost | Mmr, Field(discriminator="kind")]


class RuleSet(Section):
    """A whole rules file."""

    items: Table | None = Field(None, description="more columns of the items")
    users: Table | None = Field(None, description="columns of the users, for `for`")
    rule: tuple[AnyRule, ...] = Field(min_length=1, description="the rules, [[rule]] each")

    @model_validator(mode="after")
    def _complete(self) -> RuleSet:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}")
        if self.users is None and self.user_columns:
            raise ValueError("a rule with `for` needs a user table: [users] with `file`")
        return self

    @property
    def names(self) -> list[str]:
        """Of each rule."""
        return [rule.name or f"{rule.kind} {number}" for number, rule in enumerate(self.rule, start=1)]

    @property
    def item_columns(self) -> list[str]:
        """Columns of items that rules look at, each once."""
        named = [condition.column for rule in self.rule for condition in getattr(rule, "where", None) or ()]
        named += [rule.column for rule in self.rule if isinstance(rule, Cap)]
        return list(dict.fromkeys(named + [rule.by for rule in self.rule if isinstance(rule, Mmr)]))

    @property
    def user_columns(self) -> list[str]:
        """Columns of users that rules look at, each once."""
        return list(dict.fromkeys(condition.column for rule in self.rule for condition in rule.selector or ()))

    @property
    def files(self) -> list[str]:
        """All tables that it names, as it names them."""
        tables = [table.file for table in (self.items, self.users) if table is not None]
        return tables + [rule.file for rule in self.rule if isinstance(rule, ItemRule) and rule.file is not None]


def rule_set(values: Mapping[str, Any], file: object) -> RuleSet:
    """The rules from plain values.

    Raises:
        UsageError: names the place in `file`, and what was expected there.
    """
    try:
        return RuleSet.model_validate(values)
    except ValidationError as error:
        raise _explained(error, values, file) from error


def _explained(error: ValidationError, values: Mapping[str, Any], file: object) -> UsageError:
    errors = error.errors(include_url=False)
    # A key that is missing is often one that is misspelt.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, message = first["type"], first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    place, keys = _place(first["loc"], values)
    expected = message
    if kind == "extra_forbidden":
        key = str(first["loc"][-1])
        near = get_close_matches(key, keys, 1)
        expected = near[0] if near else f"one of {', '.join(keys)}"
    elif kind.startswith("union_tag"):
        expected = f"kind = one of {', '.join(MODELS)}"
    return UsageError(
        f"The rules file {file} is wrong at {place}.",
        expected=expected,
        found="no such key here" if kind == "extra_forbidden" else repr(first.get("input"))[:200],
        todo="docs/rules.md has every key with an example; nothing was trained or published",
    )


def _place(loc: tuple[int | str, ...], values: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The place in words, and the keys that may stand there."""
    if len(loc) > 1 and loc[0] == "rule" and isinstance(loc[1], int):
        given = values["rule"][loc[1]]
        name = given.get("name") if isinstance(given, Mapping) else None
        words = f"rule {loc[1] + 1}" + (f" ({name})" if name else "")
        model = MODELS.get(str(loc[2]) if len(loc) > 2 else "")
        return ": ".join([words, *(str(part) for part in loc[3:])]), _keys(model) if model else []
    table = len(loc) > 1 and loc[0] in ("items", "users")
    return ".".join(map(str, loc)) or "the top", _keys(Table if table else RuleSet)


def _keys(model: type[Section]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
