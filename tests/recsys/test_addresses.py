"""Addresses and names of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.addresses import file_name, joined, local_path, redacted
from recsys.download.names import data_files


@pytest.mark.parametrize(
    ("address", "path"),
    [("/a/b.csv", "/a/b.csv"), ("b.csv", "b.csv"), ("file:///a/b%20c.csv", "/a/b c.csv"), ("s3://b/c", None)],
)
def test_local_paths(address: str, path: str | None) -> None:
    assert local_path(address) == (None if path is None else Path(path))


def test_a_mirror_with_and_without_a_slash() -> None:
    assert joined("https://host/data/", "a.zip") == joined("https://host/data", "a.zip") == "https://host/data/a.zip"


@given(st.text(alphabet="abc123-_", min_size=1), st.text(alphabet="abc123-_", min_size=1))
def test_keys_never_show(user: str, secret: str) -> None:
    shown = redacted(f"https://{user}:KEY{secret}@HOST.example/x.csv?token=KEY{secret}#KEY{secret}")
    assert shown == "https://HOST.example/x.csv"


@pytest.mark.parametrize(
    ("address", "name"),
    [("https://h/a/r.csv?x=/y", "r.csv"), ("s3://b/c/", "c"), ("https://h", "file"), ("https://h/..", "file")],
)
def test_the_name_of_a_remote_file(address: str, name: str) -> None:
    assert file_name(address) == name


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["b/2.csv", "b/1.csv"], ["b/1.csv", "b/2.csv"]),
        (["x/_SUCCESS", "x/.hidden", "x/part-0"], ["x/part-0"]),
        (["x/README", "x/r.csv.gz", "x/s.parquet"], ["x/r.csv.gz", "x/s.parquet"]),
        (["x/ratings-0.csv", "x/items.csv"], ["x/ratings-0.csv"]),
        (["x/Ratings.md", "x/r.csv"], ["x/r.csv"]),
        (["x/_only"], []),
    ],
)
def test_which_files_of_a_folder_are_data(there: list[str], taken: list[str]) -> None:
    assert list(data_files(there)) == taken
