"""A web server on this machine whose every answer is scripted, so that each fault of a real one can be had at will."""

from __future__ import annotations

import io
import os
import ssl
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from recsys.config import DownloadConfig


@dataclass
class Request:
    """What was asked, and how many bytes of body were sent for it."""

    path: str
    headers: Mapping[str, str]
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.request_record = Request(self.path, {name.lower(): value for name, value in self.headers.items()})
        web = self.server.web
        web.requests.append(self.request_record)
        answers = web.answers.get(self.path.partition("?")[0], [web.status(404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with suppress(ConnectionError, ssl.SSLError):  # the client has seen enough
            answer(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.request_record.sent += len(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def get_request(self):  # type: ignore[no-untyped-def]
        self.web.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that turns away from a certificate


Answer = Callable[[Handler], None]


@dataclass
class Web:
    """The server's script and its memory."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    stop: Callable[[], None] = lambda: None

    def serve(self, path: str, *answers: Answer) -> str:
        """Answer to `path` with these in turn, and with the last for ever; returns the address."""
        self.answers[path] = list(answers)
        return self.url + path

    @property
    def sent(self) -> list[int]:
        return [request.sent for request in self.requests]

    @property
    def ranges(self) -> list[str | None]:
        return [request.headers.get("range") for request in self.requests]

    @staticmethod
    def whole(
        data: bytes,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        cut: int | None = None,
        ranges: bool = True,
        stall_s: float = 0.0,
    ) -> Answer:
        """A well-behaved file; with `cut` the connection drops after so many bytes of this answer's body."""

        def answer(handler: Handler) -> None:
            asked = handler.request_record.headers
            if etag is not None and asked.get("if-none-match") == etag:
                return handler.head(304, ETag=etag)
            condition = asked.get("if-range")
            unchanged = condition is None or condition in (etag, last_modified)
            start = 0
            if ranges and "range" in asked and unchanged:
                start = int(asked["range"].removeprefix("bytes=").removesuffix("-"))
                span = f"bytes {start}-{len(data) - 1}/{len(data)}"
                handler.head(
                    206, Content_Length=len(data) - start, Content_Range=span, ETag=etag, Last_Modified=last_modified
                )
            else:
                handler.head(200, Content_Length=len(data), ETag=etag, Last_Modified=last_modified)
            handler.body(data[start:] if cut is None else data[start : start + cut])
            handler.wfile.flush()
            time.sleep(stall_s)
            return None

        return answer

    @staticmethod
    def status(status: int, **headers: object) -> Answer:
        return lambda handler: handler.head(status, Content_Length=0, **headers)

    @staticmethod
    def unannounced(data: bytes) -> Answer:
        """A body without a length: it ends where the connection does."""

        def answer(handler: Handler) -> None:
            handler.head(200)
            handler.body(data)

        return answer

    @staticmethod
    def endless(block: bytes = b"0" * 65536) -> Answer:
        def answer(handler: Handler) -> None:
            handler.head(200)
            while True:
                handler.body(block)

        return answer


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no authority of this machine's has a say."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _serving(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "http" if context is None else "https"
    web = Web(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    server.web = web
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    stopped = threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            server.shutdown()
            server.server_close()
            thread.join()

    web.stop = stop
    yield web
    stop()


@pytest.fixture
def web() -> Iterator[Web]:
    yield from _serving()


@pytest.fixture
def tls_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[datetime | None], Web]]:
    """Starts a server whose certificate ends at the given time, signed by an authority that this process trusts."""
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    running: list[Iterator[Web]] = []

    def start(not_after: datetime | None = None) -> Web:
        certificate = authority.issue_cert(
            "127.0.0.1", not_before=datetime.now(UTC) - timedelta(days=90), not_after=not_after
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        running.append(_serving(context))
        return next(running[-1])

    yield start
    for server in running:
        next(server, None)


@pytest.fixture
def quick() -> DownloadConfig:
    """Pauses and time-outs that a test can wait for."""
    return DownloadConfig(attempts=3, backoff_s=0.001, connect_timeout_s=2, read_timeout_s=2, max_unpacked_mib=4)


@pytest.fixture
def data() -> bytes:
    """300,000 bytes that no compressor and no comparison takes for others."""
    return os.urandom(300_000)


RATINGS = b"1::10::5::978300760\n1::20::3::978302109\n2::10::4::978301968\n"
MOVIES = b"10::Am\xe9lie (2001)::Comedy|Romance\n20::Heat (1995)::Action\n"


def zipped(members: Mapping[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return buffer.getvalue()


@pytest.fixture
def make_zip() -> Callable[[Mapping[str | zipfile.ZipInfo, bytes]], bytes]:
    return zipped


@pytest.fixture
def ml_1m_zip() -> Callable[..., bytes]:
    """An archive in the layout of ml-1m; further members may be added, or these replaced."""

    def make(further: Mapping[str | zipfile.ZipInfo, bytes] | None = None) -> bytes:
        plain: dict[str | zipfile.ZipInfo, bytes] = {
            "ml-1m/ratings.dat": RATINGS,
            "ml-1m/movies.dat": MOVIES,
            "ml-1m/users.dat": b"1::F::1::10::48067\n",
            "ml-1m/README": b"licence",
        }
        return zipped(plain | dict(further or {}))

    return make


@pytest.fixture(scope="session")
def real_archives() -> Path:
    """The folder of real archives; RECSYS_TEST_DATA, or `shared/data` beside the repository."""
    named = os.environ.get("RECSYS_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (folder / "ml-100k.zip").is_file():
        pytest.skip(f"no real archives in {folder}; name their folder in RECSYS_TEST_DATA")
    return folder
