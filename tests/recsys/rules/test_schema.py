"""What a rules file may say, and how a slip is told."""

import tomllib

import pytest

from recsys.errors import UsageError
from recsys.rules.schema import Condition, rule_set


def read(text):
    return rule_set(tomllib.loads(text), "rules.toml")


def test_conditions_are_values_lists_and_comparisons():
    (rule,) = read("""
        [[rule]]
        kind = "deny"
        where = { year = { ">=" = 1990, "<" = 2000 }, country = ["DE", "AT"], adult = true, born = { min_age = "2 years" } }
    """).rule
    assert rule.where == (
        Condition(column="year", operator=">=", value=1990),
        Condition(column="year", operator="<", value=2000),
        Condition(column="country", operator="in", value=("DE", "AT")),
        Condition(column="adult", operator="==", value=True),
        Condition(column="born", operator="min_age", value="2 years"),
    )
    assert rule.where[-1].age == (2, "year")
    assert rule.selector is None


def test_a_rule_without_a_name_is_called_by_kind_and_number():
    rules = read("""
        users = { file = "u.csv" }
        [[rule]]
        kind = "deny"
        items = [1, "a"]
        [[rule]]
        kind = "mmr"
        name = "varied"
        lambda = 0.5
        for = { age = { "<" = 18 } }
        [[rule]]
        kind = "cap"
        column = "brand"
        at_most = 2
    """)
    assert rules.names == ["deny 1", "varied", "cap 3"]
    assert rules.item_columns == ["brand", "genres"]
    assert rules.user_columns == ["age"]
    assert rules.files == ["u.csv"]
    assert (rules.rule[1].relevance, rules.rule[1].pool) == (0.5, 100)


@pytest.mark.parametrize(("text", "closes"), [
    ('kind = "deny"\nitems = [1]', True), ('kind = "allow"\nitems = [1]', True),
    ('kind = "boost"\nitems = [1]\nadd = 1', False), ('kind = "boost"\nitems = [1]\nadd = -1', True),
    ('kind = "boost"\nitems = [1]\nfactor = 2', False), ('kind = "boost"\nitems = [1]\nfactor = 0.5', True),
    ('kind = "cap"\ncolumn = "a"\nat_most = 1', True), ('kind = "mmr"', True),
])  # fmt: skip
def test_what_takes_something_away_closes(text, closes):
    assert read(f"[[rule]]\n{text}").rule[0].closes is closes


@pytest.mark.parametrize(("text", "place", "expected"), [
    ('[[rule]]\nkind = "deny"\nitem = [1]', "rule 1: item", "items"),
    ('[[rule]]\nkind = "cap"\nname = "few"\ncolumn = "a"\nat_mots = 1', "rule 1 (few): at_mots", "at_most"),
    ('[[rule]]\nkind = "mmr"\nrelevance = 1.0', "rule 1: relevance", "one of name, for, kind, lambda, by, pool"),
    ('[[rules]]\nkind = "deny"', "at rules.", "rule"),
    ('[items]\nfiel = "a"', "items.fiel", "file"),
    ('[[rule]]\nkind = "dney"', "rule 1.", "deny, allow, cap, boost, mmr"),
    ('[[rule]]\nitems = [1]', "rule 1.", "deny, allow, cap, boost, mmr"),
    ('[[rule]]\nkind = "deny"', "rule 1.", "`items`, `file` or `where`"),
    ('[[rule]]\nkind = "boost"\nitems = [1]', "rule 1.", "`add` or `factor`"),
    ('[[rule]]\nkind = "boost"\nitems = [1]\nadd = 1\nfactor = 1', "rule 1.", "`add` or `factor`"),
    ('[[rule]]\nkind = "deny"\nwhere = { year = { "=>" = 1 } }', "rule 1: where.", "expected >"),
    ('[[rule]]\nkind = "deny"\nwhere = { year = {} }', "rule 1: where.", "a comparison"),
    ('[[rule]]\nkind = "deny"\nwhere = {}', "rule 1: where.", "table of columns"),
    ('[[rule]]\nkind = "deny"\nwhere = { year = nan }', "rule 1: where.", "a number"),
    ('[[rule]]\nkind = "deny"\nwhere = { at = 2026-01-01T00:00:00 }', "rule 1: where.", "a date"),
    ('[[rule]]\nkind = "deny"\nwhere = { year = { in = [] } }', "rule 1: where.", "a list"),
    ('[[rule]]\nkind = "deny"\nwhere = { genres = { contains = 3 } }', "rule 1: where.", "texts"),
    ('[[rule]]\nkind = "deny"\nwhere = { born = { min_age = 3 } }', "rule 1: where.", "'30 days' or '2 years'"),
    ('[[rule]]\nkind = "deny"\nwhere = { year = 9223372036854775808 }', "rule 1: where.", "a number"),
    ('[[rule]]\nkind = "cap"\ncolumn = "a"\nat_most = 0', "rule 1: at_most", "greater than or equal to 1"),
    ('[[rule]]\nkind = "mmr"\nlambda = 0', "rule 1: lambda", "greater than or equal to 0.01"),
    ('[[rule]]\nkind = "deny"\nitems = [true]', "rule 1: items", "a valid integer"),
    ('[[rule]]\nkind = "deny"\nitems = [1]\nfor = { age = 1 }', "the top", "user table"),
    ('[[rule]]\nkind = "mmr"\nname = "a"\n[[rule]]\nkind = "mmr"\nname = "a"', "the top", "two rules have the name 'a'"),
    ("rule = []", "at rule.", "at least 1"),
    ("", "at rule.", "Field required"),
])  # fmt: skip
def test_a_slip_is_told_by_its_place_and_what_was_expected(text, place, expected):
    with pytest.raises(UsageError) as error:
        read(text)
    assert place in f"{error.value.what}"
    assert expected in error.value.expected
