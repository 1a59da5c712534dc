"""Known datasets: mirror, public address, last good copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.config import DemoConfig, DownloadConfig, InputConfig
from recsys.download import copies
from recsys.download.catalogue import DATASETS, Dataset
from recsys.download.hashing import Hasher
from recsys.download.snapshot import take_snapshot
from recsys.errors import InputRefused, SourceUnavailable, UsageError
from recsys.ratings import Scale, Snapshot

MakeArchive = Callable[..., bytes]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives ml-1m other addresses and another pin, None for an edition that changes."""

    def change(*urls: str, pinned: bytes | None = None) -> None:
        pin = None
        if pinned is not None:
            hasher = Hasher()
            hasher.update(pinned)
            pin = hasher.digests()
        monkeypatch.setitem(DATASETS, "ml-1m", replace(DATASETS["ml-1m"], urls=urls, pin=pin))

    return change


def take(raw: Path, download: DownloadConfig, mirror: object = None, dataset: str = "ml-1m") -> Snapshot:
    settings = download.model_copy(update={"mirror": None if mirror is None else str(mirror)})
    return take_snapshot(InputConfig(dataset=dataset), settings, DemoConfig(), raw)


def folders(raw: Path, dataset: str = "ml-1m") -> list[str]:
    return sorted(path.name for path in (raw / dataset).iterdir() if path.name != ".lock")


def record(snapshot: Snapshot) -> Any:
    return json.loads((Path(snapshot.ratings[0]).parent / "source.json").read_text())


