"""A download under way: the bytes so far, and what the server called the file they belong to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from recsys.store import PARTIAL, sync_folder, write_whole


@dataclass(frozen=True)
class Validators:
    """What a server gives to tell one edition of a file from another."""

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, response: httpx.Response) -> Validators:
        """Those of a response."""
        return cls(response.headers.get("etag"), response.headers.get("last-modified"))

    def conditional(self) -> dict[str, str]:
        """Headers that ask for the file only if it has changed."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}

    @property
    def strong(self) -> str | None:
        """The one that If-Range may carry: a weak ETag does not promise equal bytes (RFC 9110, 13.1.5)."""
        strong_etag = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong_etag or self.last_modified


NO_VALIDATORS = Validators()


class Partial:
    """`<destination>.partial` and a small record beside it, both left behind by a run that dies.

    Args:
        destination: what the file is called once it is whole.
        url: where it comes from; bytes of another address are never continued.
        pinned: the whole will be compared to a pinned hash, so that it may be continued even where the server gives
            nothing to compare by.
    """

    def __init__(self, destination: Path, url: str, pinned: bool) -> None:
        self.destination, self.url, self.pinned = destination, url, pinned
        self.path = destination.with_name(destination.name + PARTIAL)
        self.record = destination.with_name(destination.name + PARTIAL + ".json")

    @property
    def size(self) -> int:
        """Bytes so far that may be continued."""
        known = self._known()
        if known is None or not self.path.exists() or not (self.pinned or known.strong):
            return 0
        return self.path.stat().st_size

    def range_headers(self) -> dict[str, str]:
        """Headers that ask for the rest; empty where there is nothing to continue."""
        size, known = self.size, self._known()
        if not size or known is None:
            return {}
        condition = {"If-Range": known.strong} if known.strong else {}
        return {"Range": f"bytes={size}-", **condition}

    def begin(self, validators: Validators) -> None:
        """Start from nothing. The old bytes go before the new record stands, so that they never mix."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        write_whole(self.record, json.dumps({"url": self.url, **asdict(validators)}))

    def discard(self) -> None:
        """Drop what has come so far."""
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)

    def finish(self) -> None:
        """Flush to disk and give the file its name."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, self.destination)
        self.record.unlink(missing_ok=True)
        sync_folder(self.destination.parent)

    def _known(self) -> Validators | None:
        try:
            record = json.loads(self.record.read_text())
            same = record["url"] == self.url
            return Validators(record["etag"], record["last_modified"]) if same else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
