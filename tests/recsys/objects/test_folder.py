"""Objects in a real server: written whole, checked, read in one edition; the proxy before it breaks what it is told."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from recsys.errors import SourceUnavailable, UsageError
from recsys.objects import folder as folders
from recsys.objects import service
from recsys.objects.failures import AccessDenied
from recsys.objects.folder import MIB, ObjectFolder, in_parallel, md5_etag, part_bytes


@pytest.fixture
def folder(s3: Any) -> ObjectFolder:
    return ObjectFolder.at(s3.uri)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a second."""
    for name, value in {"RETRIES": 3, "FIRST_PAUSE_S": 0.01, "LONGEST_PAUSE_S": 0.05, "REQUEST_S": 1}.items():
        monkeypatch.setattr(service, name, value)
    service.connect.cache_clear()


def file_of(path: Path, size: int, seed: int = 1) -> tuple[Path, str]:
    path.write_bytes(random.Random(seed).randbytes(size))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 3 * MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_a_file_comes_back(folder: ObjectFolder, tmp_path: Path, size: int) -> None:
    source, sha256 = file_of(tmp_path / "source", size)
    assert folder.upload(source, "a/b", sha256)
    found = folder.look("a/b")
    assert found is not None
    assert found.bytes == size
    assert found.etag == f'"{md5_etag(source, part_bytes(size))}"', "told by its ETag, not read again"
    assert b"".join(folder.blocks(found)) == source.read_bytes()
    assert folder.sha256(found) == sha256
    assert not folder.upload(source, "a/b", sha256), "what is there is not sent again"


def test_another_file_of_the_same_size_is_sent(folder: ObjectFolder, tmp_path: Path) -> None:
    for seed in (1, 2):
        source, sha256 = file_of(tmp_path / "source", MIB, seed)
        assert folder.upload(source, "a", sha256)
    assert folder.sha256(folder.find()[0]) == sha256


