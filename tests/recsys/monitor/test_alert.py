"""What a night gives occasion to tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recsys.monitor.alert import messages


def manifest(*, stale: str = "", verdict: str = "PROMOTED", origin: str = "https://me:s3cret@host/x") -> dict[str, Any]:
    return {
        "run_id": "0123456789abcdef",
        "run_date": "2026-11-21",
        "input": {
            "dataset": "ml-1m", "origin": origin, "ratings": 1_000_209, "users": 6_040, "items": 3_706,
            "stale_input": bool(stale), "stale_reason": stale,
        },
        "gate": {"verdict": verdict, "reasons": ["ndcg@10 doubled overnight", "rmse is as it was"]},
    }  # fmt: skip


@pytest.mark.parametrize("verdict", ["PROMOTED", "UNGATED", "REJECTED"])
def test_most_nights_nothing(verdict: str) -> None:
    assert messages(manifest(verdict=verdict)) == []


def test_a_night_from_old_ratings() -> None:
    (told,) = messages(manifest(stale="The host did not answer."))
    assert told.subject == "Night of 2026-11-21: made from old ratings"
    assert told.text == (
        "The source of ml-1m could not be used, so the last good copy was taken.\n\n"
        "Why: The host did not answer.\n"
        "Run: 0123456789abcdef, PROMOTED, 1,000,209 ratings of 6,040 users on 3,706 items\n"
        "What to do: see that the source answers again; the tables are as new as that copy\n"
    )


def test_a_suspicious_one_from_old_ratings_too() -> None:
    told = messages(manifest(stale="It is gone.", verdict="SUSPICIOUS"))
    assert [message.kind for message in told] == ["stale", "suspicious"]
    assert "ndcg@10 doubled overnight; rmse is as it was" in told[1].text


def test_as_json_it_is_one_flat_object_without_places() -> None:
    (told,) = messages(manifest(verdict="SUSPICIOUS"))
    read = json.loads(json.dumps(told.to_json()))
    assert (read["kind"], read["run_id"], read["ratings"]) == ("suspicious", "0123456789abcdef", 1_000_209)
    assert "s3cret" not in json.dumps(read)


def test_braces_in_a_reason_are_text() -> None:
    (told,) = messages(manifest(stale="{run_id} {0} {"))
    assert "Why: {run_id} {0} {" in told.text
