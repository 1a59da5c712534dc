"""Pairs to predict: every one of them, in order, as the texts that stand in the file."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.download.columns import pairs_format
from recsys.errors import InputRefused, SourceUnavailable
from recsys.ratings import RatingsFormat
from recsys.read import read_pairs

EXPECTED = {"user_id": ["3", "1", "3"], "item_id": ["a", "b", "a"]}
FORM = RatingsFormat("user_id", "item_id", "", None)


def read(path, columns=None):
    return read_pairs(path, pairs_format(path, columns or {}))


def zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", b"user_id,item_id\n3,a\n1,b\n3,a\n"),
        ("p.csv", b'\xef\xbb\xbfitem_id,note,user_id\r\n"a","x, y",3\r\nb,,1\r\n\r\na,,3'),
        ("p.tsv.gz", gzip.compress(b"userId\tmovieId\n3\ta\n1\tb\n3\ta\n")),
        ("p.txt.zst", zstd(b"uid::asin::rating\n3::a::5\n1::b::5\n3::a::1\n")),
        ("p.csv", b"user;item\n3;a\n1;b\n3;a\n"),
        ("p.csv", b"User-ID|ISBN\n3|a\n1|b\n3|a\n"),
    ],
    ids=["commas", "more columns", "tabs in gzip", "colons in zstd", "semicolons", "bars"],
)
def test_pairs_as_they_stand_however_they_are_written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    table = read(tmp_path / name)
    assert table.to_pydict() == EXPECTED
    assert table.schema.types == [pa.string(), pa.string()]


def test_names_that_are_given_win(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"user,who,what\nx,3,a\nx,1,b\nx,3,a\n")
    assert read(tmp_path / "p.csv", {"user": "who", "item": "what"}).to_pydict() == EXPECTED


def test_numbers_without_a_header(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"3::7::5::978300760\n1::8::3::978300761\n")
    assert read(tmp_path / "p.csv").to_pydict() == {"user_id": ["3", "1"], "item_id": ["7", "8"]}


def test_parquet_as_its_csv(tmp_path):
    columns = {"user_id": ["3", None, "1"], "movieId": pa.array([7, 8, 9], pa.int32()), "f": [1.0, None, 2.5]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert read(tmp_path / "p.parquet").to_pydict() == {"user_id": ["3", "", "1"], "item_id": ["7", "8", "9"]}
    assert read(tmp_path / "p.parquet", {"item": "f"})["item_id"].to_pylist() == ["1.0", "", "2.5"]


def test_no_pairs(tmp_path):
    (tmp_path / "p.csv").write_text("user_id,item_id\n")
    assert read(tmp_path / "p.csv").to_pydict() == {"user_id": [], "item_id": []}


def test_a_row_that_does_not_come_apart_is_refused_with_its_line(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"user_id,item_id\n1,2\n1\n\n,2\n1,\n1,\xff\n")
    with pytest.raises(InputRefused, match=r"(?s)2 rows of p.csv.*line 3: 2 fields expected, 1 found; line 7: not UTF"):
        read(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\n\n", "no line with text"),
        (b"who,what\n1,2\n", r"(?s)a column for user.*--columns"),
        (b"id,user_id\n1,2\n", "a column for item"),
        (b"user_id\n1\n", "one column in the line"),
        ("user_id,item_id\n".encode("utf-16"), r"(?s)UTF-16.*iconv"),
    ],
)
def test_what_is_no_table_of_pairs(tmp_path, content, message):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(InputRefused, match=message):
        read(tmp_path / "p.csv")


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceUnavailable):
        read_pairs(tmp_path / "gone.csv", FORM)
