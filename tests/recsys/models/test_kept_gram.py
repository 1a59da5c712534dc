"""Night after night with and without last night's matrix, and whatever may have become of that."""

import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_contract import CONTEXT
from numpy.testing import assert_array_equal

from recsys import tables
from recsys.config import ComputeConfig, PrepareConfig
from recsys.models import gram_update
from recsys.models.base import FitContext
from recsys.models.cooccurrence import WeightedRows, upper_gram
from recsys.models.edlae import Edlae, EdlaeSettings
from recsys.models.kept_gram import KeptGram
from recsys.prepare.prepared import Prepared
from recsys.prepare.write import write_prepared
from recsys.ratings import Ratings, Scale
from recsys.read.stream import Stream

PAIRS = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 6)), min_size=4)


def ratings_of(pairs, named):
    pairs = sorted(pairs)
    users, items = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    return Ratings(
        user_ids=pa.array([named(user) for user in users]),
        item_ids=pa.array([named(item) for item in items]),
        user_index=np.array([users.index(user) for user, _ in pairs], np.int32),
        item_index=np.array([items.index(item) for _, item in pairs], np.int32),
        rating=np.ones(len(pairs), np.float32),
        timestamp=None,
        seen_user_index=np.empty(0, np.int32),
        seen_item_index=np.empty(0, np.int32),
        quarantine=tables.QUARANTINE.empty_table(),
        rows_read=len(pairs),
        repeated=0,
    )


def night(store, day, pairs, *, named=int, top_items=5):
    """A night's prepared ratings, and where it keeps its matrix."""
    prepared = store / "runs" / f"run_date=2026-01-{day:02d}" / f"run_id={day:016x}" / "prepared"
    prepared.mkdir(parents=True)
    ratings = ratings_of(pairs, named)
    items = pa.table({"item_id": ratings.item_ids})
    config = PrepareConfig(test_fraction=0.1, split="random")
    write_prepared(
        prepared, Stream.of(ratings), None, titles=lambda _: items, config=config, top_items=top_items,
        scale=Scale(1, 5, 1), seed=0, compute=ComputeConfig(threads=1),
    )  # fmt: skip
    return KeptGram(store, prepared, "all", store / "work" / f"{day}.json")


def gram_of(kept, power=0.7):
    """The night's matrix and what it says of the way; the matrix is always the one computed in full."""
    training_set = Prepared(kept.prepared).training_set("all")
    rows = WeightedRows.of(training_set, power)
    gram = kept.gram(training_set, rows, power, 1)
    assert_array_equal(gram.sums, upper_gram(rows, 1).sums)
    return json.loads(kept.record.read_text())


def many(seed=0):
    rng = np.random.default_rng(seed)
    return set(zip(rng.integers(0, 30, 250).tolist(), rng.integers(0, 20, 250).tolist(), strict=True))


class TestNights:
    @settings(max_examples=30)
    @given(st.lists(PAIRS, min_size=2, max_size=4), st.sampled_from([0.0, 0.7]))
    def test_any_sequence_of_nights(self, nights, power):
        """Users and items vanish and return, and the kept items shift; every night but the first is incremental."""
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(gram_update, "MOST_WORK", np.inf)
            ways = [gram_of(night(Path(folder), day, pairs), power) for day, pairs in enumerate(nights, start=1)]
        assert [record["way"] for record in ways] == ["full"] + ["incremental"] * (len(nights) - 1)

    def test_the_record_says_the_way_and_how_many_rows_changed(self, tmp_path, caplog):
        caplog.set_level(logging.INFO, "recsys")
        first = gram_of(night(tmp_path, 1, many(), top_items=0))
        assert first["way"] == "full"
        assert first["why"] == "there is none"
        second = gram_of(night(tmp_path, 2, many() | {(30, 1), (30, 2), (1, 1), (1, 2)}, top_items=0))
        assert (second["way"], second["rows_changed"]) == ("incremental", 2)
        assert second["seconds"] >= 0
        assert 0 < second["work"] < 0.5
        assert "brought up to date" in caplog.text

    def test_one_matrix_is_kept_whatever_the_number_of_nights(self, tmp_path):
        for day in (1, 2, 3):
            gram_of(night(tmp_path, day, many() | {(day, 3)}))
        assert sorted(path.name for path in (tmp_path / "incremental" / "all").iterdir()) == [
            "kept.json",
            "run_id=0000000000000003.sums",
        ]

    def test_a_model_fitted_so_is_the_same(self, tmp_path):
        gram_of(night(tmp_path, 1, many()), 0.5)
        kept = night(tmp_path, 2, many() | {(3, 3), (4, 4)})
        training_set = Prepared(kept.prepared).training_set("all")
        fitted = [
            Edlae.fit(training_set, EdlaeSettings(user_power=0.5), FitContext(0, CONTEXT.compute, kept_gram=each))
            for each in (None, kept)
        ]
        assert fitted[0].weights.tobytes() == fitted[1].weights.tobytes()
        assert json.loads(kept.record.read_text())["way"] == "incremental"


class TestOfNoUse:
    """The night goes on in full, and says why."""

    @pytest.fixture
    def before(self, tmp_path):
        kept = night(tmp_path, 1, many())
        gram_of(kept)
        return kept

    def why(self, before, power=0.7, **given):
        record = gram_of(night(before.store, 2, many() | {(3, 3)}, **given), power)
        assert record["way"] == "full"
        return record["why"]

    def test_of_other_settings(self, before):
        assert "user_power 0.7" in self.why(before, power=0.0)

    def test_its_ratings_are_gone(self, before):
        shutil.rmtree(before.prepared.parent)
        assert "are gone" in self.why(before)

    @pytest.mark.parametrize("array", ["columns", "indptr", "items", "trained"])
    def test_an_array_of_its_ratings_is_missing(self, before, array):
        (before.prepared / "all" / f"{array}.npy").unlink()
        assert "cannot be read" in self.why(before)

    @pytest.mark.parametrize("array", ["columns", "indptr", "items", "trained"])
    def test_an_array_of_its_ratings_is_cut_short(self, before, array):
        file = before.prepared / "all" / f"{array}.npy"
        file.write_bytes(file.read_bytes()[:-8])
        assert "cannot be read" in self.why(before)

    def test_ids_of_another_type(self, before):
        assert "another type" in self.why(before, named=lambda number: f"id{number:02d}")

    def test_of_another_version(self, before):
        record = json.loads((before.folder / "kept.json").read_text())
        (before.folder / "kept.json").write_text(json.dumps(record | {"format": 0}))
        assert "another version" in self.why(before)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
    def test_an_unreadable_record(self, before, text):
        (before.folder / "kept.json").write_text(text)
        assert "cannot be read" in self.why(before)

    def test_sums_cut_short(self, before):
        file = next(before.folder.glob("*.sums"))
        file.write_bytes(file.read_bytes()[:-4])
        assert "cannot be read" in self.why(before)

    def test_a_changed_byte(self, before):
        file = next(before.folder.glob("*.sums"))
        whole = bytearray(file.read_bytes())
        whole[13] ^= 64
        file.write_bytes(whole)
        assert "damaged" in self.why(before)

    def test_the_sums_are_gone(self, before):
        next(before.folder.glob("*.sums")).unlink()
        assert "cannot be read" in self.why(before)

    def test_a_matrix_that_cannot_be_kept_is_told_and_no_more(self, before, caplog):
        shutil.rmtree(before.folder)
        before.folder.write_text("in the way")
        assert "cannot be read" in self.why(before)
        assert "cannot be kept" in caplog.text
