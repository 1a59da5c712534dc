"""Archives that mean harm, and what is left of them."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.download.unpack import Member, unpack
from recsys.errors import InputRefused

MakeZip = Callable[[dict[str | zipfile.ZipInfo, bytes]], bytes]


def base_name(name: str) -> str | None:
    """Wants everything that has a name."""
    base = name.rpartition("/")[2]
    return None if base == "." else base


def opened(archive: bytes, folder: Path, most_bytes: int = 1 << 20) -> tuple[Member, ...]:
    folder.mkdir(exist_ok=True)
    return unpack(io.BytesIO(archive), "a.zip", folder, base_name, most_bytes)


def test_members_come_out_with_size_and_hash(make_zip: MakeZip, tmp_path: Path) -> None:
    members = opened(make_zip({"d/b.csv": b"abc", "d/a.csv": b""}), tmp_path / "out")
    assert members == (
        Member("a.csv", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        Member("b.csv", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    )
    assert (tmp_path / "out" / "b.csv").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "name", ["../x", "d/../../x", "/etc/x", "C:/x", "c:x", "..\\x", "d\\x", "d/..", "\\\\host\\share\\x", "//host/x"]
)
def test_a_member_that_leaves_the_folder_is_refused_by_name(name: str, make_zip: MakeZip, tmp_path: Path) -> None:
    archive = make_zip({"d/ratings.csv": b"fine", name: b"harm"})
    with pytest.raises(InputRefused) as caught:
        opened(archive, tmp_path / "out")
    assert repr(name) in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []  # refused before the first byte
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_name_cut_short_by_zipfile_is_refused(tmp_path: Path, make_zip: MakeZip) -> None:
    archive = make_zip({"d/aXcsv": b"1"}).replace(b"d/aXcsv", b"d/a\0csv")
    with pytest.raises(InputRefused, match="not every system reads alike"):
        opened(archive, tmp_path / "out")


@pytest.mark.parametrize(("kind", "why"), [(stat.S_IFLNK, "symbolic link"), (stat.S_IFIFO, "neither a file")])
def test_links_and_pipes_are_refused(kind: int, why: str, make_zip: MakeZip, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("d/ratings.csv")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with pytest.raises(InputRefused, match=rf"'d/ratings\.csv' is .*{why}"):
        opened(make_zip({info: b"/etc/passwd"}), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_is_refused_by_its_own_list(make_zip: MakeZip, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"(?s)more than the limit.*at most 1,000 bytes.*5,000,000"):
        opened(make_zip({"d/a": b"0" * 5_000_000}), tmp_path / "out", most_bytes=1_000)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_limit_is_for_all_members_together(make_zip: MakeZip, tmp_path: Path) -> None:
    archive = make_zip({"d/a": b"0" * 600, "d/b": b"1" * 600})
    with pytest.raises(InputRefused, match="more than the limit"):
        opened(archive, tmp_path / "out", most_bytes=1_199)
    assert len(opened(archive, tmp_path / "whole", most_bytes=1_200)) == 2


def lying(archive: bytes, said: int) -> bytes:
    """The archive with another unpacked size in its headers, the local one and the one in the list."""
    data = bytearray(archive)
    local, central = data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")
    struct.pack_into("<I", data, local + 22, said)
    struct.pack_into("<I", data, central + 24, said)
    return bytes(data)


def test_a_bomb_that_lies_in_its_header_is_refused(make_zip: MakeZip, tmp_path: Path) -> None:
    archive = lying(make_zip({"d/a": b"0" * 5_000_000}), said=10)
    with pytest.raises(InputRefused):
        opened(archive, tmp_path / "out", most_bytes=1_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 1_000


def test_what_comes_out_is_counted_whatever_the_header_says(
    make_zip: MakeZip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that trusts the stream and not the header must still be stopped by the count."""
    archive = make_zip({"d/a": b"small"})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, info: io.BytesIO(b"0" * 5_000_000))
    with pytest.raises(InputRefused, match=r"(?s)at most 1,000 bytes.*reached in the member 'd/a'"):
        opened(archive, tmp_path / "out", most_bytes=1_000)
    assert (tmp_path / "out" / "a").stat().st_size <= 1_000


def test_what_comes_out_is_counted_over_all_members(
    make_zip: MakeZip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip({"d/a": b"small", "d/b": b"small"})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, info: io.BytesIO(b"0" * 600))
    with pytest.raises(InputRefused, match="reached in the member 'd/b'"):
        opened(archive, tmp_path / "out", most_bytes=1_000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("d/a", b"1")
        archive.writestr("d/a", b"2")
    with pytest.raises(InputRefused, match="is in it twice"):
        opened(buffer.getvalue(), tmp_path / "out")


def test_an_encrypted_member_is_refused(make_zip: MakeZip, tmp_path: Path) -> None:
    data = bytearray(make_zip({"d/a": b"1"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1
    with pytest.raises(InputRefused, match="is encrypted"):
        opened(bytes(data), tmp_path / "out")


@pytest.mark.parametrize("damage", ["text", "cut", "flipped"])
def test_a_broken_archive_is_refused(damage: str, make_zip: MakeZip, tmp_path: Path) -> None:
    whole = make_zip({"d/a": bytes(range(256)) * 40})
    middle = whole.find(b"d/a") + 10
    broken = {
        "text": b"<html>not found</html>",
        "cut": whole[:-30],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
    }[damage]
    with pytest.raises(InputRefused, match="cannot be unpacked"):
        opened(broken, tmp_path / "out")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(alphabet="ab./\\:", min_size=1, max_size=8))
def test_nothing_is_ever_written_beside_the_folder(name: str, make_zip: MakeZip, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    with suppress(InputRefused):
        opened(make_zip({name: b"x"}), folder)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
