"""Who may publish: a lease that runs out, and a token that grows with each holder.

The lease keeps two runs from working at once; it is taken from a holder whose process is gone, or who has been silent
for longer than it lasts. Such a holder may only be paused, and come back: what keeps it from publishing then is its
token, the *fencing token* of Kleppmann, "How to do distributed locking" (2016). Whoever takes a lease over stamps the
pointer with the new token first, and a pointer is never changed by a lower one; where there is none, it is made only by
the last token that was given.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from recsys.errors import RecsysError, StoreBusy
from recsys.store.place import Place, Stamped, Taken

log = logging.getLogger("recsys")

NAME = "lease.json"
SECONDS = 300.0  # longer than any computation that keeps Python from running, such as a large matrix's inversion
BEATS = 8  # renewals within that time
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LeaseLost(StoreBusy):
    """The lease was taken over while this run was silent."""

    def __init__(self, found: str) -> None:
        super().__init__(
            "This run no longer holds the store; it published nothing.",
            expected="a lease renewed in time",
            found=found,
            todo="leave it to the run that holds it now; if none does, give the same command: complete stages are kept",
        )


@dataclass(frozen=True)
class Holder:
    """A process, told from any other: also from a later one of the same number, and from one in another container."""

    host: str
    pid: int
    started: str  # ticks after boot
    machine: str  # boot id and process namespace
    since: str

    @classmethod
    def me(cls) -> Self:
        """This process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()), _machine(), now)

    @property
    def gone(self) -> bool:
        """Whether it is certain that the process has ended: only seen from its own machine."""
        here = bool(self.machine) and self.machine == _machine()
        return here and _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@dataclass(frozen=True)
class Record:
    """What lease.json says; without a holder the store is free, and the token is the last one that was given."""

    token: int
    holder: Holder | None = None
    expires_at: datetime = LONG_AGO

    @classmethod
    def read(cls, data: bytes) -> Self:
        """From JSON.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        record = json.loads(data)
        holder = record["holder"]
        found = None if holder is None else Holder(**holder)
        return cls(int(record["token"]), found, datetime.fromisoformat(record["expires_at"]))

    def write(self) -> bytes:
        """As JSON."""
        holder = None if self.holder is None else asdict(self.holder)
        record = {"token": self.token, "holder": holder, "expires_at": self.expires_at.isoformat()}
        return (json.dumps(record, indent=2) + "\n").encode()

    @property
    def left(self) -> float:
        """Seconds until it runs out."""
        return (self.expires_at - datetime.now(UTC)).total_seconds()


class Lease:
    """A lease that this process holds, renewed by a thread of its own."""

    def __init__(self, place: Place, token: int, seconds: float, version: str) -> None:
        self.place, self.token, self.seconds, self.version = place, token, seconds, version
        self.holder, self.renewed, self.lost = Holder.me(), time.monotonic(), ""
        self._changing, self._ended = threading.Lock(), threading.Event()
        self._beat = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def require(self) -> None:
        """Make sure that the lease is held now.

        Raises:
            LeaseLost: another run took it over.
        """
        if not self.lost and time.monotonic() - self.renewed > self.seconds / BEATS:
            self._renew()
        if self.lost:
            raise LeaseLost(self.lost)

    def start(self) -> None:
        """Begin to renew it."""
        self._beat.start()

    def end(self) -> None:
        """Free the store for the next run; the token stays."""
        self._ended.set()
        self._beat.join()
        if not self.lost:
            with self._changing:
                self._write(Record(self.token))

    def _renew_until_ended(self) -> None:
        while not self.lost and not self._ended.wait(self.seconds / BEATS):
            self._renew()

    def _renew(self) -> None:
        with self._changing:
            expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
            try:
                self._write(Record(self.token, self.holder, expires))
            except (OSError, RecsysError) as error:  # the disk or the service may answer again before it runs out
                log.warning("the lease on the store could not be renewed: %s", error)

    def _write(self, record: Record) -> None:
        try:
            self.version = self.place.replace(NAME, record.write(), self.version)
            self.renewed = time.monotonic()
        except Taken:
            self.lost = f"the lease with token {self.token} was taken over{_by(self.place)}"


@contextmanager
def hold(
    place: Place,
    name: str,
    seconds: float = SECONDS,
    take_over: Callable[[int], None] = lambda token: None,
    last_token: int = 0,
) -> Iterator[Lease]:
    """Hold the lease as long as the block lasts.

    Args:
        name: of the store, for messages.
        last_token: the highest that is known from elsewhere: a lease that was deleted must not begin at 1 again.
        take_over: called with the token, before anything else, where the holder before has not given it back.

    Raises:
        StoreBusy: another process holds it; LeaseLost: another one took it over within the block.
    """
    lease = _take(place, name, seconds, take_over, last_token)
    lease.start()
    try:
        yield lease
    except LeaseLost:
        raise
    except Exception as error:
        try:
            lease.require()
        except LeaseLost as lost:  # whatever failed, the other run was at the same files
            raise lost from error
        raise
    finally:
        lease.end()


def require_free(place: Place, name: str) -> Stamped | None:
    """The lease's record as it lies, where nobody holds it.

    Raises:
        StoreBusy: somebody does.
    """
    found = place.read(NAME)
    if found is None:
        return None
    try:
        record = Record.read(found.data)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreBusy(
            f"The lease of the store {name} cannot be read.",
            expected=f"{NAME} with token, holder and expires_at",
            found=str(error),
            todo=f"make sure that no run is working on the store, then delete {NAME}",
        ) from error
    if record.holder is not None and record.left > 0 and not record.holder.gone:
        raise StoreBusy(
            f"Another run holds the store {name}.",
            expected="one run at a time",
            found=f"{record.holder}; its lease lasts for {record.left:.0f} s if it does not renew it",
            todo="wait until it has ended; if it hangs, end that process",
        )
    return found


def _take(place: Place, name: str, seconds: float, take_over: Callable[[int], None], last_token: int) -> Lease:
    found = require_free(place, name)
    before = Record(0) if found is None else Record.read(found.data)
    token = max(before.token, last_token) + 1
    record = Record(token, Holder.me(), datetime.now(UTC) + timedelta(seconds=seconds)).write()
    try:
        version = place.create(NAME, record) if found is None else place.replace(NAME, record, found.version)
    except Taken as error:
        raise StoreBusy(
            f"Another run took the store {name} at the same moment.",
            expected="one run at a time",
            found="a lease that is newer",
            todo="wait until it has ended",
        ) from error
    if before.holder is not None:
        log.warning("the store was held by %s, which is gone or silent; this run takes it over", before.holder)
        take_over(token)
    return Lease(place, token, seconds, version)


def holds(place: Place, token: int) -> bool:
    """Whether the lease is still the one with this token."""
    found = place.read(NAME)
    return found is not None and Record.read(found.data).token == token


def last_token(place: Place) -> int:
    """The token of the last lease that was taken; 0 where none is known."""
    found = place.read(NAME)
    return 0 if found is None else Record.read(found.data).token


def _by(place: Place) -> str:
    found = place.read(NAME)
    holder = Record.read(found.data).holder if found else None
    return f" by {holder}" if holder else ""


def _started(pid: int) -> str:
    """When a process began, in ticks after boot; empty where there is none, or no /proc to look at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _machine() -> str:
    """This boot of this machine, and the process numbers that count here; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
