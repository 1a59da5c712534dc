"""Google's and Azure's tongues, spoken by a small server of our own: what we say in them, and what we make of the answers.

It is no proof of what these services do, only that generations, ETags and parts are handled as their documents say.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

from recsys.errors import UsageError
from recsys.objects import service
from recsys.objects.folder import MIB, ObjectFolder
from recsys.store import object_place
from recsys.store.object_place import ObjectPlace
from recsys.store.place import Taken

LISTED = "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-11-21T00:00:00Z</LastModified><ETag>{etag}</ETag></Contents>"
BLOB = (
    "<Blob><Name>{key}</Name><Properties><Last-Modified>Sat, 21 Nov 2026 00:00:00 GMT</Last-Modified>"
    "<Content-Length>{size}</Content-Length><Content-Type>a/b</Content-Type><Etag>{etag}</Etag></Properties></Blob>"
)


class Service(ThreadingHTTPServer):
    """Objects in memory. An ETag is a number that grows, so that no ETag tells the bytes."""

    def __init__(self, scheme: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme, self.lock, self.changes = scheme, threading.Lock(), 0
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.parts: dict[tuple[str, str], bytes] = {}

    def keep(self, key: str, data: bytes) -> int:
        self.changes += 1
        self.objects[key] = (data, self.changes)
        return self.changes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        key = unquote(url.path).lstrip("/").partition("/")[2]
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.server.lock:
            answer = getattr(self, self.command.lower())(key, query, body)
        self.answer(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def put(self, key: str, query: dict[str, str], body: bytes) -> tuple[Any, ...]:
        if part := query.get("partNumber") or query.get("blockid"):
            self.server.parts[key, part] = body
            return 201, {"etag": f'"{part}"'}
        if query.get("comp") == "blocklist":
            names = [block.text or "" for block in ElementTree.fromstring(body)]
            body = b"".join(self.server.parts.pop((key, name)) for name in names)
        elif not self.allowed(key):
            return 409 if self.headers.get("if-none-match") else 412, {}
        return 201, self.described(self.server.keep(key, body))

    def allowed(self, key: str) -> bool:
        found = self.server.objects.get(key, (b"", 0))[1]
        if wanted := self.headers.get("x-goog-if-generation-match"):
            return int(wanted) == found
        if self.headers.get("if-none-match") == "*":
            return not found
        wanted = self.headers.get("if-match")
        return not wanted or wanted == f'"{found}"'

    def described(self, number: int) -> dict[str, str]:
        google = {"x-goog-generation": str(number)} if self.server.scheme == "gs" else {}
        return {"etag": f'"{number}"', "last-modified": formatdate(usegmt=True), **google}

    def post(self, key: str, query: dict[str, str], body: bytes) -> tuple[Any, ...]:
        if query.get("comp") == "batch":
            return self.batch(body)
        if "uploads" in query:
            said = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            return 200, {}, said.encode()
        numbers = sorted((int(part) for name, part in self.server.parts if name == key))
        number = self.server.keep(key, b"".join(self.server.parts.pop((key, str(part))) for part in numbers))
        said = f'<CompleteMultipartUploadResult><ETag>"{number}"</ETag></CompleteMultipartUploadResult>'
        return 200, self.described(number), said.encode()

    def batch(self, body: bytes) -> tuple[Any, ...]:
        """Azure removes by batches: requests and answers within one."""
        paths = re.findall(rb"^DELETE (\S+)", body, re.MULTILINE)
        states = [self.delete(unquote(path.decode()).lstrip("/").partition("/")[2], {}, b"")[0] for path in paths]
        parts = [
            f"--answers\r\nContent-Type: application/http\r\nContent-ID: {at}\r\n\r\nHTTP/1.1 {state} Said\r\n\r\n\r\n"
            for at, state in enumerate(states)
        ]
        return 202, {"content-type": "multipart/mixed; boundary=answers"}, f"{''.join(parts)}--answers--".encode()

    def delete(self, key: str, query: dict[str, str], body: bytes) -> tuple[Any, ...]:
        gone = self.server.objects.pop(key, None) is None
        return (404 if gone else 202 if self.server.scheme == "az" else 204), {}

    def head(self, key: str, query: dict[str, str], body: bytes) -> tuple[Any, ...]:
        return self.get(key, query, body)

    def get(self, key: str, query: dict[str, str], body: bytes) -> tuple[Any, ...]:
        if not key:
            return 200, {"content-type": "application/xml"}, self.listed(query).encode()
        if key not in self.server.objects:
            return 404, {}
        data, number = self.server.objects[key]
        if not self.allowed(key):
            return 412, {}
        span = self.headers.get("range") or self.headers.get("x-ms-range")
        if not span:
            return 200, self.described(number), data
        start, stop = (int(place) for place in span.removeprefix("bytes=").split("-"))
        place = {"content-range": f"bytes {start}-{min(stop, len(data) - 1)}/{len(data)}"}
        return 206, self.described(number) | place, data[start : stop + 1]

    def listed(self, query: dict[str, str]) -> str:
        prefix, one = query.get("prefix", ""), LISTED if self.server.scheme == "gs" else BLOB
        found = ((key, *kept) for key, kept in sorted(self.server.objects.items()) if key.startswith(prefix))
        deep = "delimiter" not in query
        rows = [
            one.format(key=escape(key), size=len(data), etag=f'"{number}"')
            for key, data, number in found
            if deep or "/" not in key[len(prefix) :]
        ]
        if self.server.scheme == "gs":
            return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>"
        return f"<EnumerationResults><Blobs>{''.join(rows)}</Blobs><NextMarker/></EnumerationResults>"

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response_only(status)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["gs", "az"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectFolder]:
    server = Service(request.param)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    (tmp_path / "account.json").write_text(json.dumps(account))
    google = {"GOOGLE_SERVICE_ACCOUNT": str(tmp_path / "account.json"), "GOOGLE_ALLOW_HTTP": "true"}
    azure = {"AZURE_ENDPOINT": url, "AZURE_SKIP_SIGNATURE": "true", "AZURE_ALLOW_HTTP": "true"}
    for name, value in (google | azure | {"AZURE_STORAGE_ACCOUNT_NAME": "tests"}).items():
        monkeypatch.setenv(name, value)
    for cached in (service.connect, object_place.is_conditional):
        cached.cache_clear()
    yield ObjectFolder.at(f"{request.param}://bucket/store")
    service.connect.cache_clear()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("size", [0, MIB, 20 * MIB])
def test_a_file_is_sent_once_and_read_back(folder: ObjectFolder, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(random.Random(1).randbytes(size))
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    assert folder.upload(source, "a/b c", sha256)
    assert not folder.upload(source, "a/b c", sha256), "told by its bytes, for the ETag says nothing of them"
    (found,) = folder.find()
    assert (found.path, found.bytes) == ("a/b c", size)
    folder.fetch("a/b c", tmp_path / "copy", size, sha256)
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert folder.find("a", deep=False)[0].path == "a/b c"
    folder.remove(["a/b c", "nothing"])
    assert folder.find() == []


def test_records(folder: ObjectFolder) -> None:
    place = ObjectPlace(folder)
    assert object_place.is_conditional(folder)
    assert place.read("R.json") is None
    first = place.create("R.json", b"1")
    assert place.read("R.json").version == first  # type: ignore[union-attr]
    with pytest.raises(Taken):
        place.create("R.json", b"other")
    second = place.replace("R.json", b"2", first)
    for late in (lambda: place.replace("R.json", b"late", first), lambda: place.remove("R.json", first)):
        with pytest.raises(Taken):
            late()
    back = place.replace("R.json", b"1", second)
    assert back != first, "here even a record that went there and back is another version"
    place.remove("R.json", back)
    assert place.read("R.json") is None
    assert place.create("R.json", b"3") == place.read("R.json").version  # type: ignore[union-attr]


def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    service.connect.cache_clear()
    with pytest.raises(UsageError, match="Account must be specified"):
        ObjectFolder.at("az://container/a").find()