def test_a_service_whose_etag_is_no_md5_is_read(
    folder: ObjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sha256 = file_of(tmp_path / "source", 9 * MIB)
    monkeypatch.setattr(folders, "md5_etag", lambda source, part: "of another kind")
    assert folder.upload(source, "a", sha256)
    assert not folder.upload(source, "a", sha256)
    with pytest.raises(SourceUnavailable, match="is not what was written"):
        folder.upload(source, "a", "0" * 64)


def test_listing(folder: ObjectFolder) -> None:
    for path in ("b", "a/2", "a/1", "a/deep/er/3", "ab/4", "a b/ü %20?&=+.csv"):
        folder.put(path, b"")
    assert [found.path for found in folder.find()] == sorted(
        ("b", "a/2", "a/1", "a/deep/er/3", "ab/4", "a b/ü %20?&=+.csv")
    )
    assert [found.path for found in folder.find("a")] == ["a/1", "a/2", "a/deep/er/3"], "ab/ is another folder"
    assert [found.path for found in folder.find("a", deep=False)] == ["a/1", "a/2"]
    assert folder.find("nothing") == []
    assert folder.look("nothing") is None
    assert folder.read("nothing") is None


def test_more_than_a_page(folder: ObjectFolder) -> None:
    paths = [f"{number:04d}" for number in range(1_050)]
    in_parallel(lambda path: folder.put(path, b""), paths)
    assert [found.path for found in folder.find()] == paths
    folder.remove([*paths[:1_049], "nothing"])
    assert [found.path for found in folder.find()] == paths[1_049:]


def test_one_edition_is_read(folder: ObjectFolder, tmp_path: Path) -> None:
    old, new = (file_of(tmp_path / name, 9 * MIB, seed) for seed, name in enumerate(("old", "new")))
    folder.upload(old[0], "a", old[1])
    found = folder.look("a")
    assert found is not None
    blocks = folder.blocks(found)
    next(blocks)
    folder.upload(new[0], "a", new[1])
    with pytest.raises(SourceUnavailable, match="was replaced while it was read"):
        next(blocks)


def test_failures_that_pass_are_outlasted(faulty: Any, folder: ObjectFolder, quick: None, tmp_path: Path) -> None:
    """Of every request the first try fails, each time in another way."""
    source, sha256 = file_of(tmp_path / "source", 20 * MIB)
    seen, kinds = set(), ("500", "torn", "503", "lost")

    def first_try(asked: Any) -> str | None:
        new = (asked.method, asked.path) not in seen
        seen.add((asked.method, asked.path))
        return kinds[len(seen) % len(kinds)] if new else None

    faulty.fault = first_try
    assert folder.upload(source, "a", sha256)
    found = folder.look("a")
    assert found is not None
    assert folder.sha256(found) == sha256
    assert set(faulty.failed) == set(kinds)


def test_an_answer_that_breaks_off_is_asked_for_again(faulty: Any, folder: ObjectFolder, quick: None) -> None:
    """Twice each, and the library itself asks again only where no answer began."""
    folder.put("a", b"12345678")
    (found,) = folder.find()
    for ask in (folder.find, lambda: folder.read("a"), lambda: folder.sha256(found)):
        left = iter(("torn", "torn"))
        faulty.fault = lambda asked, left=left: next(left, None) if asked.method == "GET" else None
        assert ask()
    faulty.fault = lambda asked: "torn" if asked.method == "GET" else None
    with pytest.raises(SourceUnavailable, match="could not be listed to the end"):
        folder.find()


def test_a_silent_service_is_given_up(faulty: Any, folder: ObjectFolder, quick: None) -> None:
    faulty.silence_s, faulty.fault = 1.2, lambda asked: "silent"
    with pytest.raises(SourceUnavailable, match="could not be read"):
        folder.look("a")
    assert len(faulty.failed) == 4


def test_a_torn_upload_is_never_seen(faulty: Any, folder: ObjectFolder, quick: None, tmp_path: Path) -> None:
    source, sha256 = file_of(tmp_path / "source", 20 * MIB)
    faulty.fault = lambda asked: "torn" if asked.method == "PUT" and "partNumber=2" in asked.path else None
    with pytest.raises(SourceUnavailable, match="could not be written"):
        folder.upload(source, "a", sha256)
    assert folder.find() == []
    faulty.fault = lambda asked: None
    assert folder.upload(source, "a", sha256)


def test_an_upload_changed_on_the_way_is_sent_again(
    folder: ObjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sha256 = file_of(tmp_path / "source", MIB)
    broken, _ = file_of(tmp_path / "broken", MIB, seed=2)
    bucket, tries = service.connect(folder.address.scheme, folder.address.bucket), []

    class Changing:
        def put(self, key: str, file: Path, **more: Any) -> Any:
            tries.append(key)
            return bucket.put(key, file if len(tries) == 3 else broken, **more)

        head = staticmethod(bucket.head)
        get = staticmethod(bucket.get)

    monkeypatch.setattr(folders, "connect", lambda *_: Changing())
    assert folder.upload(source, "a", sha256)
    assert len(tries) == 3


def test_who_may_not_is_told_so(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETthatiswrong")
    service.connect.cache_clear()
    asked = (lambda: folder.look("a"), folder.find, lambda: folder.put("a", b""), lambda: folder.read("a"))
    for ask in asked:
        with pytest.raises(AccessDenied, match="may not be") as error:
            ask()
        assert "403" in str(error.value)
        assert "docs/object-stores.md" in str(error.value)
        assert "SECRET" not in str(error.value)


def test_no_credentials(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    service.connect.cache_clear()
    with pytest.raises(UsageError, match="no credentials"):
        folder.find()


def test_a_profile_is_found(folder: ObjectFolder, s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    lines = [f"{name.lower()}={s3.env[name]}" for name in names]
    (tmp_path / "credentials").write_text("\n".join(["[nightly]", *lines]))
    for name in names:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    service.connect.cache_clear()
    folder.put("a", b"1")
    assert folder.read("a")[0] == b"1"  # type: ignore[index]


def test_http_must_be_allowed(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    service.connect.cache_clear()
    with pytest.raises(SourceUnavailable, match="AWS_ALLOW_HTTP"):
        folder.find()


def test_parts_of_a_large_file() -> None:
    assert part_bytes(0) == 8 * MIB
    for size in (9_000 * 8 * MIB, 9_000 * 8 * MIB + 1, 5 << 40):
        assert part_bytes(size) % MIB == 0
        assert -(-size // part_bytes(size)) <= 9_000
