"""The entry: whatever the configuration names becomes a snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recsys.config import DemoConfig, DownloadConfig, InputConfig
from recsys.download.archives import take_archive
from recsys.download.catalogue import DEMO, find_dataset
from recsys.download.generated import take_demo
from recsys.download.own import take_own
from recsys.errors import UsageError, disk_told
from recsys.ratings import Scale, Snapshot


def take_snapshot(input: InputConfig, download: DownloadConfig, demo: DemoConfig, raw: Path) -> Snapshot:
    """Files that lie still for the rest of the run, from own files, the generator or a known archive.

    The valid ratings are those of the source, unless the configuration says otherwise.

    Args:
        input: what is asked for, a dataset or own ratings.
        download: mirror, tries, time-outs and limits.
        demo: size and seed of the generated dataset.
        raw: the store's folder of downloads; made where it does not exist.

    Raises:
        UsageError: an unknown name, or settings that do not go together.
        InputRefused: what came is not fit to be used.
        SourceUnavailable: nothing came and there is no last good copy.
    """
    with disk_told(raw):
        snapshot = _take(input, download, demo, raw)
    return replace(snapshot, scale=_scale(snapshot.scale, input))


def _take(input: InputConfig, download: DownloadConfig, demo: DemoConfig, raw: Path) -> Snapshot:
    if input.ratings is not None:
        return take_own(input, download, raw)
    if input.columns or input.items is not None:
        raise UsageError(
            f"--columns and --items describe own files, the dataset {input.dataset} has its own.",
            expected="--ratings beside them",
            todo="give --ratings, or leave them out",
        )
    if input.dataset is None:
        raise UsageError("No input is named.", expected="a dataset or own ratings", todo="give --dataset or --ratings")
    if input.dataset == DEMO:
        return take_demo(demo, raw)
    return take_archive(find_dataset(input.dataset), download, raw)


def _scale(scale: Scale, input: InputConfig) -> Scale:
    given = {"lowest": input.rating_min, "highest": input.rating_max, "step": input.rating_step}
    return replace(scale, **{name: value for name, value in given.items() if value is not None})
