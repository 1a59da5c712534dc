"""What operators are told of a night that ended well but not as nights should, in words and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recsys.gate.verdict import SUSPICIOUS

Kind = Literal["stale", "suspicious"]

_SUBJECTS: Mapping[Kind, str] = {
    "stale": "Night of {run_date}: made from old ratings",
    "suspicious": "Night of {run_date}: suspicious",
}
_TEXTS: Mapping[Kind, str] = {
    "stale": "The source of {dataset} could not be used, so the last good copy was taken.\n\nWhy: {stale_reason}",
    "suspicious": "The figures of this night are not what they should be.\n\nWhy: {reasons}",
}
_ALWAYS = "Run: {run_id}, {verdict}, {ratings:,} ratings of {users:,} users on {items:,} items\nWhat to do: {todo}"
_TODO: Mapping[Kind, str] = {
    "stale": "see that the source answers again; the tables are as new as that copy",
    "suspicious": "compare with the nights before; `recsys runs rollback` shows an earlier night",
}


@dataclass(frozen=True)
class Message:
    """One thing to tell.

    Attributes:
        subject: one line.
        text: some lines, plain.
        figures: of the run, for programs.
    """

    kind: Kind
    subject: str
    text: str
    figures: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        own = asdict(self)
        return {**own.pop("figures"), **own}


def messages(manifest: Mapping[str, Any]) -> list[Message]:
    """What the manifest of a run gives occasion to tell; most nights nothing.

    Places and addresses stay out: they may be nobody else's business.
    """
    kinds: list[Kind] = ["stale"] if manifest["input"]["stale_input"] else []
    if manifest["gate"]["verdict"] == SUSPICIOUS:
        kinds.append("suspicious")
    return [_message(kind, manifest) for kind in kinds]


def _message(kind: Kind, manifest: Mapping[str, Any]) -> Message:
    source, gate = manifest["input"], manifest["gate"]
    figures = {
        **{name: manifest[name] for name in ("run_id", "run_date")},
        **{name: source[name] for name in ("dataset", "ratings", "users", "items")},
        "stale_reason": source["stale_reason"],
        "verdict": gate["verdict"],
        "reasons": "; ".join(gate["reasons"]),
    }
    text = f"{_TEXTS[kind]}\n{_ALWAYS}\n".format(**figures, todo=_TODO[kind])
    return Message(kind, _SUBJECTS[kind].format(**figures), text, figures)
