"""Pairs to predict: every one of them, in order."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import InputRefused, SourceUnavailable
from recsys.read import read_pairs


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", b"user_id,item_id\n3,a\n1,b\n3,a\n"),
        ("p.csv", b'\xef\xbb\xbfitem_id,note,user_id\r\n"a","x, y",3\r\nb,,1\r\n\r\na,,3'),
        ("p.tsv.gz", gzip.compress(b"user_id\titem_id\n3\ta\n1\tb\n3\ta\n")),
    ],
)
def test_pairs_as_they_stand(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    table = read_pairs(tmp_path / name)
    assert table.to_pydict() == {"user_id": [3, 1, 3], "item_id": ["a", "b", "a"]}
    assert table.schema.types == [pa.int64(), pa.string()]


def test_parquet_keeps_its_types(tmp_path):
    pq.write_table(pa.table({"u": ["3", "1"], "i": pa.array([7, 8], pa.int32())}), tmp_path / "p.parquet")
    table = read_pairs(tmp_path / "p.parquet", user="u", item="i")
    assert table.to_pydict() == {"user_id": ["3", "1"], "item_id": [7, 8]}


def test_no_pairs(tmp_path):
    (tmp_path / "p.csv").write_text("user_id,item_id\n")
    assert len(read_pairs(tmp_path / "p.csv")) == 0


def test_a_pair_that_cannot_be_read_is_refused_with_its_line(tmp_path):
    (tmp_path / "p.csv").write_text("user_id,item_id\n1,2\n1\n\n,2\n1,\n")
    message = (
        r"(?s)3 pairs of p.csv.*line 3: 2 fields expected, 1 found; line 5: user id is missing; line 6: item id is"
    )
    with pytest.raises(InputRefused, match=message):
        read_pairs(tmp_path / "p.csv")


def test_a_missing_column_or_file(tmp_path):
    (tmp_path / "p.csv").write_text("user,item\n1,2\n")
    with pytest.raises(InputRefused, match="'user_id'"):
        read_pairs(tmp_path / "p.csv")
    with pytest.raises(SourceUnavailable):
        read_pairs(tmp_path / "gone.csv")
