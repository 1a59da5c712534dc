"""Each refused row, with file, line and reason; and what still counts as seen."""

from __future__ import annotations

import pytest

from recsys.config import InputConfig
from recsys.read import RowsRefused
from recsys.tables import QUARANTINE

HEADER = b"userId,movieId,rating,timestamp\n"
GOOD = b"1,10,3,5\n2,20,4,6\n3,30,5,7\n"

REFUSED = [
    (b"1,20,bad,5", "rating is not a number"),
    (b"1,20,nan,5", "rating is not a number"),
    (b"1,20,4;5,5", "rating is not a number"),
    (b"1,20,,5", "rating is missing"),
    (b"1,20,inf,5", "rating is infinite"),
    (b"1,20,-Infinity,5", "rating is infinite"),
    (b"1,20,1e999,5", "rating is infinite"),
    (b"1,20,0,5", "rating is off the scale 0.5..5 step 0.5"),
    (b"1,20,3.75,5", "rating is off the scale 0.5..5 step 0.5"),
    (b"1,20,5.5,5", "rating is off the scale 0.5..5 step 0.5"),
    (b",20,3,5", "user id is missing"),
    (b"  ,20,3,5", "user id is missing"),
    (b'1,"",3,5', "item id is missing"),
    (b"x,20,3,5", "user id is not an integer"),
    (b"1,020,3,5", "item id is not an integer"),
    (b"1,20.5,3,5", "item id is not an integer"),
    (b"01,20,3,5", "user id is not an integer"),
    (b'1,20,"3,5",5', "rating has a decimal comma"),
    (b"1,20,3,-5", "timestamp is negative"),
    (b"1,20,3,1969-12-31", "timestamp is negative"),
    (b"1,20,3,", "timestamp is missing"),
    (b"1,20,3,soon", "timestamp is not a number"),
    (b"1,20,3,2024-02-30", "timestamp is not a number"),
    (b"1,20,3,99999999999999999999", "timestamp is not a number"),
    (b"1,20,3", "4 fields expected, 3 found"),
    (b"1,20,3,5,6", "4 fields expected, 5 found"),
    (b"1;20;3;5", "4 fields expected, 1 found"),
    (b" ", "4 fields expected, 1 found"),
    (b"1,20,3,\xff", "not UTF-8"),
    (b'1,20,3,"5', "unclosed quote"),
    (b'1,20,3,5"', "unclosed quote"),
    (b'1,2"0",3,5', "quote inside a field that is not quoted"),
    (b'1,x"y,3,"5', "quote inside a field that is not quoted"),
    (b"1,20,3\r,5", "carriage return inside the row"),
]


@pytest.mark.parametrize(("row", "reason"), REFUSED)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_refused_row_has_file_line_reason_and_text(read, row, reason, block_bytes):
    ratings = read(HEADER + GOOD + b"\n" + row + b"\n" + GOOD, block_bytes=block_bytes, config=_lenient())
    text = row.decode("utf-8", "backslashreplace")
    assert ratings.quarantine.to_pylist() == [{"file": "ratings0.csv", "line": 6, "reason": reason, "text": text}]
    assert ratings.quarantine.schema == QUARANTINE
    assert (len(ratings), ratings.rows_read, ratings.repeated) == (3, 7, 3)


def test_all_of_them_at_once(read):
    rows = b"".join(row + b"\n" + GOOD for row, _ in REFUSED)
    quarantine = read(HEADER + rows, config=_lenient()).quarantine
    assert quarantine["reason"].to_pylist() == [reason for _, reason in REFUSED]
    assert quarantine["line"].to_pylist() == [2 + 4 * k for k in range(len(REFUSED))]


def test_the_byte_that_stands_in_for_long_delimiters_is_refused(read):
    form = {"delimiter": "::", "columns": ("userId", "movieId", "rating", "timestamp")}
    ratings = read("1::10::3::5\n1\x1f10::3::5\n", **form)
    assert ratings.quarantine["reason"].to_pylist() == ["byte 1F inside the row"]


