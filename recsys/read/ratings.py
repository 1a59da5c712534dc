"""From files to ratings, in memory or as a stream: read in blocks, checked in threads, gathered in order."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from recsys.compute import in_order
from recsys.config import InputConfig
from recsys.errors import InputRefused
from recsys.progress import Bar, track
from recsys.ratings import IdType, Ratings, RatingsFormat, Scale, Snapshot
from recsys.read import delimited, parquet
from recsys.read.blocks import BLOCK_BYTES, file_bytes
from recsys.read.check import Part, check
from recsys.read.gather import Gathered
from recsys.read.ids import IdCount
from recsys.read.pieces import Keep, in_folder, in_memory
from recsys.read.refusals import is_too_many, refuse_unfit, too_many
from recsys.read.rows import Columns, Job, Rows
from recsys.read.stream import Stream

log = logging.getLogger("recsys")

MOST_REFUSED = 1_000_000  # refused rows are Python objects for a while: 1 million hold about 300 MB
MOST_INTEGER_SLACK = 0.5  # whatever share of bad rows is allowed, ids that are mostly no integers are strings
ONE_USER = "1"  # the id of the person whose ratings come without a user column
GUESS_BYTES = 1 << 20  # 40,000 rows show well enough what ids look like

Kinds = tuple[IdType, IdType]


def read_ratings(
    snapshot: Snapshot,
    config: InputConfig,
    *,
    known_items: pa.Array | None = None,
    block_bytes: int = BLOCK_BYTES,
    threads: int | None = None,
) -> Ratings:
    """The valid ratings of a snapshot, in its order; a pair's latest rating stands where it is repeated.

    Latest is the highest timestamp, and among equal ones the last in the input. The result depends neither on
    `block_bytes` nor on `threads`.

    Args:
        config: id type, bounds of the scale where they are not the dataset's own, share of bad rows allowed.
        known_items: ids that stand in `item_ids` in any case; they set the type of the item ids.
        block_bytes: bytes that are read and parsed at a time.
        threads: blocks checked at a time; None: as many as Arrow takes for itself.

    Raises:
        RowsRefused: more than `config.max_bad_fraction` of the rows, or all of them, are refused.
        InputRefused: no rows, no columns of the names given, or a file that cannot be read.
        SourceUnavailable: a file is not there.
    """
    source = _Source(snapshot, config, known_items, block_bytes, threads or pa.cpu_count(), in_memory)
    return source.stream().collect()


def read_stream(
    snapshot: Snapshot, config: InputConfig, folder: Path, *, threads: int, block_bytes: int = BLOCK_BYTES
) -> Stream:
    """The valid ratings of a snapshot in blocks, whose rows lie in `folder`: 20 bytes each, none in memory.

    In memory are the distinct ids, the refused rows (which a fit input has few of), and the blocks under way.

    Args:
        folder: an existing, empty folder; the stream needs it for as long as it is read.
        config, threads, block_bytes: as for `read_ratings`, which says what is raised too.
    """
    return _Source(snapshot, config, None, block_bytes, threads, in_folder(folder)).stream()


def _warn_of_milliseconds(gathered: Gathered) -> None:
    """They are kept: an order in time is all that is taken from them, and it is the same in any one unit."""
    if gathered.late:
        log.warning(
            "%s of %s timestamps look like milliseconds, not seconds; %s",
            f"{gathered.late:,}",
            f"{gathered.valid:,}",
            "their order is the same"
            if gathered.late == gathered.valid
            else "beside seconds their order is wrong: use one unit",
        )


@dataclass(frozen=True)
class _Source:
    snapshot: Snapshot
    config: InputConfig
    known_items: pa.Array | None
    block_bytes: int
    threads: int
    keep: Keep

    def stream(self) -> Stream:
        """The valid ratings, if they are fit to be used."""
        self._require_times()
        kinds = self.first_kinds()
        gathered = self.gather(kinds)
        if (settled := self.kinds(gathered.counts)) != kinds:  # the first block was not like the rest
            gathered = self.gather(settled)
        refuse_unfit(gathered, self.snapshot, self.config)
        if self.config.until is not None:
            log.info("prepare: %s rows are later than %s and left out", f"{gathered.later:,}", self.config.until)
        _warn_of_milliseconds(gathered)
        return gathered.stream()

    def kinds(self, counts: Iterable[IdCount]) -> Kinds:
        """The id types that the counts speak for."""
        user, item = (_kind(count, self.config) for count in counts)
        if self.known_items is not None:
            item = "integer" if pa.types.is_integer(self.known_items.type) else "string"
        return user, item

    def first_kinds(self) -> Kinds:
        """The id types as the first rows suggest them; a guess, which the whole input confirms or corrects."""
        guessed = Gathered()
        with closing(self._jobs(_Silent(), min(self.block_bytes, GUESS_BYTES))) as jobs:
            while not guessed.rows and (job := next(jobs, None)):
                guessed.add(self._check(("integer", "integer"), job))
        return self.kinds(guessed.counts)

    def gather(self, kinds: Kinds) -> Gathered:
        """All blocks.

        Raises:
            RowsRefused: `MOST_REFUSED` rows are refused, and more than allowed of those read so far.
        """
        gathered = Gathered(self.keep, self.known_items)
        total = sum(file_bytes(Path(path)) for path in self.snapshot.ratings)
        with track("read ratings", total, "bytes") as bar, closing(self._parts(kinds, bar)) as parts:
            for part in parts:
                gathered.add(part)
                if gathered.refused > MOST_REFUSED and self._settled(gathered, kinds):
                    raise too_many(gathered, self.snapshot, self.config)
        return gathered

    def _settled(self, gathered: Gathered, kinds: Kinds) -> bool:
        """The rows are refused for good: not only because their ids were taken for integers."""
        return is_too_many(gathered, self.config) and self.kinds(gathered.counts) == kinds

    def _jobs(self, bar: Bar, size: int) -> Generator[Job, None, None]:
        form = self.snapshot.ratings_format
        columns = _columns(form)
        for path in map(Path, self.snapshot.ratings):
            if parquet.is_parquet(path):
                jobs = parquet.jobs(path, columns, size, bar)
            else:
                jobs = delimited.jobs(path, form, columns, size, bar)
            yield from jobs if form.user is not None else (partial(_of_one_user, job) for job in jobs)

    def _parts(self, kinds: Kinds, bar: Bar) -> Generator[Part, None, None]:
        """The checked blocks in the order of the input."""
        return in_order(partial(self._check, kinds), self._jobs(bar, self.block_bytes), self.threads)

    def _check(self, kinds: Kinds, job: Job) -> Part:
        return check(job(), kinds, _scale(self.snapshot.scale, self.config), _end_of(self.config.until))

    def _require_times(self) -> None:
        if self.config.until is not None and self.snapshot.ratings_format.timestamp is None:
            raise InputRefused(
                f"The ratings of {self.snapshot.dataset} have no timestamps; nobody can tell which there were on "
                f"{self.config.until}.",
                expected="a column of seconds",
                found="none",
                todo="name it with --columns timestamp=NAME, or leave out input.until",
            )


def _end_of(day: date | None) -> int | None:
    """The first second after a day, UTC."""
    if day is None:
        return None
    return int(datetime.combine(day + timedelta(days=1), time.min, UTC).timestamp())


class _Silent:
    """Progress of work too short to be shown."""

    def advance(self, amount: int) -> None:
        pass

    def close(self) -> None:
        pass


def _columns(form: RatingsFormat) -> Columns:
    columns: Columns = {} if form.user is None else {"user": form.user}
    columns |= {"item": form.item, "rating": form.rating}
    return columns if form.timestamp is None else columns | {"timestamp": form.timestamp}


def _of_one_user(job: Job) -> Rows:
    rows = job()
    users = pa.DictionaryArray.from_arrays(np.zeros(len(rows), np.int32), pa.array([ONE_USER]))
    refused = [replace(row, user_id=ONE_USER) for row in rows.refused]
    return replace(rows, columns=rows.columns | {"user": users}, refused=refused)


def _kind(count: IdCount, config: InputConfig) -> IdType:
    if config.id_type != "auto":
        return config.id_type
    slack = min(config.max_bad_fraction, MOST_INTEGER_SLACK)
    return "integer" if count.not_integer <= slack * count.present else "string"


def _scale(own: Scale, config: InputConfig) -> Scale:
    """The dataset's scale, where the configuration does not say otherwise."""
    lowest = own.lowest if config.rating_min is None else config.rating_min
    highest = own.highest if config.rating_max is None else config.rating_max
    return Scale(lowest, highest, own.step if config.rating_step is None else config.rating_step)
