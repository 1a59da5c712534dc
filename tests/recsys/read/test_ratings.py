"""Examples: what is read from small files."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from recsys.config import InputConfig
from recsys.read import RowsRefused

HEADER = "userId,movieId,rating,timestamp\n"
ROWS = HEADER + "30,7,4.5,100\n4,7,3,50\n30,11,0.5,70\n"


def triples(ratings):
    """Rows as (user id, item id, rating, timestamp) in order."""
    users = ratings.user_ids.take(pa.array(ratings.user_index)).to_pylist()
    items = ratings.item_ids.take(pa.array(ratings.item_index)).to_pylist()
    times = [None] * len(ratings) if ratings.timestamp is None else ratings.timestamp.tolist()
    return list(zip(users, items, ratings.rating.tolist(), times, strict=True))


def test_the_result_by_hand(read):
    ratings = read(ROWS)
    assert ratings.user_ids.equals(pa.array([4, 30]))
    assert ratings.item_ids.equals(pa.array([7, 11]))
    np.testing.assert_array_equal(ratings.user_index, np.array([1, 0, 1], np.int32), strict=True)
    np.testing.assert_array_equal(ratings.item_index, np.array([0, 0, 1], np.int32), strict=True)
    np.testing.assert_array_equal(ratings.rating, np.array([4.5, 3, 0.5], np.float32), strict=True)
    np.testing.assert_array_equal(ratings.timestamp, np.array([100, 50, 70], np.int64), strict=True)
    assert (ratings.rows_read, ratings.repeated, len(ratings.quarantine)) == (3, 0, 0)
    assert ratings.seen_user_index.dtype == ratings.seen_item_index.dtype == np.int32


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        "\n\n" + ROWS,
        ROWS.removesuffix("\n"),
        ROWS.replace("\n", "\n\n"),
        ROWS.replace("\n", "\r\n\r\n").removesuffix("\r\n"),
        ROWS.replace("4,7,3,50", '"4","7","3","50"'),
        ROWS.replace("4,7,3,50", '"4","7","3","50"').replace("\n", "\r\n"),
        ROWS.replace("4,7,3,50", " 4,\t7 , 3.0e0,+50 "),
        ROWS.replace("4,7,3,50", "4,7,+3.,1970-01-01T00:00:50Z"),
        ROWS.replace("4,7,3,50", "4,7,3,50.75"),
        ROWS.replace("userId", '"userId"').replace("rating,", "rating ,"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 13, 1 << 20])
def test_spellings_of_the_same_ratings(read, content, block_bytes):
    assert triples(read(content, block_bytes=block_bytes)) == triples(read(ROWS))


@pytest.mark.parametrize(
    ("ending", "compress"), [("gz", gzip.compress), ("zst", lambda b: pa.compress(b, "zstd", asbytes=True))]
)
def test_compressed(read, ending, compress):
    assert triples(read(compress(ROWS.encode()), name="r{}.csv." + ending)) == triples(read(ROWS))


def test_other_columns_in_any_order(read):
    content = "note,rating,item,user\n,4,b,u\n\u00e9,2,a,u\n"
    ratings = read(content, user="user", item="item", timestamp=None)
    assert triples(ratings) == [("u", "b", 4.0, None), ("u", "a", 2.0, None)]
    assert ratings.timestamp is None


def test_headerless_with_a_long_delimiter(read):
    ratings = read("1::2::3::4\n5::6::5::7\n", delimiter="::", columns=("userId", "movieId", "rating", "timestamp"))
    assert triples(ratings) == [(1, 2, 3.0, 4), (5, 6, 5.0, 7)]


def test_a_long_delimiter_inside_a_quoted_id_is_put_back(read):
    ratings = read('u::i::r\n"a::b"::x::3\n', delimiter="::", user="u", item="i", rating="r", timestamp=None)
    assert ratings.user_ids.to_pylist() == ["a::b"]


def test_two_files_each_with_its_own_header(read):
    ratings = read(ROWS, "rating,timestamp,movieId,userId\n1.5,9,7,5\n", "")
    assert triples(ratings) == [*triples(read(ROWS)), (5, 7, 1.5, 9)]


def test_other_encodings(read):
    ratings = read("userId,movieId,rating,timestamp\ncaf\xe9,1,3,4\n".encode("latin-1"), encoding="latin-1")
    assert ratings.user_ids.to_pylist() == ["caf\xe9"]


def test_ids_that_look_like_nothing_stay_what_they_are(read):
    ids = [
        "NA",
        "null",
        "nan",
        "None",
        "NaN",
        "N/A",
        "true",
        "inf",
        "Смит, Анна",
        '5" disc',
        "007",
        "-0",
        "é",
        "z",
        "😀",
    ]
    written = pa.table({"userId": ids, "movieId": ids[::-1], "rating": [3.0] * len(ids), "timestamp": [1] * len(ids)})
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(written, sink)
    ratings = read(sink.getvalue().to_pybytes())
    assert triples(ratings) == list(zip(ids, ids[::-1], [3.0] * len(ids), [1] * len(ids), strict=True))
    assert ratings.user_ids.to_pylist() == sorted(ids, key=lambda text: text.encode())


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_byte_order_mark_is_one_only_at_the_start(read, block_bytes):
    ratings = read("\ufeff" + HEADER + "a,1,3,1\n\ufeffb,1,3,1\n", block_bytes=block_bytes)
    assert ratings.user_ids.to_pylist() == ["a", "\ufeffb"]


def test_ids_at_the_ends_of_int64(read):
    low, high = -(2**63), 2**63 - 1
    ratings = read(f"{HEADER}{low},{high},3,1\n-5,{high},3,1\n")
    assert ratings.user_ids.equals(pa.array([low, -5]))
    assert ratings.item_ids.equals(pa.array([high]))


def test_ids_beyond_int64_are_strings(read):
    assert read(f"{HEADER}{2**63},1,3,1\n").user_ids.equals(pa.array([str(2**63)]))


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
@pytest.mark.parametrize("strangers", [0, 1, 2])
@pytest.mark.parametrize("at_the_start", [True, False])
def test_ids_are_integers_when_nearly_all_are(read, strangers, at_the_start, block_bytes):
    rows = [f"{k},{k},3,1\n" for k in range(100)]
    for k in range(strangers):
        rows[k if at_the_start else -1 - k] = f"guest,{k},3,1\n"
    ratings = read(HEADER + "".join(rows), config=InputConfig(max_bad_fraction=0.01), block_bytes=block_bytes)
    assert ratings.user_ids.type == (pa.string() if strangers > 1 else pa.int64())
    assert ratings.item_ids.type == pa.int64()
    assert len(ratings.quarantine) == (strangers == 1)


def test_ids_as_pandas_writes_them_beside_a_missing_one(read):
    plain = read(HEADER + "1,10,3,1\n42,10,3,1\n")
    floats = read(HEADER + "1.0,10,3,1\n42.0,10,3,1\n,10,3,1\n")
    assert floats.user_ids.equals(plain.user_ids)
    assert triples(floats) == triples(plain)
    assert floats.quarantine["reason"].to_pylist() == ["user id is missing"]


def test_fractions_are_strings_as_other_texts_are(read):
    assert read(HEADER + "1.5,1,3,1\n2.0,1,3,1\n", config=InputConfig()).user_ids.to_pylist() == ["1.5", "2.0"]


def test_one_integer_in_two_spellings_is_one_id(read):
    ratings = read(HEADER + "1,7,3,1\n1.0,7.00,4,2\n")
    assert triples(ratings) == [(1, 7, 4.0, 2)]
    assert ratings.repeated == 1


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_leading_zero_is_never_dropped(read, block_bytes):
    """ "01" may be another customer than "1": strings where there are many, refused where there are few."""
    ratings = read(HEADER + "1,7,3,1\n01,7,3,1\n", config=InputConfig(), block_bytes=block_bytes)
    assert ratings.user_ids.to_pylist() == ["01", "1"]
    many = "".join(f"{k},7,3,1\n" for k in range(200))
    ratings = read(HEADER + many + "01,7,3,1\n", config=InputConfig(), block_bytes=block_bytes)
    assert ratings.user_ids.to_pylist() == list(range(200))
    assert ratings.quarantine["reason"].to_pylist() == ["user id is not an integer"]


def test_milliseconds_are_told_and_kept(read, caplog):
    rows = "1,1,3,978300760000\n1,2,3,978300761000\n"
    assert read(HEADER + rows).timestamp.tolist() == [978300760000, 978300761000]
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 2 timestamps look like milliseconds, not seconds; their order is the same"
    ]
    caplog.clear()
    read(HEADER + rows + "1,3,3,978300762\n")
    assert "2 of 3 timestamps look like milliseconds, not seconds; beside seconds" in caplog.text
    caplog.clear()
    read(HEADER + "1,1,3,4102444800\n")
    assert not caplog.records


def test_decimal_commas_are_told(read):
    content = "userId;movieId;rating;timestamp\n1;1;3,5;1\n1;2;4,0;1\n"
    with pytest.raises(RowsRefused, match=r"(?s)rating has a decimal comma: 2.*3\.5, not 3,5"):
        read(content, delimiter=";", config=InputConfig())


@pytest.mark.parametrize(("id_type", "expected"), [("string", ["10", "9"]), ("integer", [9, 10]), ("auto", [9, 10])])
def test_the_id_type_can_be_chosen(read, id_type, expected):
    ratings = read(HEADER + "9,9,3,1\n10,10,3,1\n", config=InputConfig(id_type=id_type))
    assert ratings.user_ids.to_pylist() == expected


def test_a_repeated_pair_keeps_the_latest_and_the_last_of_equals(read):
    rows = ["1,1,1,50", "1,2,2,10", "1,1,3,90", "1,1,4,20", "1,2,5,10", "2,1,1,0"]
    ratings = read(HEADER + "\n".join(rows))
    assert triples(ratings) == [(1, 1, 3.0, 90), (1, 2, 5.0, 10), (2, 1, 1.0, 0)]
    assert (ratings.repeated, ratings.rows_read) == (3, 6)


def test_a_repeated_pair_without_times_keeps_the_last(read):
    ratings = read("userId,movieId,rating\n1,1,2\n1,1,5\n1,1,3\n", timestamp=None)
    assert triples(ratings) == [(1, 1, 3.0, None)]


def test_the_scale_of_the_configuration_wins(read):
    config = InputConfig(rating_min=0, rating_max=100, rating_step=0.1, max_bad_fraction=0.5)
    ratings = read(HEADER + "1,1,99.9,0\n1,2,3.3,0\n1,3,0.05,0\n1,4,100.1,0\n", config=config)
    np.testing.assert_allclose(ratings.rating, [99.9, 3.3])
    assert set(ratings.quarantine["reason"].to_pylist()) == {"rating is off the scale 0..100 step 0.1"}


def test_without_a_scale_any_finite_rating_is_valid(read, snapshot):
    ratings = read(HEADER + "1,1,-7.25,0\n1,2,1e30,0\n1,3,1e39,0\n", scale=type(snapshot().scale)())
    assert len(ratings) == 2
    assert ratings.quarantine["reason"].to_pylist() == ["rating is infinite"]
