"""A file over HTTP: tried again with back-off, continued where it stopped, compared to its pin, then given its name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

import recsys
from recsys.addresses import redacted
from recsys.config import DownloadConfig
from recsys.download.failures import USE_MIRROR, Transient, WrongBytes
from recsys.download.hashing import Digests, digest_file
from recsys.download.partial import NO_VALIDATORS, Partial, Validators
from recsys.download.transfer import Wanted, transfer
from recsys.errors import InputRefused, SourceUnavailable

log = logging.getLogger("recsys")

LONGEST_PAUSE_S = 60.0  # doubling stops here: a night has hours, but an operator watches
LONGEST_RETRY_AFTER_S = 120.0  # a host that asks for a longer pause is left alone instead of waited for
MIB = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A file that came whole."""

    path: Path
    digests: Digests
    validators: Validators


def fetch(
    url: str,
    destination: Path,
    config: DownloadConfig,
    *,
    pin: Digests | None = None,
    known: Validators | None = None,
) -> Fetched | None:
    """Bring `url` to `destination`, which appears whole or not at all.

    Bytes go to `<destination>.partial`; what a broken or killed try left there is continued by range, provided the
    server says that it is still the same file, or a pin will tell. Wrong bytes are dropped and asked for once more.

    Args:
        url: http or https; redirections are followed, but not from https to http.
        destination: a file in a folder that belongs to this download alone.
        config: tries, pauses and time-outs.
        pin: bytes and hashes it must have.
        known: what the server called the copy that is already here; it is then asked for only if it has changed.

    Returns:
        None: the known copy is still the current one.

    Raises:
        SourceUnavailable: it could not be had; says why and what to do.
        InputRefused: what came is not what is pinned, or has no end.
    """
    most = config.max_unpacked_mib * MIB  # whatever unpacks to less than the limit is itself smaller
    wanted = Wanted(url, pin.bytes if pin else None, pin.bytes if pin else most, known)
    partial = Partial(destination, url, pinned=pin is not None)
    if pin is not None and destination.exists() and digest_file(destination) == pin:
        return Fetched(destination, pin, NO_VALIDATORS)  # of a run that died before it used it
    with _client(config) as client:
        for last in (False, True) if pin else (True,):
            try:
                validators = _persist(config, url, lambda: transfer(client, wanted, partial))
                return None if validators is None else _finished(partial, pin, validators)
            except WrongBytes as wrong:
                partial.discard()
                if last:
                    raise _refused(url, pin, str(wrong)) from wrong
                log.warning("%s sends %s; asked for once more", redacted(url), wrong)
    raise AssertionError("unreachable: the last round returns or raises")


def _client(config: DownloadConfig) -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(config.read_timeout_s, connect=config.connect_timeout_s),
        follow_redirects=True,
        headers={"User-Agent": f"recsys-nightly/{recsys.__version__}"},
    )


def _finished(partial: Partial, pin: Digests | None, validators: Validators) -> Fetched:
    digests = digest_file(partial.path)
    if pin is not None and digests != pin:
        raise WrongBytes(f"{digests.bytes:,} bytes with MD5 {digests.md5}")
    partial.finish()
    return Fetched(partial.destination, digests, validators)


def _persist(config: DownloadConfig, url: str, attempt: Callable[[], Validators | None]) -> Validators | None:
    """Repeat `attempt` while it fails in a way that may pass."""
    retrying = Retrying(
        stop=stop_after_attempt(config.attempts),
        wait=_pause(config.backoff_s),
        retry=retry_if_exception(_worth_waiting),
        before_sleep=lambda state: log.info("%s: %s; tried again", redacted(url), _reason(state)),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except Transient as error:
        tries = retrying.statistics["attempt_number"]
        raise SourceUnavailable(
            f"{redacted(url)} could not be fetched: {error.reason}.",
            found=f"{error.reason} ({'once' if tries == 1 else f'{tries} tries'}){_asked(error)}",
            todo=f"look whether {httpx.URL(url).host} is up and the network lets it through; or {USE_MIRROR}",
        ) from error


def _worth_waiting(error: BaseException) -> bool:
    return isinstance(error, Transient) and (error.retry_after or 0.0) <= LONGEST_RETRY_AFTER_S


def _pause(backoff_s: float) -> Callable[[RetryCallState], float]:
    """Seconds to the next try: doubling, with jitter up to the first pause, and never less than the server asks for."""
    doubling = wait_exponential(multiplier=backoff_s, max=LONGEST_PAUSE_S) + wait_random(0, backoff_s)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, Transient) else None
        return max(doubling(state), asked or 0.0)

    return pause


def _reason(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return error.reason if isinstance(error, Transient) else str(error)


def _asked(error: Transient) -> str:
    return "" if error.retry_after is None else f"; it asks to be left alone for {error.retry_after:.0f} s"


def _refused(url: str, pin: Digests | None, found: str) -> InputRefused:
    return InputRefused(
        f"{redacted(url)} sends something else than the file asked for.",
        expected=f"{pin.bytes:,} bytes with MD5 {pin.md5}" if pin else "a file within the limit",
        found=found,
        todo=f"look whether a proxy answers in the host's place; or {USE_MIRROR}"
        + ("" if pin else "; a larger file needs --set download.max_unpacked_mib=N"),
    )
