"""A naive twin that reads row by row with the csv module must agree, whatever the rows, blocks and threads."""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.config import InputConfig
from recsys.errors import InputRefused

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
NAMES = ("userId", "movieId", "rating", "timestamp")


def quoting(line: str, delimiter: str) -> str | None:
    """What is wrong with the quotes, character by character."""
    if line.count('"') % 2:
        return "unclosed quote"
    state = "start"
    for letter in line:
        if state == "quoted":
            state = "closed" if letter == '"' else "quoted"
        elif letter == delimiter:
            state = "start"
        elif letter == '"' and state in ("start", "closed"):
            state = "quoted"  # opened, or the second of a doubled quote
        elif letter == '"' or state == "closed":
            return "quote inside a field that is not quoted"
        else:
            state = "plain"
    return None


def integer(text: str) -> int | None:
    text = re.sub(r"\.0+$", "", text.strip(" \t"))
    return int(text) if re.fullmatch(r"0|-?[1-9][0-9]*", text) and -(2**63) <= int(text) < 2**63 else None


def rating(text: str) -> tuple[float, str | None]:
    text = text.strip(" \t")
    if not text:
        return 0, "rating is missing"
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        return 0, "rating has a decimal comma"
    if not re.fullmatch(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|infinity)", text, re.IGNORECASE):
        return 0, "rating is not a number"
    value = float(text)
    if abs(value) > np.finfo(np.float32).max:
        return 0, "rating is infinite"
    return value, None if value * 2 in range(1, 11) else "rating is off the scale 0.5..5 step 0.5"


def timestamp(text: str) -> tuple[int, str | None]:
    text = text.strip(" \t")
    if not text:
        return 0, "timestamp is missing"
    try:
        if re.fullmatch(r"[+-]?[0-9]+", text):
            value = int(text)
        elif re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            value = math.floor(float(text))
        else:
            moment = datetime.fromisoformat(text)
            value = math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return 0, "timestamp is not a number"
    if not -(2**63) <= value < 2**63:
        return 0, "timestamp is not a number"
    return value, "timestamp is negative" if value < 0 else None


def rows_of(content: bytes, delimiter: str):
    """(line, row, reason, fields) of each row; the reason of rows that do not come apart, the fields that do."""
    for line, raw in enumerate(content.split(b"\n"), 1):
        row = raw.removesuffix(b"\r")
        if not row:
            continue
        text = row.decode("utf-8", "surrogateescape")
        short = "\x1f" if len(delimiter) > 1 else delimiter
        reason = None
        if len(delimiter) > 1 and "\x1f" in text:
            reason = "byte 1F inside the row"
        elif any("\udc80" <= letter <= "\udcff" for letter in text):
            reason = "not UTF-8"
        elif "\r" in text:
            reason = "carriage return inside the row"
        else:
            reason = quoting(text.replace(delimiter, short), short)
        fields = [] if reason else next(csv.reader([text.replace(delimiter, short)], delimiter=short))
        fields = [field.replace(short, delimiter) for field in fields]
        if not reason and len(fields) != 4:
            reason = f"4 fields expected, {len(fields)} found"
        yield line, row, reason, fields


def twin(content: bytes, delimiter: str, slack: float):
    """Kept rows, refused rows, id types and the number of repeats, as the contract has them."""
    rows = list(rows_of(content, delimiter))
    strings = []
    for at in (0, 1):
        ids = [fields[at] for _, _, reason, fields in rows if not reason and fields[at].strip(" \t")]
        strings.append(sum(integer(text) is None for text in ids) > slack * len(ids))
    valid, refused = [], []
    for line, row, broken, fields in rows:
        reason = broken or first_reason(fields, strings)
        if reason:
            refused.append((line, reason, row.decode("utf-8", "backslashreplace")[:1000]))
        else:
            user, item = (text if string else integer(text) for text, string in zip(fields, strings, strict=False))
            valid.append((user, item, np.float32(rating(fields[2])[0]), timestamp(fields[3])[0]))
    latest = {}
    for at, row in enumerate(valid):
        if row[:2] not in latest or row[3] >= valid[latest[row[:2]]][3]:
            latest[row[:2]] = at
    kept = [row for at, row in enumerate(valid) if latest[row[:2]] == at]
    return kept, refused, strings, len(valid) - len(kept), seen(rows, valid, strings)


