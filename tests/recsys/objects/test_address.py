"""Addresses in object stores: parsed, joined, and refused where they hold what they must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.addresses import redacted
from recsys.errors import UsageError
from recsys.objects.address import Address, is_remote


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://b/a/c", ("s3", "b", "a/c")),
        ("S3://b/", ("s3", "b", "")),
        ("gs://b", ("gs", "b", "")),
        ("az://b/run_date=2024-05-06/part-?.csv", ("az", "b", "run_date=2024-05-06/part-?.csv")),
        ("s3://b/a b/%20/me@home", ("s3", "b", "a b/%20/me@home")),
    ],
)
def test_parts(uri: str, parts: tuple[str, str, str]) -> None:
    address = Address.parse(uri)
    assert (address.scheme, address.bucket, address.key) == parts
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("uri", ["hdfs://h/a", "s3:///a", "s3://b/a//c", "s3://b/../c", "s3://b/.", "ftp://x"])
def test_what_is_no_address(uri: str) -> None:
    with pytest.raises(UsageError, match="no address of an object store"):
        Address.parse(uri)


@given(st.text(alphabet="ABC019", min_size=1), st.text(alphabet="abcXYZ019/+=-_", min_size=1))
def test_credentials_are_refused_and_never_shown(key: str, secret: str) -> None:
    for uri in (f"s3://ID{key}:SECRET{secret}@bucket/a", f"s3://bucket/a?access_key=ID{key}&secret=SECRET{secret}"):
        with pytest.raises(UsageError) as error:
            Address.parse(uri)
        assert "SECRET" not in str(error.value)
        assert "SECRET" not in redacted(uri)


def test_a_port_is_no_password() -> None:
    assert redacted("http://host:8080/me@home/r.csv?k=1") == "http://host:8080/me@home/r.csv"


def test_joined() -> None:
    bucket, folder = Address.parse("s3://b"), Address.parse("s3://b/a")
    assert (str(bucket.joined("x/y")), str(folder.joined("x"))) == ("s3://b/x/y", "s3://b/a/x")
    assert folder.joined("") == folder


@pytest.mark.parametrize(
    ("text", "remote"), [("s3://b", True), ("gs://b/a", True), ("/a", False), ("file:///a", False), ("http://h", False)]
)
def test_what_is_remote(text: str, remote: bool) -> None:
    assert is_remote(text) is remote
