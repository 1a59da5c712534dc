"""The stage `prepare`: read and check the ratings, then write the prepared folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from recsys.compute import thread_count
from recsys.config import RunConfig
from recsys.errors import InputRefused
from recsys.prepare.prepared import Counts
from recsys.prepare.write import write_prepared
from recsys.published import published_before
from recsys.ratings import Snapshot
from recsys.read import RowsRefused, read_items, read_stream
from recsys.read.stream import Stream
from recsys.run import MOST_ITEMS, Run
from recsys.store import sealed_stage, write_whole
from recsys.store.layout import REFUSAL

log = logging.getLogger("recsys")


def prepare(run: Run) -> Counts:
    """Prepare the run's ratings, once.

    Raises:
        InputRefused: the input is not fit to be used. Why, and the refused rows where there are any, stay in the
            run's folder.
    """
    with (
        _kept_refusal(run),
        sealed_stage(run.folder / "prepared", run.record("prepare"), under_way=run.under_way) as folder,
    ):
        if folder is not None:
            prepare_inputs(
                folder,
                run.snapshot,
                run.holdout,
                run.config,
                top_items=run.top_items,
                refused=run.folder / REFUSAL.parent,
                accept=partial(check_volume, run),
            )
    counts = run.prepared.counts
    tell_counts(counts)
    _tell_of_memory(run, counts)
    return counts


def check_volume(run: Run, ratings: int) -> None:
    """Refuse an input that shrank: half a table published as a whole one is worse than yesterday's.

    Raises:
        InputRefused: fewer ratings than `input.min_volume_ratio` of the published run's of that night or before.
    """
    least = run.config.input.min_volume_ratio
    current = None if run.set_aside.exists() else published_before(run.home, run.run_date)  # rebuilt: it passed before
    if not least or current is None:
        return
    before = current.manifest["input"]
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
        shutil.rmtree(run.work, ignore_errors=True)
        raise


def prepare_inputs(
    folder: Path,
    snapshot: Snapshot,
    holdout: Snapshot | None,
    config: RunConfig,
    *,
    top_items: int,
    refused: Path,
    accept: Callable[[int], None] = lambda ratings: None,
) -> Counts:
    """Read the ratings and, where one is given, the hold-out, by the same scale, and write a prepared folder.

    Args:
        folder: an existing, empty folder; what is needed only meanwhile lies there too: up to 50 bytes a rating.
        refused: the folder where the refused rows go if there are too many of them.
        accept: told the number of ratings, the hold-out's and repeats left out; may refuse it.

    Raises:
        InputRefused: the input is not fit to be used.
    """
    with TemporaryDirectory(dir=folder, prefix="read-") as work:
        own = _read(snapshot, config, Path(work) / "own", refused)
        scaled = None if holdout is None else replace(holdout, scale=snapshot.scale)
        test = None if scaled is None else _read(scaled, config, Path(work) / "test", refused)
        return write_prepared(
            folder,
            own,
            test,
            titles=partial(read_items, snapshot),
            config=config.prepare,
            top_items=top_items,
            scale=snapshot.scale,
            seed=config.seed,
            compute=config.compute,
            accept=accept,
        )


def _read(snapshot: Snapshot, config: RunConfig, work: Path, refused_rows: Path) -> Stream:
    work.mkdir()
    try:
        stream = read_stream(snapshot, config.input, work, threads=thread_count(config.compute))
        _require_unchanged(snapshot)
        return stream
    except RowsRefused as refused:
        if refused.quarantine.num_rows:
            refused_rows.mkdir(parents=True, exist_ok=True)
            pq.write_table(refused.quarantine, refused_rows / "quarantine.parquet", compression="zstd")
            raise InputRefused(
                refused.what,
                expected=refused.expected,
                found=refused.found,
                todo=f"{refused.todo}; all refused rows: {refused_rows / 'quarantine.parquet'}",
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