def test_a_pinned_archive_is_fetched_once_and_stands_without_network(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    archive = ml_1m_zip()
    listed(web.serve("/ml-1m.zip", web.whole(archive)), pinned=archive)
    first = take(tmp_path, quick)
    web.stop()
    assert take(tmp_path, quick) == first
    assert take(tmp_path, quick, mirror=tmp_path / "nowhere") == first
    assert (first.trust, first.stale, first.origin) == ("pinned hash", False, f"{web.url}/ml-1m.zip")
    assert len(web.requests) == 1

    folder = Path(first.ratings[0]).parent
    assert folders(tmp_path) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["README", "movies.dat", "ratings.dat", "source.json"]
    told = record(first)
    assert folder.name == told["sha256"][:16]
    assert told["bytes"] == len(archive)
    assert [member["name"] for member in told["members"]] == ["README", "movies.dat", "ratings.dat"]
    assert Path(first.items[0]).read_bytes().decode("latin-1").startswith("10::Amélie")


def test_the_mirror_is_asked_first_and_trusted_by_its_contents(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(web.serve("/ml-1m.zip", web.whole(ml_1m_zip())), pinned=ml_1m_zip())
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip({"ml-1m/README": b"rebuilt"}))
    snapshot = take(tmp_path / "raw", quick, mirror=tmp_path)
    assert (snapshot.trust, snapshot.origin) == ("contents", str(tmp_path / "ml-1m.zip"))
    assert not web.requests


@pytest.mark.parametrize("address", ["{}", "{}/", "file://{}"])
def test_a_mirror_with_the_public_archive_has_the_pinned_hash(
    address: str, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(pinned=ml_1m_zip())
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip())
    assert take(tmp_path / "raw", quick, mirror=address.format(tmp_path)).trust == "pinned hash"


def test_a_mirror_may_be_a_base_url(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(pinned=b"another")
    web.serve("/data/ml-1m.zip", web.whole(ml_1m_zip(), etag='"1"'))
    first = take(tmp_path, quick, mirror=f"{web.url}/data/")
    assert (first.trust, first.stale) == ("contents", False)
    assert take(tmp_path, quick, mirror=f"{web.url}/data") == first
    assert web.sent[1] == 0  # not changed, not sent


def test_what_the_mirror_lacks_comes_from_the_public_address(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    archive = ml_1m_zip()
    listed(web.serve("/ml-1m.zip", web.whole(archive)), pinned=archive)
    snapshot = take(tmp_path, quick, mirror=tmp_path / "empty")
    assert (snapshot.trust, snapshot.origin, snapshot.stale) == ("pinned hash", f"{web.url}/ml-1m.zip", False)


def test_public_addresses_are_asked_in_their_order(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    archive = ml_1m_zip()
    wrong = web.serve("/wrong.zip", web.whole(b"x" * len(archive)))
    listed(wrong, web.serve("/ml-1m.zip", web.whole(archive)), pinned=archive)
    assert take(tmp_path, quick).origin.endswith("/ml-1m.zip")
    assert [request.path for request in web.requests] == ["/wrong.zip", "/wrong.zip", "/ml-1m.zip"]


def test_where_nothing_can_be_had_every_source_is_named(
    web: Any, quick: DownloadConfig, tmp_path: Path, listed: Callable[..., None]
) -> None:
    listed(f"{web.url}/gone.zip", web.serve("/busy.zip", web.status(503)), pinned=b"any")
    with pytest.raises(SourceUnavailable) as caught:
        take(tmp_path / "raw", quick, mirror=tmp_path / "empty")
    for part in ("3 sources", "empty/ml-1m.zip", "gone.zip answers HTTP 404", "busy.zip", "HTTP 503", "--mirror"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 5
    assert folders(tmp_path / "raw") == []


def test_an_edition_that_changes_is_asked_for_with_a_condition(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    old, new = ml_1m_zip(), ml_1m_zip({"ml-1m/ratings.dat": b"1::10::4::978300760\n"})
    listed(web.serve("/ml-1m.zip", web.whole(old, etag='"1"')))
    first = take(tmp_path, quick)
    assert take(tmp_path, quick) == first
    assert web.sent == [len(old), 0]

    web.serve("/ml-1m.zip", web.whole(new, etag='"2"'))
    second = take(tmp_path, quick)
    assert second.fingerprint != first.fingerprint
    assert Path(first.ratings[0]).exists()  # a published run may still name it
    assert len(folders(tmp_path)) == 2


def test_the_last_good_copy_is_used_when_the_source_fails(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    older, newer = ml_1m_zip(), ml_1m_zip({"ml-1m/ratings.dat": b"1::10::4::978300760\n"})
    for archive, etag in ((older, '"1"'), (newer, '"2"')):
        listed(web.serve("/ml-1m.zip", web.whole(archive, etag=etag)))
        good = take(tmp_path, quick)
    web.serve("/ml-1m.zip", web.status(503))
    stale = take(tmp_path, quick)
    assert stale.stale
    assert "HTTP 503" in stale.stale_reason
    assert replace(stale, stale=False, stale_reason="") == good


def test_an_older_edition_that_comes_back_is_the_newest_again(
    quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed()
    editions = [ml_1m_zip(), ml_1m_zip({"ml-1m/README": b"second"})]
    for archive in (editions[0], editions[1], editions[0]):
        (tmp_path / "ml-1m.zip").write_bytes(archive)
        last = take(tmp_path / "raw", quick, mirror=tmp_path)
    (tmp_path / "ml-1m.zip").unlink()
    stale = take(tmp_path / "raw", quick, mirror=tmp_path)
    assert stale.stale
    assert stale.ratings == last.ratings
    assert len(folders(tmp_path / "raw")) == 2


def test_a_copy_that_is_only_trusted_by_contents_does_not_stand_for_the_pinned_one(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    archive = ml_1m_zip()
    url = web.serve("/ml-1m.zip", web.status(503), web.status(503), web.status(503), web.whole(archive))
    listed(url, pinned=archive)
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip({"ml-1m/README": b"rebuilt"}))
    mirrored = take(tmp_path / "raw", quick, mirror=tmp_path)
    fallen_back = take(tmp_path / "raw", quick)
    assert (fallen_back.stale, fallen_back.trust) == (True, "contents")
    public = take(tmp_path / "raw", quick)
    assert (public.stale, public.trust) == (False, "pinned hash")
    assert public.fingerprint == mirrored.fingerprint  # the same ratings and items, wherever they come from


@pytest.mark.parametrize(
    ("further", "why"),
    [
        ({"../x": b"harm"}, "outside the folder"),
        ({"ml-1m/ratings.dat": b""}, "has not the layout"),
        ({"ml-1m/ratings.dat": b"0" * 5_000_000}, "more than the limit"),
    ],
)
def test_a_refused_archive_leaves_nothing(
    further: dict[Any, bytes],
    why: str,
    web: Any,
    quick: DownloadConfig,
    tmp_path: Path,
    ml_1m_zip: MakeArchive,
    listed: Callable[..., None],
) -> None:
    listed(f"{web.url}/gone.zip")
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip(further))
    with pytest.raises(InputRefused, match=why) as caught:
        take(tmp_path / "raw", quick, mirror=tmp_path)
    assert caught.value.exit_code == 3
    assert "gone.zip" in str(caught.value)
    assert folders(tmp_path / "raw") == []


def test_a_refused_archive_is_no_reason_to_give_up_the_night(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(web.serve("/ml-1m.zip", web.whole(ml_1m_zip(), etag='"1"')))
    good = take(tmp_path, quick)
    web.serve("/ml-1m.zip", web.whole(ml_1m_zip({"../x": b"harm"}), etag='"2"'))
    stale = take(tmp_path, quick)
    assert "'../x'" in stale.stale_reason
    assert stale.ratings == good.ratings
    assert len(folders(tmp_path)) == 1


def test_the_wrong_dataset_under_the_right_name_is_refused(
    quick: DownloadConfig, tmp_path: Path, make_zip: Callable[..., bytes], listed: Callable[..., None]
) -> None:
    listed()
    (tmp_path / "ml-1m.zip").write_bytes(make_zip({"ml-25m/ratings.csv": b"x", "ml-25m/movies.csv": b"y"}))
    with pytest.raises(InputRefused, match=r"(?s)layout of ml-1m.*ml-1m/ratings\.dat"):
        take(tmp_path / "raw", quick, mirror=tmp_path)


def test_a_run_killed_while_it_unpacks_leaves_no_snapshot(
    quick: DownloadConfig,
    tmp_path: Path,
    ml_1m_zip: MakeArchive,
    listed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed()
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip())
    whole = Path(take(tmp_path / "raw", quick, mirror=tmp_path).ratings[0]).parent
    whole.rename(whole.with_name("unpacking.partial"))  # killed before it could be named, perhaps before it was flushed
    assert copies.known_snapshots(tmp_path / "raw", "ml-1m") == ()

    def killed(folder: Path) -> None:
        assert (folder / "source.json").exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(copies, "sync_tree", killed)
        take(tmp_path / "raw", quick, mirror=tmp_path)
    assert folders(tmp_path / "raw") == []
    assert take(tmp_path / "raw", quick, mirror=tmp_path).trust == "contents"
    assert len(folders(tmp_path / "raw")) == 1


def test_a_damaged_copy_is_made_anew(
    quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(pinned=ml_1m_zip())
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip())
    first = take(tmp_path / "raw", quick, mirror=tmp_path)
    Path(first.ratings[0]).write_bytes(b"cut")
    assert copies.known_snapshots(tmp_path / "raw", "ml-1m") == ()
    again = take(tmp_path / "raw", quick, mirror=tmp_path)
    assert again == first
    assert Path(again.ratings[0]).read_bytes() != b"cut"


def test_an_archive_that_was_fetched_and_never_unpacked_is_used(
    web: Any, quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed(f"{web.url}/gone.zip", pinned=ml_1m_zip())
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ml-1m.zip").write_bytes(ml_1m_zip())
    assert take(tmp_path, quick).trust == "pinned hash"
    assert not web.requests


def test_the_fingerprint_does_not_know_the_place(
    quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed()
    taken = []
    for place, readme in (("here", b"1"), ("there", b"2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "ml-1m.zip").write_bytes(ml_1m_zip({"ml-1m/README": readme}))
        taken.append(take(tmp_path / f"raw-{place}", quick, mirror=tmp_path / place))
    assert taken[0].fingerprint == taken[1].fingerprint
    assert taken[0].origin != taken[1].origin


def test_a_closed_disk_is_told(
    quick: DownloadConfig,
    tmp_path: Path,
    ml_1m_zip: MakeArchive,
    listed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    listed()
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip())
    monkeypatch.setattr(copies, "sync_tree", full)
    with pytest.raises(UsageError, match="cannot be used: No space left"):
        take(tmp_path / "raw", quick, mirror=tmp_path)


def test_the_edition_of_2016_needs_a_mirror(quick: DownloadConfig, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"(?s)no public address.*--mirror"):
        take(tmp_path, quick, dataset="ml-latest-small-2016")


def test_an_unknown_dataset_is_told_with_the_known_ones(quick: DownloadConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)'ml-2m'.*'demo'.*'ml-25m'"):
        take(tmp_path, quick, dataset="ml-2m")


def test_columns_are_refused_beside_a_dataset(quick: DownloadConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="own files"):
        take_snapshot(InputConfig(dataset="ml-1m", columns={"user": "u"}), quick, DemoConfig(), tmp_path)


def test_the_configuration_narrows_the_scale(
    quick: DownloadConfig, tmp_path: Path, ml_1m_zip: MakeArchive, listed: Callable[..., None]
) -> None:
    listed()
    (tmp_path / "ml-1m.zip").write_bytes(ml_1m_zip())
    mirrored = quick.model_copy(update={"mirror": str(tmp_path)})
    snapshot = take_snapshot(InputConfig(dataset="ml-1m", rating_min=0.0), mirrored, DemoConfig(), tmp_path / "raw")
    assert snapshot.scale == Scale(0.0, 5.0, 1.0)


REAL = {"ml-100k": 100_000, "ml-1m": 1_000_209, "ml-latest-small": 100_836, "ml-latest-small-2016": 100_004}


@pytest.mark.parametrize("name", REAL)
def test_real_archives(name: str, real_archives: Path, quick: DownloadConfig, tmp_path: Path) -> None:
    roomy = quick.model_copy(update={"max_unpacked_mib": 100})
    snapshot = take(tmp_path, roomy, mirror=real_archives, dataset=name)
    dataset: Dataset = DATASETS[name]
    lines = Path(snapshot.ratings[0]).read_bytes().splitlines()
    header = 0 if dataset.ratings_format.columns else 1
    assert len(lines) - header == REAL[name] == dataset.n_ratings
    separated = [line.decode().split(dataset.ratings_format.delimiter) for line in lines]
    rows = separated[header:]
    assert len({row[0] for row in rows}) == dataset.n_users
    assert len({row[1] for row in rows}) == dataset.n_items
    assert len(separated[0]) == len(dataset.ratings_format.columns or "four")
    assert snapshot.trust == "contents"
    titles = Path(snapshot.items[0]).read_bytes().decode(dataset.items_format.encoding)
    assert "Toy Story (1995)" in titles


def test_real_splits_are_unpacked(real_archives: Path, quick: DownloadConfig, tmp_path: Path) -> None:
    roomy = quick.model_copy(update={"max_unpacked_mib": 100})
    folder = Path(take(tmp_path, roomy, mirror=real_archives, dataset="ml-100k").ratings[0]).parent
    given = {f"u{part}.{kind}" for part in "12345ab" for kind in ("base", "test")}
    assert {path.name for path in folder.iterdir()} == given | {"u.data", "u.item", "README", "source.json"}
    item = (folder / "u.item").read_bytes().splitlines()[0].split(b"|")
    assert len(item) == len(DATASETS["ml-100k"].items_format.columns or ())
