"""Tables of the rules: types told from text, ids matched, what cannot be read refused."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import UsageError
from recsys.rules.tables import column_names, plain, read_by_id, read_columns, read_ids


@pytest.mark.parametrize(("texts", "kind", "values"), [
    (["1", " 2 ", ""], pa.int64(), [1, 2, None]),
    (["1", "2.5", "nan"], pa.float64(), [1.0, 2.5, None]),
    (["2026-01-02", None], pa.date32(), [date(2026, 1, 2), None]),
    (["true", "false"], pa.bool_(), [True, False]),
    (["a", " b", " "], pa.string(), ["a", "b", None]),
    (["1", "a"], pa.string(), ["1", "a"]),
    (["", None], pa.string(), [None, None]),
])  # fmt: skip
def test_text_becomes_what_all_of_it_reads_as(texts, kind, values):
    found = plain(pa.array(texts, pa.string()), "x", "t.csv")
    assert (found.type, found.to_pylist()) == (kind, values)


@pytest.mark.parametrize(("column", "values"), [
    (pa.array([1, None], pa.uint8()), [1, None]),
    (pa.array([1.5, float("nan")], pa.float32()), [1.5, None]),
    (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    (pa.array([datetime(2026, 1, 2, 23, tzinfo=UTC)], pa.timestamp("ns", "UTC")), [date(2026, 1, 2)]),
    (pa.array([["a"], None], pa.large_list(pa.string())), [["a"], None]),
    (pa.array([[1, 2]], pa.list_(pa.int32(), 2)), [[1.0, 2.0]]),
    (pa.nulls(2), [None, None]),
])  # fmt: skip
def test_columns_of_parquet_are_brought_to_few_types(column, values):
    assert plain(column, "x", "t.parquet").to_pylist() == values


def test_a_type_that_nothing_is_compared_with_is_refused():
    with pytest.raises(UsageError, match=r"'x' of t\.parquet is of the type struct"):
        plain(pa.array([{"a": 1}]), "x", "t.parquet")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_are_found_by_id(tmp_path, delimiter):
    file = tmp_path / "t.csv"
    file.write_text("\ufeffname,id,year\nb,2.0,1990\na,7,\n,3,2000\nx,many,1\ny,,1\n".replace(",", delimiter))
    assert column_names(file) == ["name", "id", "year"]
    found = read_by_id(file, "id", ["year", "name"], "integer", pa.array([1, 2, 3, 7]))
    assert found.to_pydict() == {"year": [None, 1990, 2000, None], "name": [None, "b", None, "a"]}


def test_parquet_and_the_id_itself(tmp_path):
    pq.write_table(pa.table({"id": [7, 2], "year": [1, 2]}), tmp_path / "t")
    found = read_by_id(tmp_path / "t", "id", ["year", "id"], "string", pa.array(["2", "3", "7"]))
    assert found.to_pydict() == {"year": [2, None, 1], "id": [2, None, 7]}


def test_a_list_of_ids_may_be_a_single_column(tmp_path):
    file = tmp_path / "ids.csv"
    file.write_text("item_id\n3\n3\n\nx\n2\n")
    ids, strange = read_ids(file, "item_id", "integer")
    assert (ids.to_pylist(), strange) == ([3, 2], 1)


def test_an_id_with_two_rows_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("id,year\n1,2\n1,3\n")
    with pytest.raises(UsageError, match="more than one row"):
        read_by_id(tmp_path / "t.csv", "id", ["year"], "integer", pa.array([1]))


@pytest.mark.parametrize(
    "content", [None, b"", b"PAR1 and no more", b"a,b\n1,2\n3\n", b"a,\xff\n1,2\n", b"a,b\n\xff,2\n"]
)
def test_what_is_no_table_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read|has not one column"):
        read_columns(tmp_path / "t", ["a", "b"])


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    (tmp_path / "t.csv").write_text("id,yaer\n1,2\n")
    with pytest.raises(UsageError, match="'year'") as error:
        read_columns(tmp_path / "t.csv", ["year"])
    assert "'yaer'" in error.value.found
