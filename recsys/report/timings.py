"""What the stages took."""

from __future__ import annotations

from collections.abc import Mapping

from recsys.report.blocks import Chart, Group, Section, Words
from recsys.report.charts import Axes, Series, flat_bars
from recsys.report.nights import nights_of
from recsys.report.source import Source
from recsys.report.text import whole

ORDER = (
    "download", "prepare", "train_ranker", "train_rater", "evaluate", "refit_ranker", "refit_rater",
    "write_popular_items", "write_quarantine", "write_similar_items", "write_item_embeddings", "write_user_embeddings",
    "write_recommendations", "score", "judge",
)  # fmt: skip


def in_order(timings: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """What the stages took, in the order of a night; those that it does not know come last."""
    place = {stage: number for number, stage in enumerate(ORDER)}
    return sorted(timings.items(), key=lambda pair: (place.get(pair[0], len(place)), pair[0]))


def section(source: Source) -> Section:
    """Seconds and memory by stage; the stages after this page was made are in the manifest."""
    found = dict(in_order(source.timings))
    stages = list(found)
    if not stages:
        return Section("timings", "Time and memory", [Words("No stage left a record of what it took.")])
    seconds = [float(found[stage]["seconds"]) for stage in stages]
    peaks = [int(found[stage]["peak_memory_mib"]) for stage in stages]
    budget = whole(source.run.config.compute.memory_mib)
    total = (
        f"{sum(seconds):,.1f} s in all so far, {whole(max(peaks))} MiB at most; the budget for a stage's arrays is "
        f"{budget} MiB.{_last_night(source)}"
    )
    charts = [_seconds(stages, seconds), _memory(stages, peaks)]
    return Section("timings", "Time and memory", [Words(total), Group("By stage", charts)])


def _last_night(source: Source) -> str:
    last = nights_of(source).last
    if not last:
        return ""
    peak = whole(last["peak_memory_mib"])
    return f" The night of {last['run_date']} took {last['seconds']:,.1f} s with its page, and {peak} MiB at most."


def _seconds(stages: list[str], seconds: list[float]) -> Chart:
    longest = stages[seconds.index(max(seconds))]
    label = f"Seconds by stage; the longest is {longest} with {max(seconds):,.1f}."
    return flat_bars("timings-seconds", "Seconds", label, stages, Series("seconds", seconds), Axes("Seconds", "Stage"))


def _memory(stages: list[str], peaks: list[int]) -> Chart:
    label = f"Peak memory of the process by the end of each stage; at most {whole(max(peaks))} MiB."
    series = Series("MiB", [float(peak) for peak in peaks], colour="--purple")
    return flat_bars("timings-memory", "Peak memory so far", label, stages, series, Axes("MiB", "Stage"))
