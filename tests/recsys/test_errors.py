"""Errors: four parts, a bounded length, an exit code each."""

from __future__ import annotations

import pytest

from recsys import errors
from recsys.errors import MAX_MESSAGE, RecsysError, sample


def test_the_parts_stand_one_a_line():
    text = str(RecsysError("It broke.", expected="whole", found="broken", todo="mend it"))
    assert text == "It broke.\n  expected: whole\n  found:    broken\n  to do:    mend it"
    assert str(RecsysError("It broke.", todo="mend it")) == "It broke.\n  to do:    mend it"


def test_the_exit_codes_of_the_contract():
    codes = {
        kind.__name__: kind.exit_code for kind in RecsysError.__subclasses__() if kind.__module__ == "recsys.errors"
    }
    assert codes == {"UsageError": 2, "InputRefused": 3, "GateRefused": 4, "SourceUnavailable": 5, "StoreBusy": 6}
    assert errors.RecsysError.exit_code == 1


def test_a_message_is_bounded():
    assert len(str(RecsysError("It broke.", found="x" * 100_000))) <= MAX_MESSAGE + len(" ...")


def test_a_long_find_does_not_hide_what_to_do():
    assert "mend it" in str(RecsysError("It broke.", found="x" * 100_000, todo="mend it"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""), (["a", 2], "'a', 2"), (range(5), "0, 1, 2, 3, 4"),
        (range(1_204), "0, 1, 2, 3, 4, ... (1,204 in all)"), (["y" * 100], "'" + "y" * 59),
    ],
)  # fmt: skip
def test_a_sample_is_bounded(values, text):
    assert sample(values) == text
