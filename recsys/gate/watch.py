"""Is it plausible? Tonight's input and lists against last night's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recsys.config import GateConfig
from recsys.gate.verdict import PROMOTED, SUSPICIOUS, Finding


def plausibility(drift: Mapping[str, Any], config: GateConfig) -> Iterator[Finding]:
    """Findings on a night's figures (`recsys.drift.figures`): those out of bounds, or one that says all are in."""
    found = [finding for finding in _findings(drift, config) if finding is not None]
    yield from found
    if not found:
        words = "within their bounds" if drift["before"] else "within their bounds; there is no night before"
        yield Finding("drift", PROMOTED, f"input and lists are {words}")


def _findings(drift: Mapping[str, Any], config: GateConfig) -> Iterator[Finding | None]:
    now, before, change = drift["now"], drift["before"], drift["change"]
    yield _above(now, "fallback_share", config.max_fallback_share, "of the rows are filled up by popularity")
    if not before:
        return
    since = f"since run {drift['run_id']}"
    yield _ratio(now, before, "ratings", config.max_growth, f"ratings {since}")
    yield _shrunk(now, before, "coverage", config.min_coverage_ratio, f"items in the lists {since}")
    yield _above(
        change, "vanished_users", config.max_vanished_users, f"of the users vanished {since}", of=before["users"]
    )
    yield _above(
        change, "vanished_items", config.max_vanished_items, f"of the items vanished {since}", of=before["items"]
    )
    yield _above(
        change, "rating_psi", config.max_rating_psi, f"population stability index of the ratings {since}", share=False
    )
    yield from _churn(change, config, since)


def _churn(change: Mapping[str, Any], config: GateConfig, since: str) -> Iterator[Finding | None]:
    overlap = change["list_overlap"]
    if overlap is None:
        return
    if overlap < config.min_list_overlap:
        words = f"only {overlap:.1%} of a user's list stayed {since}; at least {config.min_list_overlap:.0%} is usual"
        yield Finding("min_list_overlap", SUSPICIOUS, words)
    if overlap > config.max_list_overlap and change["changed_ratings"] >= config.stale_change:
        words = (
            f"{overlap:.2%} of the lists stayed {since}, though {change['changed_ratings']:.1%} of the ratings are new"
        )
        yield Finding("max_list_overlap", SUSPICIOUS, f"{words}: have the models learned from them?")


def _above(
    figures: Mapping[str, Any], name: str, bound: float, words: str, *, of: int | None = None, share: bool = True
) -> Finding | None:
    value = figures[name]
    if value is None:
        return None
    value = value / of if of else value
    if value <= bound:
        return None
    shown = f"{value:.1%}, more than {bound:.0%}" if share else f"{value:.2f}, more than {bound:g}"
    return Finding(f"max_{name}", SUSPICIOUS, f"{shown}, {words}")


def _ratio(now: Mapping[str, Any], before: Mapping[str, Any], name: str, most: float, words: str) -> Finding | None:
    if now[name] <= most * before[name]:
        return None
    return Finding(
        "max_growth", SUSPICIOUS, f"{before[name]:,} grew to {now[name]:,} {words}, more than {most:g} times"
    )


def _shrunk(now: Mapping[str, Any], before: Mapping[str, Any], name: str, least: float, words: str) -> Finding | None:
    if before[name] is None or now[name] >= least * before[name]:
        return None
    reason = f"{before[name]:,} shrank to {now[name]:,} {words}, to less than {least:.0%}"
    return Finding("min_coverage_ratio", SUSPICIOUS, reason)
