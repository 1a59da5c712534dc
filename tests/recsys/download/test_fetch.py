"""Faults of a connection and of a server, each made on purpose; and what must come of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.config import DownloadConfig
from recsys.download.fetch import fetch
from recsys.download.hashing import Digests, Hasher
from recsys.download.partial import Validators
from recsys.errors import InputRefused, SourceUnavailable


def pin_of(data: bytes) -> Digests:
    hasher = Hasher()
    hasher.update(data)
    return hasher.digests()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_with_its_digests(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    url = web.serve("/a.zip", web.whole(data, etag='"1"'))
    fetched = fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert fetched is not None
    assert fetched.path.read_bytes() == data
    assert fetched.digests == pin_of(data)
    assert fetched.validators.etag == '"1"'
    assert left_over(tmp_path) == ["a.zip"]


def test_digests_against_the_standard_library() -> None:
    assert pin_of(b"abc") == Digests(
        3, "900150983cd24fb0d6963f7d28e17f72", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_dropped_connection_is_continued_by_range(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole(data, etag='"1"', cut=150_000), web.whole(data, etag='"1"'))
    assert fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data)) is not None
    assert (tmp_path / "a.zip").read_bytes() == data
    assert web.ranges == [None, "bytes=150000-"]
    assert web.requests[1].headers["if-range"] == '"1"'
    assert sum(web.sent) == len(data)  # nothing came twice


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 100_000), min_size=1, max_size=2))
def test_wherever_it_drops_the_bytes_are_the_same(
    cuts: list[int], web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    web.requests.clear()
    broken = [web.whole(data, etag='"1"', cut=cut) for cut in cuts]
    url = web.serve("/a.zip", *broken, web.whole(data, etag='"1"'))
    fetch(url, tmp_path / "a.zip", quick)
    assert (tmp_path / "a.zip").read_bytes() == data
    assert sum(web.sent) == len(data)


def test_a_file_that_changed_meanwhile_is_begun_anew(web: Any, quick: DownloadConfig, tmp_path: Path) -> None:
    old, new = b"o" * 90_000, b"n" * 90_000
    url = web.serve("/a.zip", web.whole(old, etag='"1"', cut=40_000), web.whole(new, etag='"2"'))
    fetch(url, tmp_path / "a.zip", quick)
    assert (tmp_path / "a.zip").read_bytes() == new


def test_a_server_without_ranges_is_begun_anew(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    url = web.serve("/a.zip", web.whole(data, etag='"1"', cut=9_000), web.whole(data, etag='"1"', ranges=False))
    fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert (tmp_path / "a.zip").read_bytes() == data
    assert web.sent == [9_000, len(data)]


def test_without_a_validator_only_a_pinned_file_is_continued(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole(data, cut=9_000), web.whole(data))
    fetch(url, tmp_path / "pinned", quick, pin=pin_of(data))
    url = web.serve("/a.zip", web.whole(data, cut=9_000), web.whole(data))
    fetch(url, tmp_path / "unpinned", quick)
    assert web.ranges == [None, "bytes=9000-", None, None]


def test_a_weak_etag_does_not_vouch_for_equal_bytes() -> None:
    assert Validators('W/"1"', "Mon, 01 Jan 2024 00:00:00 GMT").strong == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert Validators('W/"1"', None).strong is None


def test_a_busy_server_is_asked_again(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    url = web.serve("/a.zip", web.status(503), web.status(503), web.whole(data))
    assert fetch(url, tmp_path / "a.zip", quick) is not None
    assert len(web.requests) == 3


def test_after_the_last_try_it_says_why(web: Any, quick: DownloadConfig, tmp_path: Path) -> None:
    url = web.serve("/a.zip", web.status(503))
    with pytest.raises(SourceUnavailable, match=r"(?s)HTTP 503.*3 tries.*--mirror"):
        fetch(url, tmp_path / "a.zip", quick)
    assert len(web.requests) == quick.attempts


def test_the_pause_is_as_long_as_the_server_asks(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    url = web.serve("/a.zip", web.status(429, Retry_After=1), web.whole(data))
    started = time.monotonic()
    assert fetch(url, tmp_path / "a.zip", quick) is not None
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize(
    "asked",
    ["3600", (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")],
    ids=["seconds", "date"],  # the same in all workers
)
def test_a_server_that_asks_for_an_hour_is_left_alone(
    asked: str, web: Any, quick: DownloadConfig, tmp_path: Path
) -> None:
    url = web.serve("/a.zip", web.status(503, Retry_After=asked))
    with pytest.raises(SourceUnavailable, match=r"left alone for \d{4} s"):
        fetch(url, tmp_path / "a.zip", quick)
    assert len(web.requests) == 1


@pytest.mark.parametrize(("status", "advice"), [(404, "not there"), (403, "access"), (410, "not there")])
def test_a_clear_no_is_not_asked_again(
    status: int, advice: str, web: Any, quick: DownloadConfig, tmp_path: Path
) -> None:
    url = web.serve("/a.zip", web.status(status))
    with pytest.raises(SourceUnavailable, match=rf"(?s)HTTP {status}.*{advice}.*--mirror"):
        fetch(url, tmp_path / "a.zip", quick)
    assert len(web.requests) == 1


@pytest.mark.parametrize("sent", [300_004, 1_000])
def test_a_length_that_is_not_the_pinned_one_is_refused(
    sent: int, web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole((data + b"more")[:sent]))
    with pytest.raises(InputRefused, match=rf"(?s)expected: 300,000 bytes.*found: .* file of {sent:,} bytes"):
        fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert len(web.requests) == 2  # once more, from the start
    assert left_over(tmp_path) == []


def test_a_body_shorter_than_announced_is_not_taken_for_whole(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole(data, cut=1_000))
    with pytest.raises(SourceUnavailable, match="could not be fetched"):
        fetch(url, tmp_path / "a.zip", quick)
    assert not (tmp_path / "a.zip").exists()


def test_a_short_body_without_a_length_is_told_by_the_pin(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.unannounced(data[:1_000]), web.whole(data))
    fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert (tmp_path / "a.zip").read_bytes() == data
    assert web.ranges == [None, "bytes=1000-"]


def test_wrong_bytes_are_asked_for_once_more_from_the_start(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    wrong = data[:-1] + bytes([data[-1] ^ 1])
    url = web.serve("/a.zip", web.whole(wrong, etag='"1"'), web.whole(data, etag='"1"'))
    fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert (tmp_path / "a.zip").read_bytes() == data
    assert web.ranges == [None, None]


def test_wrong_bytes_twice_are_refused_and_dropped(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole(data[::-1]))
    with pytest.raises(InputRefused, match=r"(?s)something else.*MD5.*MD5.*proxy.*--mirror"):
        fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert len(web.requests) == 2
    assert left_over(tmp_path) == []


def test_an_endless_body_is_cut_off_at_the_limit(web: Any, quick: DownloadConfig, tmp_path: Path) -> None:
    url = web.serve("/a.zip", web.endless())
    with pytest.raises(InputRefused, match=r"more than 4,194,304 bytes"):
        fetch(url, tmp_path / "a.zip", quick)
    assert left_over(tmp_path) == []
    assert len(web.requests) == 1


def test_an_endless_body_is_cut_off_at_the_pinned_length(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.endless())
    with pytest.raises(InputRefused, match=r"more than 300,000 bytes"):
        fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert left_over(tmp_path) == []


def test_a_silent_server_is_given_up(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    hasty = quick.model_copy(update={"read_timeout_s": 0.1, "attempts": 2})
    url = web.serve("/a.zip", web.whole(data, cut=10, stall_s=1.0))
    with pytest.raises(SourceUnavailable, match=r"(?s)ReadTimeout.*2 tries"):
        fetch(url, tmp_path / "a.zip", hasty)


def test_nobody_listens(web: Any, quick: DownloadConfig, tmp_path: Path) -> None:
    web.stop()
    with pytest.raises(SourceUnavailable, match=r"(?s)ConnectError.*127\.0\.0\.1 is up"):
        fetch(f"{web.url}/a.zip", tmp_path / "a.zip", quick)


def test_a_known_edition_is_not_fetched_again(web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    url = web.serve("/a.zip", web.whole(data, etag='"1"'))
    assert fetch(url, tmp_path / "a.zip", quick, known=Validators('"1"', None)) is None
    assert web.sent == [0]


def test_keys_in_an_address_are_not_told(web: Any, quick: DownloadConfig, tmp_path: Path) -> None:
    address = web.url.replace("//", "//me:secret@") + "/gone.csv?signature=abc"
    with pytest.raises(SourceUnavailable) as caught:
        fetch(address, tmp_path / "a", quick)
    assert "gone.csv" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_an_encrypted_connection_works(tls_web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes) -> None:
    web = tls_web()
    fetch(web.serve("/a.zip", web.whole(data)), tmp_path / "a.zip", quick)
    assert (tmp_path / "a.zip").read_bytes() == data


def test_an_expired_certificate_is_explained_and_not_asked_again(
    tls_web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    web = tls_web(datetime.now(UTC) - timedelta(days=1))
    url = web.serve("/a.zip", web.whole(data))
    with pytest.raises(SourceUnavailable) as caught:
        fetch(url, tmp_path / "a.zip", quick)
    for part in ("127.0.0.1", "certificate has expired", "--mirror", "wait until", "Verification stays on"):
        assert part in str(caught.value)
    assert web.connections == 1
    assert not web.requests
    assert not (tmp_path / "a.zip").exists()


def test_an_unknown_authority_is_explained(
    tls_web: Any, quick: DownloadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    web = tls_web()
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SourceUnavailable, match=r"(?s)unable to get local issuer certificate.*SSL_CERT_FILE"):
        fetch(web.serve("/a.zip", web.whole(data)), tmp_path / "a.zip", quick)


def test_encryption_is_not_given_up_on_the_way(
    tls_web: Any, web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    plain = web.serve("/a.zip", web.whole(data))
    secure = tls_web()
    with pytest.raises(SourceUnavailable, match="without encryption"):
        fetch(secure.serve("/a.zip", secure.status(302, Location=plain)), tmp_path / "a.zip", quick)
    assert left_over(tmp_path) == ["authority.pem"]


def test_a_killed_download_leaves_a_partial_file_and_is_continued(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    url = web.serve("/a.zip", web.whole(data, etag='"1"', cut=200_000, stall_s=30), web.whole(data, etag='"1"'))
    code = (
        "import sys; from pathlib import Path; from recsys.config import DownloadConfig; "
        "from recsys.download.fetch import fetch; fetch(sys.argv[1], Path(sys.argv[2]), DownloadConfig())"
    )
    child = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path / "a.zip")])
    partial = tmp_path / "a.zip.partial"
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    begun = partial.stat().st_size
    assert not (tmp_path / "a.zip").exists()
    assert 100_000 < begun <= 200_000

    fetch(url, tmp_path / "a.zip", quick, pin=pin_of(data))
    assert (tmp_path / "a.zip").read_bytes() == data
    assert web.ranges[1] == f"bytes={begun}-"
    assert web.sent[1] == len(data) - begun
    assert left_over(tmp_path) == ["a.zip"]


def test_the_partial_file_of_another_address_is_not_continued(
    web: Any, quick: DownloadConfig, tmp_path: Path, data: bytes
) -> None:
    broken = web.serve("/broken.zip", web.whole(data[::-1], etag='"1"', cut=1_000))
    with pytest.raises(SourceUnavailable):
        fetch(broken, tmp_path / "a.zip", quick)
    assert (tmp_path / "a.zip.partial").exists()
    fetch(web.serve("/a.zip", web.whole(data, etag='"1"')), tmp_path / "a.zip", quick)
    assert (tmp_path / "a.zip").read_bytes() == data
