"""Titles and genres: one row an id that was asked for."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import InputRefused
from recsys.ratings import ItemsFormat
from recsys.read import read_items

MOVIES = (
    "movieId,title,genres\n"
    '2,"American President, The (1995)",Comedy|Drama\n'
    '1,"He said ""no""",(no genres listed)\n'
    "1,Another title,Drama\n"
    "9,Not asked for,Drama\n"
    "4,,Drama\n"
)


@pytest.fixture
def items(tmp_path, snapshot):
    def run(content, ids, form=None, name="movies.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_items(snapshot([], [path], items_format=form), pa.array(ids))

    return run


def test_one_row_an_id_in_the_order_asked(items):
    table = items(MOVIES, [4, 2, 3, 1])
    assert table.schema == pa.schema({"item_id": pa.int64(), "title": pa.string(), "genres": pa.list_(pa.string())})
    assert table.to_pylist() == [
        {"item_id": 4, "title": None, "genres": ["Drama"]},
        {"item_id": 2, "title": "American President, The (1995)", "genres": ["Comedy", "Drama"]},
        {"item_id": 3, "title": None, "genres": None},
        {"item_id": 1, "title": 'He said "no"', "genres": []},
    ]


def test_string_ids(items):
    table = items("movieId,title\n007,Bond\n7,Seven\n", ["7", "007"])
    assert table["title"].to_pylist() == ["Seven", "Bond"]
    assert table["item_id"].type == pa.string()


def test_rows_that_cannot_be_read_are_counted_in_one_warning(items, caplog):
    content = MOVIES.encode() + b"x,No integer,\n5,caf\xe9,\n6,Too,many,fields\n7\n3,Good,\n"
    with caplog.at_level(logging.WARNING):
        assert items(content, [3, 5, 6, 7])["title"].to_pylist() == ["Good", None, None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "movies.csv: 4 of 10 rows left out, they cannot be read"
    ]


def test_movielens_1m(items):
    form = ItemsFormat(delimiter="::", columns=("movieId", "title", "genres"), encoding="latin-1")
    table = items('1::Am\xe9lie, "the" one::Comedy|Drama\r\n'.encode("latin-1"), [1], form)
    assert table.to_pylist() == [{"item_id": 1, "title": 'Am\xe9lie, "the" one', "genres": ["Comedy", "Drama"]}]


def test_genres_as_flags(items):
    form = ItemsFormat(
        delimiter="|", columns=("movieId", "title", "Action", "Drama"), genres=None, genre_flags=("Action", "Drama")
    )
    table = items("1|A|0|1\n2|B|1|1\n3|C|0|0\n", [1, 2, 3], form)
    assert table["genres"].to_pylist() == [["Drama"], ["Action", "Drama"], []]


@pytest.mark.parametrize("genres", [["a|b", None], [["a", "b"], None]])
@pytest.mark.parametrize("ids", [[1, 2], ["1", "2"]])
def test_parquet(items, tmp_path, genres, ids):
    pq.write_table(pa.table({"movieId": ids, "title": ["One", None], "genres": genres}), tmp_path / "m.parquet")
    table = items((tmp_path / "m.parquet").read_bytes(), [2, 1], name="movies.parquet")
    assert table["title"].to_pylist() == [None, "One"]
    assert table["genres"].to_pylist() == [None, ["a", "b"]]


def test_without_a_file_all_is_unknown(snapshot):
    table = read_items(snapshot(), pa.array(["a", "b"]))
    assert table.to_pylist() == [{"item_id": each, "title": None, "genres": None} for each in ("a", "b")]


def test_a_missing_file_is_refused(tmp_path, snapshot):
    with pytest.raises(InputRefused, match="is not there"):
        read_items(snapshot([], [tmp_path / "gone.csv"]), pa.array([1]))


@pytest.mark.parametrize("content", ["item,name\n1,A\n", "movieId,name\n1,A\n", b"\xff\xfe1"])
def test_a_file_without_the_columns_is_refused(items, content):
    with pytest.raises(InputRefused):
        items(content, [1])