def first_reason(fields, strings):
    for name, text in zip(("user", "item"), fields, strict=False):
        if not text.strip(" \t"):
            return f"{name} id is missing"
        if not strings[name == "item"] and integer(text) is None:
            return f"{name} id is not an integer"
    return rating(fields[2])[1] or timestamp(fields[3])[1]


def seen(rows, valid, strings):
    """Pairs of refused rows that came apart into fields (those that did not are tested by example)."""
    users, items, pairs = {row[0] for row in valid}, {row[1] for row in valid}, {row[:2] for row in valid}
    found = set()
    for _, _, reason, fields in rows:
        if reason and not reason.endswith("found"):
            continue
        ids = [text if string else integer(text) for text, string in zip(fields, strings, strict=False)]
        if len(ids) == 2 and ids[0] in users and ids[1] in items and tuple(ids) not in pairs:
            found.add(tuple(ids))
    return found


def agrees(read, content: bytes, delimiter: str, slack: float, **how) -> None:
    kept, refused, strings, repeated, seen_pairs = twin(content, delimiter, slack)
    form = {"delimiter": delimiter, "columns": NAMES}
    config = InputConfig(max_bad_fraction=slack)
    if not kept or len(refused) > slack * (len(kept) + len(refused) + repeated):
        with pytest.raises(InputRefused) as error:
            read(content, config=config, **form, **how)
        if refused:
            table = error.value.quarantine
            assert list(zip(*(table[name].to_pylist() for name in ("line", "reason", "text")), strict=True)) == refused
        return
    ratings = read(content, config=config, **form, **how)
    assert [pa.types.is_string(ids.type) for ids in (ratings.user_ids, ratings.item_ids)] == strings
    users, items = ratings.user_ids.to_pylist(), ratings.item_ids.to_pylist()
    assert users == sorted({row[0] for row in kept})
    assert items == sorted({row[1] for row in kept})
    columns = ratings.user_index, ratings.item_index, ratings.rating, ratings.timestamp
    assert [(users[u], items[i], r, t) for u, i, r, t in zip(*columns, strict=True)] == kept
    table = ratings.quarantine
    assert list(zip(*(table[name].to_pylist() for name in ("line", "reason", "text")), strict=True)) == refused
    found = {(users[u], items[i]) for u, i in zip(ratings.seen_user_index, ratings.seen_item_index, strict=True)}
    assert found >= seen_pairs
    assert not found & {row[:2] for row in kept}
    assert ratings.repeated == repeated
    assert ratings.rows_read == len(kept) + len(refused) + repeated