def test_lines_and_names_across_files(read):
    ratings = read(HEADER + GOOD + b"1,1,x,1\n", HEADER + b"1,1,x,1\n" + GOOD, config=_lenient())
    assert [(row["file"], row["line"]) for row in ratings.quarantine.to_pylist()] == [
        ("ratings0.csv", 5),
        ("ratings1.csv", 2),
    ]


def test_the_text_is_bounded(read):
    for letter in ("x", "é", "\U0001f600"):
        ratings = read(HEADER + GOOD + f"1,20,{letter * 5000},1\n".encode(), config=_lenient())
        assert ratings.quarantine["text"].to_pylist() == ["1,20," + letter * 995]


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        (b"1,20,bad,5", [(0, 1)]),
        (b"1,20,3", [(0, 1)]),
        (b"1,20,3,5,6", [(0, 1)]),
        (b"1,20,3,\xff", [(0, 1)]),
        (b'1,20,"3,5', [(0, 1)]),
        (b'"1","20",,', [(0, 1)]),
        (b"1,99,bad,5", []),  # no valid rating of item 99: it is in no list
        (b"1,10,bad,5", []),  # rated validly elsewhere
        (b"1,,3,5", []),
        (b"x,20,3,5", []),
        (b'1,"20,3,5', []),
    ],
)
def test_a_refused_rating_whose_ids_are_readable_counts_as_seen(read, row, seen):
    ratings = read(HEADER + GOOD + row + b"\n" + row + b"\n", config=_lenient())
    assert list(zip(ratings.seen_user_index.tolist(), ratings.seen_item_index.tolist(), strict=True)) == seen


def test_seen_pairs_are_sorted(read):
    ratings = read(HEADER + GOOD + b"3,20,x,1\n1,30,x,1\n1,20,x,1\n", config=_lenient())
    assert ratings.seen_user_index.tolist() == [0, 0, 2]
    assert ratings.seen_item_index.tolist() == [1, 2, 1]


def test_an_id_of_refused_rows_only_is_not_among_the_ids(read):
    ratings = read(HEADER + GOOD + b"7,70,x,1\n", config=_lenient())
    assert ratings.user_ids.to_pylist() == [1, 2, 3]
    assert ratings.item_ids.to_pylist() == [10, 20, 30]


def _file(bad: int) -> bytes:
    rows = [f"{k},{k % 7},{'x' if k < bad else 3},{k}" for k in range(1000)]
    return HEADER + "\n".join(rows).encode()


@pytest.mark.parametrize("bad", [0, 5, 10])
def test_a_few_bad_rows_are_let_through(read, bad):
    ratings = read(_file(bad), config=InputConfig())
    assert (len(ratings), len(ratings.quarantine)) == (1000 - bad, bad)


@pytest.mark.parametrize("bad", [11, 50, 1000])
def test_more_than_the_share_refuses_the_input(read, bad):
    with pytest.raises(
        RowsRefused, match=rf"(?s)^{bad:,} of 1,000 rows .*not a number: {bad:,}; first .*csv:2 .0,0,x,0"
    ) as refused:
        read(_file(bad).replace(b"\n", b"\r\n"), config=InputConfig())
    assert refused.value.exit_code == 3
    assert len(refused.value.quarantine) == bad
    assert "max_bad_fraction" in str(refused.value)


def test_reading_stops_when_very_many_rows_are_refused(read, monkeypatch):
    monkeypatch.setattr("recsys.read.ratings.MOST_REFUSED", 20)
    with pytest.raises(RowsRefused) as refused:
        read(_file(900), config=InputConfig(), block_bytes=100)
    assert 20 < len(refused.value.quarantine) < 100
    # Refused only while their ids are taken for integers: no reason to stop.
    words = b"".join(b"%s,1,3,1\n" % (b"%d" % k if k < 50 else b"u%d" % k) for k in range(1000))
    assert len(read(HEADER + words, config=InputConfig(), block_bytes=100)) == 1000


def test_no_valid_row_refuses_the_input_whatever_is_allowed(read):
    with pytest.raises(RowsRefused, match="1 of 1 rows"):
        read(HEADER + b"1,1,x,1\n", config=InputConfig(max_bad_fraction=1.0))


def _lenient() -> InputConfig:
    return InputConfig(max_bad_fraction=0.5)
