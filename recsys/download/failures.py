"""What goes wrong between two machines, told so that an operator can act on it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from recsys.addresses import redacted
from recsys.errors import SourceUnavailable

USE_MIRROR = "give a copy with --mirror FOLDER, or try again later"
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
# The connection was cut in mid-air; every other TLS failure is the same a second later.
CUT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Transient(Exception):
    """A failure that may be gone a moment later. `retry_after`: seconds the server asks to wait, if it does."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class WrongBytes(Exception):
    """What comes is not the file that was asked for; asking for the rest of it is of no use."""


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn httpx's exceptions into `Transient` or, where a retry is of no use, into `SourceUnavailable`."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise SourceUnavailable(
            f"{redacted(url)} cannot be asked for.", found=str(error), todo=f"check the address; or {USE_MIRROR}"
        ) from error
    except httpx.TransportError as error:
        tls = _tls_cause(error)
        if tls is not None and not isinstance(tls, CUT_TLS):
            raise _untrusted(url, tls) from error
        raise Transient(f"{type(error).__name__}: {error or 'no answer in time'}") from error


def check_status(url: str, response: httpx.Response) -> None:
    """Let 200, 206 and 304 pass; which of them was to come, the caller knows.

    Raises:
        Transient: a status that may be gone a moment later.
        SourceUnavailable: any other status.
    """
    status = response.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED):
        return
    if status in RETRIED_STATUS:
        raise Transient(f"HTTP {status} {response.reason_phrase}", _retry_after(response))
    raise SourceUnavailable(
        f"{redacted(url)} answers HTTP {status} {response.reason_phrase}.",
        expected="HTTP 200",
        found=f"HTTP {status}",
        todo=f"{_advice(status)}; or {USE_MIRROR}",
    )


def _advice(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
        return "ask for access to it, or check the proxy"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return "check the name and the address, the file is not there"
    return "look at the address in a browser"


def _untrusted(url: str, error: ssl.SSLError) -> SourceUnavailable:
    host = httpx.URL(url).host
    problem = getattr(error, "verify_message", None) or error.reason or str(error)
    return SourceUnavailable(
        f"No safe connection to {host}: {problem}.",
        expected=f"a TLS certificate for {host} that is valid today and signed by a known authority",
        found=str(error),
        todo=(
            f"wait until {host} has renewed its certificate and give a copy with --mirror FOLDER meanwhile; behind a "
            "proxy with its own authority set SSL_CERT_FILE; check this machine's clock. Verification stays on"
        ),
    )


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds the server asks to wait, given as a number or as a date; None where it does not or cannot be read."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