IDS = st.one_of(
    st.integers(0, 6).map(str),
    st.sampled_from(
        ["", " ", "007", "-3", "-0", "+1", " 2", "1.0", "0x1", "9" * 19, "-" + "9" * 19, "9" * 25, "NA", "null"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x1f\ufeff"), max_size=4),
)
RATINGS = st.one_of(
    st.integers(1, 10).map(lambda k: str(k / 2)),
    st.sampled_from(
        ["", " 4 ", "+3", "3e0", "5.", ".5", "0", "-1", "5.5", "3.3", "nan", "NaN", "inf", "-Infinity", "1e400"]
    ),
    st.sampled_from(["abc", "4,5", "0x3", "1_0", "٣", "1e", "--1", "null", "true", "3 4"]),
)
TIMES = st.one_of(
    st.integers(0, 5).map(str),
    st.sampled_from(
        ["", "007", "5.0", "5.9", "1e3", "-1", "-0.5", "9" * 18, "9" * 19, "9" * 30, "nan", "inf", "1e300", "0.0"]
    ),
    st.sampled_from(
        ["2001-02-03", "2001-02-30", "2001-02-03 04:05:06", "2001-02-03T04:05:06+01:00", "2001-02-03T04:05Z"]
    ),
    st.sampled_from(["1969-12-31", "0001-01-01", "9999-12-31T23:59:59", "2001-02-03 24:00:00", "1 ", "soon", "٣"]),
)


def written(fields: list[str], delimiter: str) -> bytes:
    if len(delimiter) > 1:
        return delimiter.join(fields).encode()
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter, lineterminator="").writerow(fields)
    return sink.getvalue().encode()


@st.composite
def lines(draw: st.DrawFn, delimiter: str) -> bytes:
    row = [draw(IDS), draw(IDS), draw(RATINGS), draw(TIMES)]
    match draw(st.integers(0, 9)):
        case 0:
            row = row[: draw(st.integers(0, 3))]
        case 1:
            row = [*row, draw(IDS)]
    line = written(row, delimiter)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(line)))
        line = (
            line[:at]
            + draw(st.sampled_from([b'"', b'""', b"\xff", b"\xc3", b"\r", b"\x1f", b"\x00", b" "]))
            + line[at:]
        )
    return line + draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"]))


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str]:
    delimiter = draw(st.sampled_from([",", "\t", "::", ";"]))
    plain = st.builds(
        lambda *row: delimiter.join(map(str, row)).encode() + b"\n", *[st.integers(1, 5)] * 3, st.integers(0, 9)
    )
    share = draw(st.sampled_from([lines(delimiter), plain, st.one_of(plain, plain, plain, lines(delimiter))]))
    content = b"".join(draw(st.lists(share, max_size=20)))
    return (content.removesuffix(b"\n") if draw(st.booleans()) else content), delimiter


@SETTINGS
@given(
    file=files(),
    slack=st.sampled_from([0.0, 0.01, 0.2, 0.5]),
    block_bytes=st.sampled_from([1, 7, 40, 1 << 20]),
    threads=st.integers(1, 3),
)
def test_the_naive_twin_agrees(read, file, slack, block_bytes, threads):
    agrees(read, *file, slack, block_bytes=block_bytes, threads=threads)


@pytest.mark.parametrize("block_bytes", [100, 5_000, 1 << 20])
@pytest.mark.parametrize("share", [0.005, 0.05])
def test_the_naive_twin_agrees_on_many_rows(read, share, block_bytes):
    draw = np.random.default_rng(0)
    bad = [b"1,2,x,4", b",2,3,4", b"1,2,3", b'1,"2,3,4', b"1,2,9,4", b"1,2,3,-4", b"1,\xff,3,4", b"q,2,3,4"]
    rows = [b"%d,%d,%d,%d" % tuple(row) for row in draw.integers([0, 0, 1, 0], [90, 90, 6, 99], (4_000, 4))]
    for at in np.flatnonzero(draw.random(len(rows)) < share):
        rows[at] = bad[at % len(bad)]
    agrees(read, b"\n".join(rows), ",", 0.1, block_bytes=block_bytes)


@SETTINGS
@given(
    pairs=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), min_size=1).filter(
                lambda s: s.strip(" \t")
            ),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(1, 10).map(lambda k: k / 2),
            st.integers(0, 2**62),
        ),
        min_size=1,
        unique_by=lambda row: row[:2],
    ),
    block_bytes=st.sampled_from([1, 1 << 20]),
)
def test_reading_what_was_written_is_the_identity(read, pairs, block_bytes):
    content = b"\n".join(written(list(map(str, row)), ",") for row in pairs)
    ratings = read(
        content, columns=NAMES, config=InputConfig(id_type="auto", max_bad_fraction=0), block_bytes=block_bytes
    )
    users, items = ratings.user_ids.to_pylist(), ratings.item_ids.to_pylist()
    columns = ratings.user_index, ratings.item_index, ratings.rating.tolist(), ratings.timestamp.tolist()
    back = [(str(users[u]), items[i], r, t) for u, i, r, t in zip(*columns, strict=True)]
    as_ids = (lambda text: str(int(text))) if isinstance(users[0], int) else str
    assert back == [(as_ids(user), *rest) for user, *rest in pairs]
