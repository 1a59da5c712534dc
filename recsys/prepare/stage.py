"""The stage `prepare`: read and check the ratings, then write the prepared folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from recsys.config import InputConfig
from recsys.errors import InputRefused, UsageError
from recsys.prepare.prepared import Counts, write_prepared
from recsys.ratings import Ratings, Snapshot
from recsys.read import RowsRefused, read_items, read_ratings
from recsys.run import Run, read_manifest
from recsys.store import Store, sealed_stage

log = logging.getLogger("recsys")


def prepare(run: Run) -> Counts:
    """Prepare the run's ratings, once.

    Raises:
        InputRefused: the input is not fit to be used. The refused rows, where there are any, are in the run's folder.
    """
    with sealed_stage(run.folder / "prepared", run.record("prepare")) as folder:
        if folder is not None:
            ratings, test = read_inputs(run.snapshot, run.holdout, run.config.input, run.folder / "refused")
            check_volume(run, len(ratings))
            write_prepared(
                folder,
                ratings,
                read_items(run.snapshot, ratings.item_ids),
                test,
                config=run.config.prepare,
                top_items=run.top_items,
                scale=run.snapshot.scale,
                seed=run.config.seed,
            )
    counts = run.prepared.counts
    tell_counts(counts)
    return counts


def check_volume(run: Run, ratings: int) -> None:
    """Refuse an input that shrank: half a table published as a whole one is worse than yesterday's.

    Raises:
        InputRefused: fewer ratings than `input.min_volume_ratio` of the published run's.
    """
    current = Store(run.store).current()
    if current is None or not run.config.input.min_volume_ratio:
        return
    try:
        before, least = read_manifest(run.store / current.path)["input"], run.config.input.min_volume_ratio
    except UsageError as error:  # a published run that is gone must not keep tonight's from mending the pointer
        log.warning("prepare: the volume is not compared with the published run: %s", error.what)
        return
    published = before["rows_read"] - before["refused"] - before["repeated"]  # "ratings" counts a given hold-out too
    if ratings < least * published:
        raise InputRefused(
            "The input is much smaller than the published run's.",
            expected=f"at least {least:.0%} of {published:,} ratings (run {current.run_id})",
            found=f"{ratings:,} ratings",
            todo="look at the source; if it is right, allow it with --set input.min_volume_ratio=0",
        )


def read_inputs(
    snapshot: Snapshot, holdout: Snapshot | None, config: InputConfig, refused: Path
) -> tuple[Ratings, Ratings | None]:
    """The valid ratings and, where one is given, the hold-out's, by the same scale.

    Args:
        refused: the folder where the refused rows go if there are too many of them.

    Raises:
        InputRefused: the input is not fit to be used.
    """
    ratings = _read(snapshot, config, refused)
    return ratings, None if holdout is None else _read(replace(holdout, scale=snapshot.scale), config, refused)


def _read(snapshot: Snapshot, config: InputConfig, folder: Path) -> Ratings:
    try:
        ratings = read_ratings(snapshot, config)
        _require_unchanged(snapshot)
        return ratings
    except RowsRefused as refused:
        if refused.quarantine.num_rows:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(refused.quarantine, folder / "quarantine.parquet", compression="zstd")
            raise InputRefused(
                refused.what,
                expected=refused.expected,
                found=refused.found,
                todo=f"{refused.todo}; all refused rows: {folder / 'quarantine.parquet'}",
            ) from refused
        raise


def _require_unchanged(snapshot: Snapshot) -> None:
    """The run's identity is the fingerprint of what was hashed: a file written since may not stand in for it."""
    for path, written_ns in zip(snapshot.ratings, snapshot.written_ns, strict=False):
        if Path(path).stat().st_mtime_ns != written_ns:
            raise InputRefused(
                f"{path} was written to while the run was reading it.",
                expected="a file that lies still",
                found="another time of change than when it was fingerprinted",
                todo="write it under another name and rename it when it is whole, then run again",
            )


def tell_counts(counts: Counts) -> None:
    """Log what was read and what is kept."""
    log.info(
        "prepare: %s ratings of %s users on %s items; %s rows refused, %s repeated; %s held out; %s items kept",
        *(f"{n:,}" for n in (counts.ratings, counts.users, counts.items, counts.refused, counts.repeated)),
        f"{counts.held_out:,}",
        f"{counts.items_kept:,}",
    )
