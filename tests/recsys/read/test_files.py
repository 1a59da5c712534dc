"""Files that cannot be read, and files in Parquet."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.config import InputConfig
from recsys.errors import InputRefused, SourceUnavailable, UsageError
from recsys.progress import LineBar, Lines, report_to
from recsys.read import read_ratings

HEADER = "userId,movieId,rating,timestamp\n"
TRUNCATED = gzip.compress((HEADER + "".join(f"{k},{k},3,{k * k}\n" for k in range(5000))).encode())[:-2000]


@pytest.fixture
def parquet(tmp_path, snapshot):
    """Write columns as Parquet and read them as ratings."""

    def run(table, *, name="ratings.parquet", config=None, block_bytes=64, **form):
        path = tmp_path / name
        pq.write_table(pa.table(table), path, row_group_size=3)
        config = config or InputConfig(max_bad_fraction=0.5)
        return read_ratings(snapshot([path], **form), config, block_bytes=block_bytes)

    return run


def columns(**changed):
    table = {
        "userId": [3, 1, 2, 1],
        "movieId": [10, 10, 20, 20],
        "rating": [1.0, 2.5, 3.0, 5.0],
        "timestamp": [4, 3, 2, 1],
    }
    return table | changed


@pytest.mark.parametrize(
    ("changed", "users"),
    [
        ({}, [1, 2, 3]),
        ({"userId": pa.array([3, 1, 2, 1], pa.uint8())}, [1, 2, 3]),
        ({"userId": pa.array(["3", "1", "2", "1"])}, ["1", "2", "3"]),
        ({"userId": pa.array(["3", "1", "2", "1"], pa.large_string())}, ["1", "2", "3"]),
        ({"userId": pa.array([b"3", b"1", b"2", b"1"])}, ["1", "2", "3"]),
        ({"userId": pa.array(["3", "1", "2", "1"]).dictionary_encode()}, ["1", "2", "3"]),
        ({"userId": pa.array([3, 1, 2, 1]).dictionary_encode()}, [1, 2, 3]),
        ({"userId": [3.0, 1.0, 2.0, 1.0]}, [1, 2, 3]),
        ({"userId": pa.array([3.0, 1.0, 2.0, 1.0], pa.float32()).dictionary_encode()}, [1, 2, 3]),
        ({"userId": [Decimal("3.00"), Decimal("1.00"), Decimal("2.00"), Decimal("1.00")]}, [1, 2, 3]),
        ({"userId": [3.5, 1.5, 2.5, 1.5]}, ["1.5", "2.5", "3.5"]),
        ({"rating": pa.array([1.0, 2.5, 3.0, 5.0], pa.float32())}, [1, 2, 3]),
        ({"rating": [Decimal("1.0"), Decimal("2.5"), Decimal("3.0"), Decimal("5.0")]}, [1, 2, 3]),
        ({"rating": ["1", "2.5", "3", "5"]}, [1, 2, 3]),
        ({"timestamp": [4.9, 3.0, 2.0, 1.0]}, [1, 2, 3]),
        ({"timestamp": ["4", "1970-01-01T00:00:03", "2", "1"]}, [1, 2, 3]),
        ({"timestamp": [datetime.fromtimestamp(s, UTC) for s in (4, 3, 2, 1)]}, [1, 2, 3]),
        ({"timestamp": pa.array([4000, 3000, 2000, 1000], pa.timestamp("ms", "Europe/Paris"))}, [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_parquet_of_many_types(parquet, changed, users, block_bytes):
    ratings = parquet(columns(**changed), block_bytes=block_bytes)
    assert ratings.user_ids.to_pylist() == users
    assert ratings.user_index.tolist() == [2, 0, 1, 0]
    assert ratings.item_index.tolist() == [0, 0, 1, 1]
    assert ratings.rating.tolist() == [1, 2.5, 3, 5]
    assert ratings.timestamp.tolist() == [4, 3, 2, 1]
    assert len(ratings.quarantine) == 0


@pytest.mark.parametrize(
    ("column", "values", "reason", "shown"),
    [
        ("userId", [3, None, 2, 1], "user id is missing", ""),
        ("movieId", ["a", "", "b", "a"], "item id is missing", ""),
        ("movieId", [10.0, None, 20.0, 20.0], "item id is missing", ""),
        ("movieId", [10.0, float("nan"), 20.0, 20.0], "item id is missing", "nan"),
        ("movieId", [10.0, 10.5, 20.0, 20.0], "item id is not an integer", "10.5"),
        ("movieId", pa.array([10, 2**63, 20, 20], pa.uint64()), "item id is not an integer", str(2**63)),
        ("rating", [1.0, None, 3.0, 5.0], "rating is missing", ""),
        ("rating", pa.array([1.0, float("nan"), 3.0, 5.0]), "rating is not a number", "nan"),
        ("rating", [1.0, float("-inf"), 3.0, 5.0], "rating is infinite", "-inf"),
        ("rating", [1.0, 7.0, 3.0, 5.0], "rating is off the scale 0.5..5 step 0.5", "7"),
        ("rating", ["1", "x", "3", "5"], "rating is not a number", "x"),
        ("timestamp", [4, None, 2, 1], "timestamp is missing", ""),
        ("timestamp", [4.0, float("inf"), 2.0, 1.0], "timestamp is not a number", "inf"),
        ("timestamp", [4, -3, 2, 1], "timestamp is negative", "-3"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_refused_rows_of_parquet(parquet, column, values, reason, shown, block_bytes):
    quarantine = parquet(columns(**{column: values}), block_bytes=block_bytes).quarantine
    fields = {"userId": "1", "movieId": "10", "rating": "2.5", "timestamp": "3"} | {column: shown}
    text = ",".join(fields.values())
    assert quarantine.to_pylist() == [{"file": "ratings.parquet", "line": 2, "reason": reason, "text": text}]


def test_rows_of_parquet_are_counted_through_its_batches(parquet):
    table = {name: [*values, *values] for name, values in columns(rating=[1.0, 2.0, 3.0, 0.0]).items()}
    assert parquet(table, block_bytes=64).quarantine["line"].to_pylist() == [4, 8]


def test_a_refused_row_of_parquet_counts_as_seen(parquet):
    ratings = parquet(columns(userId=[3, 1, 2, 2], rating=[1.0, 2.5, 3.0, None], movieId=[10, 10, 20, 10]))
    assert (ratings.seen_user_index.tolist(), ratings.seen_item_index.tolist()) == ([1], [0])


def test_text_that_is_not_utf8_in_parquet(parquet):
    ids = pa.array([b"a", b"\xff", b"c", b"d"], pa.binary())
    assert parquet(columns(userId=ids)).user_ids.to_pylist() == ["\\xff", "a", "c", "d"]


def test_the_text_of_a_refused_row_of_parquet_whatever_its_types(parquet):
    moments = pa.array([0, 1500, 2000, 3000], pa.timestamp("ms", "Europe/Paris"))
    names = pa.array([b"a", b"\xff", b"c", None], pa.binary()).dictionary_encode()
    quarantine = parquet(columns(userId=names, timestamp=moments, rating=[1.0, 9.5, 3.0, 5.0])).quarantine
    assert quarantine["text"].to_pylist() == ["\\xff,10,9.5,1970-01-01 00:00:01.500", ",20,5,1970-01-01 00:00:03.000"]


def test_parquet_is_known_by_its_first_bytes_too(parquet):
    assert len(parquet(columns(), name="ratings.data")) == 4


def test_parquet_and_csv_together(tmp_path, snapshot):
    pq.write_table(pa.table(columns()), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(HEADER + "7,10,4,9\n")
    ratings = read_ratings(snapshot([tmp_path / "a.parquet", tmp_path / "b.csv"]), InputConfig())
    assert ratings.user_ids.to_pylist() == [1, 2, 3, 7]
    assert ratings.user_index.tolist() == [2, 0, 1, 0, 3]


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [("userId", pa.bool_(), True), ("rating", pa.list_(pa.int64()), [1]), ("timestamp", pa.duration("s"), 5)],
)
def test_parquet_of_a_wrong_type_is_refused(parquet, name, kind, value):
    with pytest.raises(InputRefused, match=rf"column '{name}' of ratings.parquet is of the type"):
        parquet(columns(**{name: pa.array([value] * 4, kind)}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"user;item\n1;2\n", r"(?s)'userId'.*found: +columns 'user;item'"),
        ("r.csv", HEADER.replace("movieId", "rating").encode() + b"1,2,3,4\n", "'movieId', 'rating'"),
        ("r.csv", b"", "no ratings"),
        ("r.csv", b"userId,userId,rating,timestamp\n", "'userId', 'movieId'"),
        ("r.csv", b"\n\r\n\n", "no ratings"),
        ("r.csv", HEADER.encode(), "no ratings"),
        ("r.csv", HEADER.encode("utf-16"), "UTF-16"),
        ("r.csv", HEADER.encode() + b"1" * (17 << 20), "not a table of lines"),
        ("r.csv", bytes(range(256)) * 99, "'userId'"),
        ("r.csv.gz", HEADER.encode(), "r.csv.gz cannot be read"),
        ("r.csv.gz", TRUNCATED, "Truncated"),
        ("r.csv.gz", b"", "no ratings"),
        ("r.csv.zst", b"no zstd", "r.csv.zst cannot be read"),
        ("r.parquet", b"PAR1 and then nothing", "r.parquet cannot be read"),
        ("r.parquet", b"", "r.parquet cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_found(tmp_path, snapshot, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputRefused, match=message) as refused:
        read_ratings(snapshot([tmp_path / name]), InputConfig())
    assert refused.value.exit_code == 3


def test_a_damaged_parquet_file_is_refused(tmp_path, snapshot):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({name: list(range(1000)) for name in columns()}), path)
    data = bytearray(path.read_bytes())
    data[10:2000] = b"\xff" * 1990
    path.write_bytes(data)
    with pytest.raises(InputRefused, match="cannot be read"):
        read_ratings(snapshot([path]), InputConfig())


def test_a_missing_column_of_parquet_is_refused(parquet):
    with pytest.raises(InputRefused, match=r"(?s)'stars'.*found: +columns 'userId', 'movieId', 'rating', 'timestamp'"):
        parquet(columns(), rating="stars")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path, snapshot):
    with pytest.raises(InputRefused, match="cannot be read"):
        read_ratings(snapshot([tmp_path]), InputConfig())


@pytest.mark.parametrize("name", ["gone.csv", "gone.parquet"])
def test_a_file_that_is_not_there(tmp_path, snapshot, name):
    with pytest.raises(SourceUnavailable, match=f"{name} is not there") as gone:
        read_ratings(snapshot([tmp_path / name]), InputConfig())
    assert gone.value.exit_code == 5


@pytest.mark.parametrize(
    "form", [{"delimiter": ""}, {"delimiter": '"'}, {"encoding": "klingon"}, {"encoding": "utf-16"}]
)
def test_a_format_that_cannot_be(read, form):
    with pytest.raises(UsageError):
        read(HEADER + "1,1,3,1\n", **form)


def test_progress_reaches_the_size_of_the_files(tmp_path, snapshot):
    bars = []

    class Counts:
        def start(self, label, total, unit):
            bars.append(LineBar(label, total, unit))
            return bars[-1]

    for name, pack in (("r.csv", bytes), ("r.csv.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack((HEADER + "1,1,3,1\n" * 9999).encode()))
    report_to(Counts())
    try:
        read_ratings(snapshot([tmp_path / "r.csv", tmp_path / "r.csv.gz"]), InputConfig(), block_bytes=1000)
    finally:
        report_to(Lines())
    assert [bar.label for bar in bars] == ["read ratings"]
    assert bars[0].done == bars[0].total > 0
