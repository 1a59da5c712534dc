"""The stage `prepare`: read and check the ratings, then write the prepared folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from recsys.config import InputConfig
from recsys.errors import InputRefused
from recsys.prepare.prepared import Counts
from recsys.prepare.write import write_prepared
from recsys.ratings import Ratings, Snapshot
from recsys.read import RowsRefused, read_items, read_ratings
from recsys.run import MOST_ITEMS, REFUSAL, Run, read_manifest
from recsys.store import PARTIAL, Store, sealed_stage, write_whole

log = logging.getLogger("recsys")


def prepare(run: Run) -> Counts:
    """Prepare the run's ratings, once.

    Raises:
        InputRefused: the input is not fit to be used. Why, and the refused rows where there are any, stay in the
            run's folder.
    """
    with _kept_refusal(run), sealed_stage(run.folder / "prepared", run.record("prepare")) as folder:
        if folder is not None:
            ratings, test = read_inputs(run.snapshot, run.holdout, run.config.input, run.folder / REFUSAL.parent)
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
    _tell_of_memory(run, counts)
    return counts


def check_volume(run: Run, ratings: int) -> None:
    """Refuse an input that shrank: half a table published as a whole one is worse than yesterday's.

    Raises:
        InputRefused: fewer ratings than `input.min_volume_ratio` of the published run's.
    """
    least = run.config.input.min_volume_ratio
    current = Store(run.store).current() if least and not run.set_aside.exists() else None  # rebuilt: it passed before
    if current is None:
        return
    before = read_manifest(run.store / current.path)["input"]
    if before["dataset"] != run.snapshot.dataset:
        log.info(
            "prepare: the volume of %s is not compared with the published run's, which is of %s",
            run.snapshot.dataset,
            before["dataset"],
        )
        return
    published = before["rows_read"] - before["refused"] - before["repeated"]  # "ratings" counts a given hold-out too
    if ratings < least * published:
        raise InputRefused(
            "The input is much smaller than the published run's.",
            expected=f"at least {least:.0%} of {published:,} ratings (run {current.run_id})",
            found=f"{ratings:,} ratings",
            todo="look at the source; if it is right, allow it with --set input.min_volume_ratio=0",
        )


@contextmanager
def _kept_refusal(run: Run) -> Iterator[None]:
    """Keep why the input was refused, and nothing else: the same night run again begins anew."""
    if not run.prepared.folder.exists():
        shutil.rmtree(run.folder / REFUSAL.parent, ignore_errors=True)  # of an earlier try
    try:
        yield
    except InputRefused as refused:
        record = {name: getattr(refused, name) for name in ("what", "expected", "found", "todo")}
        (run.folder / REFUSAL).parent.mkdir(parents=True, exist_ok=True)
        write_whole(run.folder / REFUSAL, json.dumps(record, indent=2))
        shutil.rmtree(run.folder / f"prepared{PARTIAL}", ignore_errors=True)
        shutil.rmtree(run.work, ignore_errors=True)
        raise


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


def _tell_of_memory(run: Run, counts: Counts) -> None:
    """Fewer items in the lists because of a setting about memory: nobody would look for that there."""
    if run.config.prepare.top_items is None and counts.items_kept < counts.items and run.top_items < MOST_ITEMS:
        log.warning(
            "prepare: only the %s most rated of %s items are kept: a ranker of more does not fit compute.memory_mib=%s;"
            " raise that, or choose how many with --top-items",
            *(f"{n:,}" for n in (counts.items_kept, counts.items)),
            run.config.compute.memory_mib,
        )
