"""What people choose to show: each said twice gives the same store, and the next nights heed it."""

import os
import shutil
from datetime import timedelta

import pytest
from nights import NIGHT, config_of, make_run, score_run

from recsys.errors import GateRefused, StoreBusy, UsageError
from recsys.history.holds import read_holds
from recsys.history.prune import prune
from recsys.history.shown import pin, promote, roll_back, unpin
from recsys.publish.damage import DamagedRun
from recsys.publish.mend import mend
from recsys.publish.stage import publish
from recsys.published import PublishedRun
from recsys.states import state_of
from recsys.store import MANIFEST, REFUSED, Store

REFUSING = {"gate": {"min_ndcg": 1.0}}


def day(number):
    return NIGHT + timedelta(days=number)


def content(store):
    """Every file and what is in it, but the lease, whose token grows."""
    return {
        path.relative_to(store.root).as_posix(): b"" if path.is_symlink() else path.read_bytes()
        for path in sorted(store.root.rglob("*"))
        if path.is_file() and path.name not in ("lease.json", ".lock")
    }


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with three published nights, for each test to have a copy of."""
    store = Store(tmp_path_factory.mktemp("made"))
    for number in range(3):
        publish_under_lease(store, number)
    return store.root


@pytest.fixture
def nights(store, made):
    """Three published nights."""
    shutil.copytree(made, store.root, symlinks=True, dirs_exist_ok=True)
    return [make_run(store.root, night=day(number)) for number in range(3)]


def again(store, command):
    """Say it twice: the same outcome for readers, the same store."""
    command()
    before, shown = content(store), store.current()
    command()
    changed = {name for name, data in content(store).items() if before.get(name) != data}
    assert changed <= {"published/CURRENT.json"}  # whose token is the later lease's
    assert store.current() == shown


def publish_under_lease(store, number, **given):
    """As the flow does: the run, made where it is not, and what publishing said."""
    with store.hold() as lease:
        run = make_run(store.root, night=day(number), token=lease.token, **given)
        mend(run)
        return run, publish(run if run.made else score_run(run))


def refused_night(store, number):
    with pytest.raises(GateRefused, match="REJECTED"):
        publish_under_lease(store, number, config=config_of(**REFUSING))
    return make_run(store.root, night=day(number), config=config_of(**REFUSING))


class TestRollBack:
    def test_an_earlier_run_is_shown_and_the_later_ones_are_not_any_more(self, store, nights):
        again(store, lambda: roll_back(store, nights[0].run_id[:6]))
        assert store.current().run_id == nights[0].run_id
        assert (store.root / "published" / "current").resolve() == nights[0].folder.resolve()
        assert set(read_holds(store).withdrawn) == {nights[1].run_id, nights[2].run_id}
        assert publish_under_lease(store, 2)[1].outcome == "kept"  # found complete, and taken back
        assert store.current().run_id == nights[0].run_id
        fresh, published = publish_under_lease(store, 3)
        assert published.outcome == "published"
        assert store.current().run_id == fresh.run_id

    def test_forward_again(self, store, nights):
        roll_back(store, nights[0].run_id)
        roll_back(store, nights[2].run_id)
        assert store.current().run_id == nights[2].run_id
        assert nights[2].run_id not in read_holds(store).withdrawn

    def test_a_damaged_run_is_never_shown(self, store, nights):
        (nights[0].folder / "popular_items" / "part-00000.parquet").write_bytes(b"x")
        with pytest.raises(DamagedRun, match="popular_items/part-00000"):
            roll_back(store, nights[0].run_id)
        assert store.current().run_id == nights[2].run_id

    def test_an_unknown_run(self, store, nights):
        with pytest.raises(UsageError, match="No complete run"):
            roll_back(store, "nothing")

    def test_not_while_a_run_holds_the_store(self, store, nights):
        with store.hold(), pytest.raises(StoreBusy):
            roll_back(store, nights[0].run_id)


class TestPromote:
    def test_a_refused_run_is_published_by_name_and_its_manifest_says_so(self, store, nights):
        run = refused_night(store, 3)
        assert state_of(run.folder).name == "refused by the gate"
        assert store.current().run_id == nights[2].run_id
        again(store, lambda: promote(store, run.run_id[:8], by="Ada", reason="the input was right"))
        assert store.current().run_id == run.run_id
        manifest = PublishedRun.open(store.root).manifest
        assert manifest["gate"]["verdict"] == "REJECTED"
        told = manifest["gate"]["promoted_by"]
        assert (told["by"], told["reason"]) == ("Ada", "the input was right")
        assert not (run.folder / REFUSED).exists()
        assert PublishedRun.open(store.root).verify() > 0

    def test_killed_between_the_manifests_the_next_try_ends_well(self, store, nights):
        run = refused_night(store, 3)
        left = (run.folder / REFUSED).read_bytes()
        promote(store, run.run_id, by="Ada", reason="")
        (run.folder / REFUSED).write_bytes(left)
        roll_back(store, nights[0].run_id)
        promote(store, run.run_id, by="Ada", reason="")
        assert store.current().run_id == run.run_id
        assert not (run.folder / REFUSED).exists()

    def test_a_damaged_one_is_not(self, store, nights):
        run = refused_night(store, 3)
        (run.folder / "evaluation.json").write_text("{}")
        with pytest.raises(DamagedRun, match=r"evaluation\.json"):
            promote(store, run.run_id, by="Ada", reason="")
        assert store.current().run_id == nights[2].run_id

    def test_one_that_was_taken_back_is_shown_again(self, store, nights):
        roll_back(store, nights[0].run_id)
        promote(store, nights[1].run_id, by="Ada", reason="")
        assert store.current().run_id == nights[1].run_id
        assert read_holds(store).withdrawn == (nights[2].run_id,)


class TestPin:
    def test_a_pinned_run_stays_until_it_is_unpinned(self, store, nights):
        again(store, lambda: pin(store, nights[1].run_id))
        assert store.current().run_id == nights[1].run_id
        kept, published = publish_under_lease(store, 3)
        assert published.outcome == "kept"
        with pytest.raises(UsageError, match="is pinned"):
            roll_back(store, nights[0].run_id)
        again(store, lambda: unpin(store))
        assert publish_under_lease(store, 3)[1].outcome == "pointed"
        assert store.current().run_id == kept.run_id

    def test_unset_it_is_the_published_one(self, store, nights):
        assert pin(store, None).pinned == nights[2].run_id

    @pytest.mark.parametrize("text", ["{", "[]", '{"pinned": null}'])
    def test_a_record_that_cannot_be_read_is_told(self, store, nights, text):
        (store.root / "published" / "HOLDS.json").write_text(text)
        with pytest.raises(UsageError, match=r"HOLDS\.json cannot be read"):
            publish_under_lease(store, 2)[1]


class TestPrune:
    def test_the_last_the_published_and_the_pinned_stay(self, store, nights):
        nights += [publish_under_lease(store, number)[0] for number in (3, 4)]
        pin(store, nights[1].run_id)
        planned = prune(store, 2, dry_run=True)
        assert len(store.runs()) == 5
        again(store, lambda: prune(store, 2))
        left = {folder.name.removeprefix("run_id=") for folder in store.runs()}
        assert left == {nights[number].run_id for number in (1, 3, 4)}
        assert set(planned.runs) == {nights[number].run_id for number in (0, 2)}
        assert planned.kept[nights[1].run_id] == "pinned"
        assert planned.bytes > 0
        assert not list((store.root / "runs").glob("run_date=*/.*"))
        assert len(list((store.root / "nights").iterdir())) == 5

    def test_the_published_run_stays_after_a_rollback(self, store, nights):
        roll_back(store, nights[0].run_id)
        prune(store, 1)
        left = {folder.name.removeprefix("run_id=") for folder in store.runs()}
        assert left == {nights[0].run_id, nights[2].run_id}
        assert PublishedRun.open(store.root).verify() > 0

    def test_refused_and_unfinished_runs_go_once_they_are_old(self, store, nights):
        refused = refused_night(store, 1)
        unfinished = make_run(store.root, night=day(1), fingerprint="d" * 64)
        young = make_run(store.root, night=day(4), fingerprint="c" * 64)
        prune(store, 3)
        assert refused.folder.exists()
        assert unfinished.folder.exists()
        prune(store, 1)
        assert not refused.folder.exists()
        assert not unfinished.folder.exists()
        assert not unfinished.work.exists()
        assert young.folder.exists()

    def test_downloads_that_were_replaced_before_the_oldest_run_go(self, store, nights):
        made = (nights[2].folder / MANIFEST).stat().st_mtime_ns
        for name, seconds in (("first", -30), ("second", -20), ("in use", -10), ("newest", 10)):
            folder = store.raw / "made" / name
            folder.mkdir(parents=True)
            (folder / "ratings.csv").write_text(name)
            os.utime(folder, ns=(made, made + seconds * 10**9))
        assert prune(store, 1).downloads == ("raw/made/first", "raw/made/second")
        assert {path.name for path in (store.raw / "made").iterdir()} == {"in use", "newest"}

    def test_none_at_all_is_refused(self, store):
        with pytest.raises(UsageError, match="would leave no run"):
            prune(store, 0)

    def test_killed_in_the_middle_no_half_run_is_left(self, store, nights, monkeypatch):
        import shutil

        def killed(path, ignore_errors=False):
            if "pruned" in str(path) and path.exists():
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                prune(store, 1)
        assert all(state_of(folder).name == "complete" for folder in store.runs())
        prune(store, 1)
        assert len(store.runs()) == 1
        assert not (store.root / "work" / "pruned").exists()
