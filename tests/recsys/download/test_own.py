"""Own files: which are found, how they are told apart, and where they are read."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.config import DemoConfig, DownloadConfig, InputConfig
from recsys.download.catalogue import MOVIES_DAT, U_DATA, U_ITEM
from recsys.download.objects import copy_object, list_objects, one_file
from recsys.download.snapshot import take_snapshot
from recsys.errors import InputRefused, SourceUnavailable, UsageError
from recsys.objects.folder import ObjectFolder
from recsys.ratings import ItemsFormat, RatingsFormat, Snapshot

CSV = b"userId,movieId,rating,timestamp\n1,10,4.0,964982703\n2,20,3.5,964981247\n"


def take(raw: Path, download: DownloadConfig, ratings: object, items: object = None, **columns: str) -> Snapshot:
    settings = InputConfig(ratings=str(ratings), items=None if items is None else str(items), columns=columns)
    return take_snapshot(settings, download, DemoConfig(), raw)


def names(snapshot: Snapshot) -> list[str]:
    return [Path(path).name for path in snapshot.ratings]


def test_a_local_file_is_read_where_it_lies(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(CSV)
    snapshot = take(tmp_path / "raw", quick, tmp_path / "r.csv")
    assert snapshot.ratings == (str(tmp_path / "r.csv"),)
    assert (snapshot.trust, snapshot.stale, snapshot.items) == ("own file", False, ())
    assert snapshot.ratings_format == RatingsFormat()
    assert not (tmp_path / "raw").exists()
    assert take(tmp_path / "raw", quick, f"file://{tmp_path}/r.csv") == snapshot


def test_the_fingerprint_follows_the_contents_and_not_the_name(tmp_path: Path, quick: DownloadConfig) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(CSV)
    first, same = (take(tmp_path / "raw", quick, tmp_path / name).fingerprint for name in ("a.csv", "b.csv"))
    (tmp_path / "b.csv").write_bytes(CSV + b"3,10,1.0,964981248\n")
    assert first == same != take(tmp_path / "raw", quick, tmp_path / "b.csv").fingerprint


def test_the_fingerprint_follows_the_way_it_is_read(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(b"a,b,rating\n1,2,3\n")
    one = take(tmp_path, quick, tmp_path / "r.csv", user="a", item="b")
    other = take(tmp_path, quick, tmp_path / "r.csv", user="b", item="a")
    assert one.fingerprint != other.fingerprint


def test_a_folder_is_read_in_order_of_names(tmp_path: Path, quick: DownloadConfig) -> None:
    for name in ("part-2.csv", "part-1.csv", "part-10.csv"):
        (tmp_path / name).write_bytes(CSV)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-1.csv.crc").write_bytes(b"crc")
    (tmp_path / "README.md").write_text("about")
    assert names(take(tmp_path / "raw", quick, tmp_path)) == ["part-1.csv", "part-10.csv", "part-2.csv"]


def test_in_a_folder_of_movielens_only_the_ratings_are_ratings(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "ratings.csv").write_bytes(CSV)
    (tmp_path / "movies.csv").write_bytes(b"movieId,title,genres\n10,Heat (1995),Action\n")
    (tmp_path / "tags.csv").write_bytes(b"userId,movieId,tag,timestamp\n")
    assert names(take(tmp_path / "raw", quick, tmp_path)) == ["ratings.csv"]


@pytest.mark.parametrize("pattern", ["*.csv", "**/*.csv", "part-[12].csv", "part-?.csv"])
def test_a_glob(pattern: str, tmp_path: Path, quick: DownloadConfig) -> None:
    for name in ("part-2.csv", "part-1.csv"):
        (tmp_path / name).write_bytes(CSV)
    (tmp_path / "other.txt").write_text("no")
    assert names(take(tmp_path / "raw", quick, tmp_path / pattern)) == ["part-1.csv", "part-2.csv"]


@pytest.mark.parametrize("missing", ["r.csv", "folder/r.csv", "*.csv", "empty"])
def test_what_is_not_there_is_a_source_that_cannot_be_reached(
    missing: str, tmp_path: Path, quick: DownloadConfig
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnavailable, match="Nothing is at") as caught:
        take(tmp_path / "raw", quick, tmp_path / missing)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputRefused, match=r"(?s)an empty file") as caught:
        take(tmp_path / "raw", quick, tmp_path / name)
    assert caught.value.exit_code == 3


def test_a_path_that_cannot_be_looked_up(tmp_path: Path, quick: DownloadConfig) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be looked up"):
        take(tmp_path / "raw", quick, "x" * 5_000)


def written(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(content)
    else:
        path.write_bytes(content)
    return path


WITHOUT_HEADER = ("user", "item", "rating", "timestamp")


def headerless(delimiter: str, columns: tuple[str, ...] = WITHOUT_HEADER) -> RatingsFormat:
    timestamp = "timestamp" if "timestamp" in columns else None
    return RatingsFormat("user", "item", "rating", timestamp, delimiter, columns)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CSV, RatingsFormat()),
        (b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"), RatingsFormat()),
        (b"\n\n" + CSV, RatingsFormat()),
        (b"user_id\titem_id\trating\n1\t2\t3\n", RatingsFormat("user_id", "item_id", "rating", None, "\t")),
        (b'"User-ID";"ISBN";"Book-Rating"\n"1";"x";"0"\n', RatingsFormat("User-ID", "ISBN", "Book-Rating", None, ";")),
        (b"uid|asin|stars|ts\n", RatingsFormat("uid", "asin", "stars", "ts", "|")),
        (b"userId::movieId::rating\n1::2::3\n", RatingsFormat("userId", "movieId", "rating", None, "::")),
        (b"USERID,ITEM,Score,TIME\n", RatingsFormat("USERID", "ITEM", "Score", "TIME")),
        (b"1::1193::5::978300760\n", headerless("::")),
        (b"196\t242\t3\t881250949\n", U_DATA),
        (b"1::122::4.5\n", headerless("::", WITHOUT_HEADER[:3])),
        (b"1,10,4.0,964982703,9\n", headerless(",", (*WITHOUT_HEADER, "column_5"))),
        (b"1;10;4,5;964982703\n", headerless(";")),
    ],
)
def test_the_first_line_tells_how_it_is_written(
    content: bytes, expected: RatingsFormat, ending: str, tmp_path: Path, quick: DownloadConfig
) -> None:
    path = written(tmp_path / f"r.txt{ending}", content)
    assert take(tmp_path / "raw", quick, path).ratings_format == expected


@pytest.mark.parametrize("name", ["r.parquet", "part-00000"])
def test_parquet_is_told_by_its_first_bytes(name: str, tmp_path: Path, quick: DownloadConfig) -> None:
    pq.write_table(pa.table({"ts": [1], "customer": ["u"], "product_id": ["i"], "score": [1.0]}), tmp_path / name)
    snapshot = take(tmp_path / "raw", quick, tmp_path / name)
    assert snapshot.ratings_format == RatingsFormat("customer", "product_id", "score", "ts")


def test_names_that_are_given_win(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(b"user,who,what,rating,how\n1,2,3,4,5\n")
    form = take(tmp_path, quick, tmp_path / "r.csv", user="who", item="what", rating="how").ratings_format
    assert (form.user, form.item, form.rating, form.timestamp) == ("who", "what", "how", None)


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        (b"userId,movieId,rating\n", {"user": "nobody"}, "'nobody' (user)"),
        (b"userId,movieId,rating\n", {"timestamp": "when"}, "'when' (timestamp)"),
        (b"who,movieId,rating\n", {}, "a column for user"),
        (b"userId,movieId\n", {}, "a column for rating"),
        (b"userId,userId,movieId,rating\n", {"user": "userId"}, "one column 'userId'"),
        (b"userId,userId,movieId,rating\n", {}, "one column for user, not 'userId', 'userId'"),
        (b"userId,movieId,rating,ts,TS\n", {}, "one column for timestamp, not 'ts', 'TS'"),
        (b"1::2\n", {}, "a column for rating"),
    ],
)
def test_a_missing_column_is_told_with_those_that_are_there(
    content: bytes, columns: dict[str, str], expected: str, tmp_path: Path, quick: DownloadConfig
) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(InputRefused) as caught:
        take(tmp_path, quick, tmp_path / "r.csv", **columns)
    assert expected in str(caught.value)
    assert "'movieId'" in str(caught.value) or "'item'" in str(caught.value)
    assert "--columns" in str(caught.value)


@pytest.mark.parametrize("content", [b"just a line\n", b"PK\x03\x04\0\0\0,", b"\x1f\x8b,not gzip", b"PAR1,and no more"])
def test_what_is_no_table_is_refused(content: bytes, tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(InputRefused):
        take(tmp_path, quick, tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CSV.decode().encode("utf-16"), "iconv -f UTF-16"),
        (CSV.decode().encode("utf-16-le"), "iconv -f UTF-16"),
        (gzip.compress(CSV, mtime=0), "known by .gz"),
        (CSV.replace(b"\n", b"\r"), "carriage return"),
        (b'userId,"' + b"x" * 200_000 + b'",rating\n', "field larger than"),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "gzip by another name", "old line ends", "a long quoted name"],
)
def test_what_was_found_and_what_to_do_is_told(
    content: bytes, told: str, tmp_path: Path, quick: DownloadConfig
) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(InputRefused, match=re.escape(told)):
        take(tmp_path, quick, tmp_path / "r.csv")


def test_a_broken_compressed_file_is_refused(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(InputRefused, match=r"r\.csv\.gz"):
        take(tmp_path, quick, tmp_path / "r.csv.gz")


def test_files_that_differ_are_refused(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "b.csv").write_bytes(CSV.replace(b",", b"\t"))
    with pytest.raises(InputRefused, match=r"b\.csv is not written as a\.csv is"):
        take(tmp_path / "raw", quick, tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"movieId,title,genres\n1,\"Heat, The\",Action\n", ItemsFormat()),
        (b"id,name\n1,Heat\n", ItemsFormat("id", "name", None)),
        (b"1::Toy Story (1995)::Animation|Children's\n", MOVIES_DAT),
        (b"1::Am\xe9lie\n", ItemsFormat("item", "title", None, "::", ("item", "title"), "latin-1")),
        (b"1|Toy Story (1995)|01-Jan-1995||http://x|" + b"|".join([b"0"] * 19) + b"\n", U_ITEM),
    ],
)  # fmt: skip
def test_items(content: bytes, expected: ItemsFormat, tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(CSV)
    (tmp_path / "items.txt").write_bytes(content)
    snapshot = take(tmp_path / "raw", quick, tmp_path / "r.csv", tmp_path / "items.txt", item="movieId")
    assert snapshot.items_format == expected
    assert snapshot.items == (str(tmp_path / "items.txt"),)


def test_items_are_part_of_the_fingerprint(tmp_path: Path, quick: DownloadConfig) -> None:
    (tmp_path / "r.csv").write_bytes(CSV)
    prints = set()
    for title in ("Heat", "Cold"):
        (tmp_path / "items.csv").write_text(f"movieId,title\n1,{title}\n")
        prints.add(take(tmp_path / "raw", quick, tmp_path / "r.csv", tmp_path / "items.csv").fingerprint)
    assert len(prints) == 2


def test_a_file_over_http_is_copied_and_kept(web: Any, tmp_path: Path, quick: DownloadConfig) -> None:
    url = web.serve("/data/r.csv.gz", web.whole(gzip.compress(CSV, mtime=0), etag='"1"'))
    first = take(tmp_path, quick, f"{url}?key=secret")
    sha256 = hashlib.sha256(gzip.compress(CSV, mtime=0)).hexdigest()
    assert first.ratings == (str(tmp_path / "ratings" / sha256[:16] / "r.csv.gz"),)
    assert first.origin == url
    assert take(tmp_path, quick, url) == first
    assert web.sent[1] == 0
    web.serve("/data/r.csv.gz", web.status(500))
    stale = take(tmp_path, quick, url)
    assert (stale.stale, stale.ratings) == (True, first.ratings)
    assert "HTTP 500" in stale.stale_reason


def test_a_file_over_http_without_a_copy(web: Any, tmp_path: Path, quick: DownloadConfig) -> None:
    with pytest.raises(SourceUnavailable, match="HTTP 404"):
        take(tmp_path, quick, f"{web.url}/r.csv")


def test_a_page_instead_of_a_table_is_no_good_copy(web: Any, tmp_path: Path, quick: DownloadConfig) -> None:
    url = web.serve("/r.csv", web.whole(CSV, etag='"1"'))
    good = take(tmp_path, quick, url)
    web.serve("/r.csv", web.whole(b"<html>Please log in</html>\n", etag='"2"'))
    with pytest.raises(InputRefused, match="not a table"):
        take(tmp_path, quick, url)
    web.serve("/r.csv", web.status(500))
    assert take(tmp_path, quick, url).ratings == good.ratings


@pytest.fixture
def bucket(s3: Any) -> ObjectFolder:
    """A folder in a real object store."""
    return ObjectFolder.at(s3.uri)


@pytest.mark.parametrize("below", ["night", "night/", "night/*.csv", "night/[ab].csv", "night/?.csv"])
def test_a_folder_of_an_object_store_is_copied(
    below: str, bucket: ObjectFolder, tmp_path: Path, quick: DownloadConfig
) -> None:
    address, local = f"{bucket.address}/{below}", tmp_path / "local"
    local.mkdir()
    for name in ("b.csv", "a.csv"):
        (local / name).write_bytes(CSV + name.encode()[:1] + b",1,1,1\n")
        bucket.put(f"night/{name}", (local / name).read_bytes())
    for other in ("night/_SUCCESS", "night/deeper/c.csv", "nightly/d.csv"):
        bucket.put(other, b"")
    snapshot = take(tmp_path / "raw", quick, address)
    assert names(snapshot) == ["a.csv", "b.csv"]
    assert all(Path(path).is_relative_to(tmp_path / "raw" / "ratings") for path in snapshot.ratings)
    assert take(tmp_path / "raw", quick, address) == snapshot
    assert take(tmp_path / "raw", quick, local / "*.csv").fingerprint == snapshot.fingerprint


def test_one_object_and_its_last_good_copy(bucket: ObjectFolder, tmp_path: Path, quick: DownloadConfig) -> None:
    bucket.put("r.csv", CSV)
    first = take(tmp_path / "raw", quick, f"{bucket.address}/r.csv")
    assert first.origin == f"{bucket.address}/r.csv"
    bucket.remove(["r.csv"])
    stale = take(tmp_path / "raw", quick, f"{bucket.address}/r.csv")
    assert (stale.stale, stale.ratings) == (True, first.ratings)
    with pytest.raises(SourceUnavailable, match=r"Nothing is at s3://.*/other\.csv"):
        take(tmp_path / "raw", quick, f"{bucket.address}/other.csv")


def test_an_object_that_goes_away_leaves_nothing(bucket: ObjectFolder, tmp_path: Path) -> None:
    bucket.put("r.csv", CSV)
    _, (found,) = list_objects(f"{bucket.address}/r.csv")
    bucket.remove(["r.csv"])
    with pytest.raises(SourceUnavailable, match="was replaced"):
        copy_object(bucket, found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_object_read_once(bucket: ObjectFolder, tmp_path: Path) -> None:
    bucket.put("r.csv", CSV)
    with one_file(f"{bucket.address}/r.csv") as copy:
        assert (copy.name, copy.read_bytes()) == ("r.csv", CSV)
    assert not copy.exists()
    with one_file(str(tmp_path / "mine.csv")) as mine:
        assert mine == tmp_path / "mine.csv"


def test_a_mirror_in_an_object_store(
    bucket: ObjectFolder, tmp_path: Path, quick: DownloadConfig, ml_1m_zip: Any
) -> None:
    bucket.put("ml-1m.zip", ml_1m_zip())
    mirrored = quick.model_copy(update={"mirror": str(bucket.address)})
    snapshot = take_snapshot(InputConfig(dataset="ml-1m"), mirrored, DemoConfig(), tmp_path / "raw")
    assert (snapshot.origin, snapshot.trust) == (f"{bucket.address}/ml-1m.zip", "contents")
    assert not (tmp_path / "raw" / "ml-1m" / "ml-1m.zip").exists()


@pytest.mark.parametrize("address", ["gopher://host/r.csv", "s3://ID:KEY@bucket/r.csv"])
def test_an_address_of_no_known_kind(address: str, tmp_path: Path, quick: DownloadConfig) -> None:
    with pytest.raises(UsageError, match="no address of an object store"):
        take(tmp_path, quick, address)


def test_real_given_splits_are_read_as_they_are(real_archives: Path, tmp_path: Path, quick: DownloadConfig) -> None:
    settings = quick.model_copy(update={"mirror": str(real_archives), "max_unpacked_mib": 100})
    known = take_snapshot(InputConfig(dataset="ml-100k"), settings, DemoConfig(), tmp_path)
    folder = Path(known.ratings[0]).parent
    own = take(tmp_path, quick, folder / "u1.base", folder / "u.item")
    assert (own.ratings_format, own.items_format) == (known.ratings_format, known.items_format)
