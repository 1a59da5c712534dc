"""A real S3-compatible server on this machine, and a proxy before it that fails as told. Loaded by conftest.py."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote

import httpx
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

KEY, SECRET = "AKIDFORTESTS", "SECRETfortestsSECRETfortests"
BUCKET = "tests"
START_S = 60  # of SeaweedFS on a busy machine; 4 s on an idle one
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


def environment(url: str) -> dict[str, str]:
    """What a process needs to use the server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class SeaweedFS:
    """SeaweedFS with its S3 gate, on ports of this machine alone."""

    folder: Path
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def __enter__(self) -> SeaweedFS:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        config.write_text(json.dumps({"identities": [identity]}))
        kinds = (
            "s3",
            "s3.port.grpc",
            "master",
            "master.port.grpc",
            "volume",
            "volume.port.grpc",
            "filer",
            "filer.port.grpc",
        )
        ports = [
            f"-{kind if '.port' in kind else f'{kind}.port'}={port}"
            for kind, port in zip(kinds, self.ports, strict=True)
        ]
        more = ("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", f"-s3.config={config}")
        sizes = ("-volume.max=100", "-master.volumeSizeLimitMB=256")
        weed = Path(sys.executable).with_name("weed")
        command = [
            str(weed), f"-logdir={self.folder}", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-dir={self.folder / 'data'}", "-filer", "-s3", *ports, *more, *sizes,
        ]  # fmt: skip
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.kill()  # it would take its time to end in order, and nothing of it is kept
        self.process.wait()

    def _wait(self) -> None:
        """Until it takes an object: the gate answers before there is a volume to write to."""
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.ports[2]}/dir/assign", timeout=2).json().get("fid"):
                    self._make_bucket()
                    return
            except (httpx.TransportError, BotoCoreError, ValueError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"no SeaweedFS: {(self.folder / 'log').read_text()[-2000:]}")

    def _make_bucket(self) -> None:
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        client = get_session().create_client("s3", endpoint_url=self.url, **keys)
        client.create_bucket(Bucket=BUCKET)


@dataclass
class Asked:
    """One request: of which the fault may depend."""

    method: str
    path: str
    number: int  # from 1


Fault = Callable[[Asked], str | None]


def no_fault(asked: Asked) -> str | None:
    return None


@dataclass
class Proxy:
    """Passes requests on as they are, or fails.

    `fault` says for each request: None (pass it on), "500", "lost" (pass it on, and answer 500), "silent" (pass nothing
    on, and close after a while), "torn" (pass half of the answer on, or half of what is sent), or a status.
    """

    target: str
    fault: Fault = no_fault
    silence_s: float = 0.2
    asked: list[Asked] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        proxy, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with lock:
                    asked = Asked(self.command, unquote(self.path), len(proxy.asked) + 1)
                    proxy.asked.append(asked)
                    fault = proxy.fault(asked)
                    if fault is not None:
                        proxy.failed.append(fault)
                proxy._answer(self, body, fault)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that is killed hangs up
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes, fault: str | None) -> None:
        if fault == "silent":
            time.sleep(self.silence_s)
            handler.close_connection = True
            return
        if fault == "torn" and body:
            self._pass_half(handler, body)
            handler.close_connection = True
            return
        status, headers, answer = (int(fault), [], b"") if fault and fault.isdecimal() else self._pass(handler, body)
        if fault == "lost":
            status, headers, answer = 500, [], b""
        handler.send_response_only(status)
        for name, value in headers:
            handler.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer[: len(answer) // 2] if fault == "torn" else answer)
        handler.close_connection = fault is not None

    def _pass(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = self._connect()
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        got = connection.getresponse()
        answer = got.read()
        headers = [(name, value) for name, value in got.getheaders() if name.lower() not in HOP]
        connection.close()
        return got.status, headers, answer

    def _pass_half(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """The service sees an upload that ends too early."""
        connection = self._connect()
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body[: len(body) // 2])
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.target.removeprefix("http://"), timeout=30)
