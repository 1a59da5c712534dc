"""One try to bring a file over HTTP, from where the last one stopped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from recsys.download.failures import Transient, WrongBytes, check_status, told
from recsys.download.partial import NO_VALIDATORS, Partial, Validators
from recsys.errors import SourceUnavailable
from recsys.progress import track

# Compressed on the way, lengths and ranges would be those of another file.
PLAIN = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        url: its address.
        bytes: its pinned size; None where it is not known.
        most_bytes: the size at which it is cut off and refused; the pinned one where there is one.
        known: what the server called the copy that is already here; None asks in any case.
    """

    url: str
    bytes: int | None
    most_bytes: int
    known: Validators | None = None


@dataclass(frozen=True)
class Body:
    """Where a response's bytes belong: from `start` on, up to `total` where the server says it."""

    start: int
    total: int | None
    validators: Validators = NO_VALIDATORS


def transfer(client: httpx.Client, wanted: Wanted, partial: Partial) -> Validators | None:
    """Bring what is missing of the file into `partial`.

    Returns:
        What the server calls this edition; None: the copy that is known is still the current one.

    Raises:
        Transient: it stopped on the way; what came is kept where it can be continued.
        WrongBytes: it has another length than it should have.
        SourceUnavailable: a retry is of no use.
    """
    if wanted.bytes is not None and partial.size == wanted.bytes:
        return NO_VALIDATORS  # all of it came, and the process died before it was named
    headers = PLAIN | _range_or_condition(wanted, partial)
    with told(wanted.url), client.stream("GET", wanted.url, headers=headers) as response:
        _stay_encrypted(wanted.url, response)
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            partial.discard()
            raise Transient("the server does not have the rest of what was begun")
        check_status(wanted.url, response)
        if response.status_code == HTTPStatus.NOT_MODIFIED and wanted.known:
            return None
        body = _place(response, partial)
        _refuse_size(wanted, body.total)
        _write(response, body, wanted, partial)
        return body.validators


def _range_or_condition(wanted: Wanted, partial: Partial) -> dict[str, str]:
    return partial.range_headers() or (wanted.known.conditional() if wanted.known else {})


def _stay_encrypted(url: str, response: httpx.Response) -> None:
    if httpx.URL(url).scheme == "https" and response.url.scheme != "https":
        raise SourceUnavailable(
            f"{httpx.URL(url).host} sends on to an address without encryption.",
            expected="an https address",
            found=str(response.url.copy_with(query=None, userinfo=b"")),
            todo="give the final address, or a copy with --mirror FOLDER",
        )


def _place(response: httpx.Response, partial: Partial) -> Body:
    """Where the bytes belong. A server that does not honour the range sends all: then the beginning is dropped."""
    validators = Validators.of(response)
    if response.status_code == HTTPStatus.OK:
        partial.begin(validators)
        return Body(0, _number(response.headers.get("content-length")), validators)
    start, total = _content_range(response)
    if start is None or start != partial.size:
        partial.discard()
        raise Transient(f"the server sends another part than was asked for ({response.headers.get('content-range')})")
    return Body(start, total, validators)


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "").strip())
    return (int(match[1]), _number(match[2])) if match else (None, None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _refuse_size(wanted: Wanted, total: int | None) -> None:
    """Tell a wrong file by its announced length, before it is brought."""
    if total is None:
        return
    if wanted.bytes is not None and total != wanted.bytes:
        raise WrongBytes(f"a file of {total:,} bytes")
    if total > wanted.most_bytes:
        raise WrongBytes(f"a file of {total:,} bytes, more than the limit of {wanted.most_bytes:,}")


def _write(response: httpx.Response, body: Body, wanted: Wanted, partial: Partial) -> None:
    """Append the response's bytes. More than the limit is cut off, less than announced is told."""
    expected = wanted.bytes if wanted.bytes is not None else body.total
    size = body.start
    with partial.path.open("ab") as file, track(f"download {partial.destination.name}", expected, "bytes") as bar:
        bar.advance(size)
        for block in response.iter_raw():
            size += len(block)
            if size > wanted.most_bytes:
                raise WrongBytes(f"more than {wanted.most_bytes:,} bytes, without an end")
            file.write(block)
            bar.advance(len(block))
    if expected is not None and size < expected:
        raise Transient(f"it ended after {size:,} of {expected:,} bytes")
