"""What the sections say, against naive loops over the input."""

from dataclasses import replace
from datetime import timedelta

import nights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pages import GENRES, HOSTILE, past_nights

from recsys import tables
from recsys.report import about, data, item_map, people, timings, training
from recsys.report import nights as nights_section
from recsys.report.blocks import Chart, Group, Table, Words, charts_of
from recsys.report.source import Source
from recsys.report.text import shown


@pytest.fixture(scope="module")
def source(hostile):
    return Source(hostile[0])


def blocks_of(section):
    """All blocks, those in groups too."""
    found = []
    for block in section.blocks:
        found += [block, *block.blocks] if isinstance(block, Group) else [block]
    return found


def chart(section, name):
    return next(each for each in charts_of(section.blocks) if each.id == name)


def values(table):
    return {row[0]: row[1:] for row in table.rows}


def in_store(source, store):
    """The same run in a store with other nights."""
    other = Source(replace(source.run, store=store))
    other.__dict__.update(drift=source.drift, evaluation=source.evaluation)
    return other


class TestNights:
    def test_tonight_beside_the_last_published_night(self, source):
        section = nights_section.section(source)
        table = section.blocks[0]
        assert f"the last night ({source.run.run_date - timedelta(days=1)})" in table.caption
        rows = values(table)
        counts = source.prepared.counts
        assert rows["Ratings"][:3] == [str(counts.ratings), "101", f"+{counts.ratings - 101}"]
        assert rows["Ratings"][3].split() == ["101", "·", "103", "·", "105"]
        assert rows["ndcg@10"][1] == "0.5000"
        assert "Drift of the ratings (PSI)" not in rows  # of no night known
        drawn = chart(section, "nights-ratings")
        assert len(drawn.table.rows) == 6
        assert drawn.traces[-1]["y"] == [105, 104, 103, 102, 101, counts.ratings]

    def test_beside_one_night_there_is_no_range(self, source, tmp_path):
        past_nights(tmp_path, source.run.run_date, source.run.snapshot.dataset, 1)
        table = nights_section.section(in_store(source, tmp_path)).blocks[0]
        assert table.columns == ["Figure", "Tonight", "Last", "Change"]
        assert {len(row) for row in table.rows} == {4}

    def test_a_change_of_a_share_is_in_points(self):
        change = nights_section._change
        assert change(0.33, 0.321, nights_section.share).split() == ["+0.90", "points"]
        assert change(0.1, 0.3, nights_section.share).split() == ["−20.0", "points"]
        assert change(5, 2, nights_section.whole) == "+3"
        assert [change(1, 1, nights_section.share), change(None, 1, nights_section.share)] == ["0", "–"]

    def test_the_last_night_is_the_last_that_was_published(self):
        rows = [
            {"verdict": verdict, "run_date": place} for place, verdict in enumerate(("PROMOTED", "UNGATED", "REJECTED"))
        ]
        assert nights_section.Nights({}, rows).last["run_date"] == 1
        assert nights_section.Nights({}, rows[2:]).last["run_date"] == 2

    def test_thirty_nights_of_the_same_dataset_before_tonight(self, source, tmp_path):
        tonight, dataset = source.run.run_date, source.run.snapshot.dataset
        past_nights(tmp_path, tonight, dataset, 33)
        past_nights(tmp_path, tonight + timedelta(days=3), "another", 40)
        past_nights(tmp_path, tonight + timedelta(days=2), dataset, 1)  # of a later night
        found = nights_section.nights_of(in_store(source, tmp_path))
        assert [row["run_date"] for row in found.before] == [
            tonight - timedelta(days=back) for back in range(30, 0, -1)
        ]

    @pytest.mark.parametrize("first", ["0" * 16, "f" * 16])
    def test_of_two_runs_of_a_night_the_published_one_counts(self, source, tmp_path, first):
        past_nights(tmp_path, source.run.run_date, source.run.snapshot.dataset, 1)
        file = next((tmp_path / "nights").iterdir())
        row = pq.read_table(file).to_pylist()[0]
        twin = pa.Table.from_pylist([row | {"run_id": first, "verdict": "REJECTED"}], schema=tables.NIGHTS)
        pq.write_table(twin, file.with_name(f"part-{row['run_date']}-{first}.parquet"))
        found = nights_section.nights_of(in_store(source, tmp_path))
        assert [night["run_id"] for night in found.before] == [row["run_id"]]

    def test_without_nights_one_sentence(self, tmp_path):
        run = nights.score_run(nights.make_run(tmp_path))
        assert nights_section.section(Source(run)).blocks == [Words(nights_section.NOTHING)]
        (tmp_path / "nights").mkdir()
        assert nights_section.section(Source(run)).blocks == [Words(nights_section.NOTHING)]
        (tmp_path / "nights" / "part-2026-01-30-x.parquet").write_bytes(b"no Parquet")
        assert nights_section.section(Source(run)).blocks == [Words(nights_section.NOTHING)]


class TestData:
    def test_counts_and_refusals(self, source):
        section = data.section(source)
        counts, reasons = (block for block in section.blocks if isinstance(block, Table))
        assert values(counts)["Ratings"][0] == str(source.prepared.counts.ratings)
        once = sum(count == 1 for count in source.item_counts.tolist())
        assert values(counts)["Items with one rating"][0] == str(once)
        assert reasons.rows == [
            ["4 fields expected, 3 found", "2", "50.0%", "<u>x.csv, line 2: </td><script>alert(4)</script>␛"],
            ["rating is not a number", "2", "50.0%", "<u>x.csv, line 1: </td><script>alert(4)</script>␛"],
        ]

    def test_ratings_by_height(self, source):
        found = chart(data.section(source), "data-ratings")
        rating = source.prepared.array("rating")
        assert found.traces[0]["x"] == ["1", "2", "3", "4", "5"]
        assert found.traces[0]["y"] == [int((rating == star).sum()) for star in range(1, 6)]

    def test_too_many_distinct_ratings_are_counted_in_steps(self, source, monkeypatch):
        monkeypatch.setattr(data, "MOST_LEVELS", 4)
        found, numbers = data._levels(source)
        assert found == [1.5, 2.5, 3.5, 4.5]
        rating = source.prepared.array("rating")
        assert numbers == [int(((rating >= low) & (rating < low + 1 + (low == 4))).sum()) for low in range(1, 5)]

    def test_chunks_make_no_difference(self, source, monkeypatch):
        whole = data._levels(source)
        monkeypatch.setattr("recsys.report.source.CHUNK", 7)
        assert data._levels(source) == whole

    def test_items_and_users_by_their_number_of_ratings(self, source):
        section = data.section(source)
        items, users = chart(section, "data-items"), chart(section, "data-users")
        assert sum(items.traces[0]["y"]) == source.prepared.counts.items
        assert sum(users.traces[0]["y"]) == source.prepared.counts.users
        assert items.switch == "yaxis"

    def test_the_most_active_by_the_most_rated(self, source):
        section = data.section(source)
        grid = next(block for block in blocks_of(section) if block.kind == "grid")
        indptr, item = source.prepared.array("indptr"), source.prepared.array("item_index")
        rating = source.prepared.array("rating")
        user_ids = source.prepared.ids.user_ids.to_pylist()
        for name, cells in zip(grid.rows, grid.cells, strict=True):
            user = user_ids.index(int(name))
            rated = dict(
                zip(item[indptr[user] : indptr[user + 1]], rating[indptr[user] : indptr[user + 1]], strict=True)
            )
            for column, cell in zip(source.by_popularity[:15].tolist(), cells, strict=True):
                assert (cell and cell[0]) == (f"{rated[column]:g}" if column in rated else None)
        assert grid.columns[0] == shown(HOSTILE[0])

    def test_ratings_over_time(self, source, monkeypatch):
        day = 86_400
        times = np.array([0, 10 * day, 10 * day + 5, 12 * day, 0], np.int64)
        monkeypatch.setattr(data, "_times", lambda _: iter([times[:2][times[:2] > 0], times[2:][times[2:] > 0]]))
        found = data._time_chart(source)
        assert found.traces[0]["x"] == ["1970-01-11", "1970-01-12", "1970-01-13"]
        assert found.traces[0]["y"] == [2, 0, 1]
        assert "have no time" in found.title

    @pytest.mark.parametrize(
        ("days", "unit", "bars"),
        [(1, "day", 1), (129, "day", 129), (200, "week", 29), (2000, "month", 66), (9000, "year", 25)],
    )
    def test_the_unit_fits_the_span(self, source, monkeypatch, days, unit, bars):
        times = np.array([86_400, days * 86_400 + 5], np.int64)
        monkeypatch.setattr(data, "_times", lambda _: iter([times]))
        found = data._time_chart(source)
        assert found.title.startswith(f"Ratings by {unit}")
        assert len(found.traces[0]["x"]) == pytest.approx(bars, abs=1)
        assert sum(found.traces[0]["y"]) == 2

    def test_without_times_or_over_centuries_there_is_no_chart(self, source, monkeypatch):
        assert data._time_chart(source) is None  # the made ratings have none
        monkeypatch.setattr(data, "_times", lambda _: iter([np.array([1, 2**40], np.int64)]))
        assert data._time_chart(source) is None


class TestMap:
    def test_places_titles_and_neighbours(self, source):
        found = item_map.section(source).data["map"]
        assert sorted(found["title"]) == sorted(map(shown, HOSTILE))
        assert found["count"] == sorted(found["count"], reverse=True)
        assert len(found["x"]) == len(found["y"]) == len(HOSTILE)
        assert max(map(abs, found["x"] + found["y"])) == pytest.approx(1)
        similar = pq.read_table(source.folder / "similar_items", partitioning=None).to_pylist()
        ids = source.prepared.ids.item_ids.to_pylist()
        for place, item in enumerate(source.by_popularity.tolist()):
            named = [row["similar_item_id"] for row in similar if row["item_id"] == ids[item]]
            assert [ids[source.by_popularity[near]] for near in found["near"][place]] == named[:10]
        assert found["genres"] == ["<i>Drama</i>", 'Sci"Fi', "خيال", "other"]
        wanted = [(GENRES[item] or ["other"])[0] for item in source.by_popularity.tolist()]
        assert [found["genres"][place] for place in found["genre"]] == wanted

    def test_it_is_bounded(self, source, monkeypatch):
        monkeypatch.setattr(item_map, "MOST_KNOWN", 7)
        monkeypatch.setattr(item_map, "MOST_PLACED", 4)
        section = item_map.section(source)
        found = section.data["map"]
        assert (len(found["title"]), len(found["x"])) == (7, 4)
        assert all(place < 7 for near in found["near"] for place in near)
        assert "4 most rated of 12" in section.blocks[0].label
        assert "7 most rated of 12" in section.blocks[0].label

    def test_principal_components_against_numpy(self):
        vectors = np.random.default_rng(3).normal(size=(20, 5)) * [5, 3, 1, 1, 1]
        points, explained = item_map._principal(vectors)
        centred = vectors - vectors.mean(axis=0)
        left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
        assert_allclose(np.abs(points), np.abs(left[:, :2] * lengths[:2]), atol=1e-9)
        assert explained == pytest.approx((lengths[:2] ** 2).sum() / (lengths**2).sum())

    def test_tsne_keeps_neighbours_together_and_is_the_same_again(self):
        rng = np.random.default_rng(0)
        vectors = np.concatenate([rng.normal(size=(25, 8)) + 12 * corner for corner in np.eye(8)[:3]])
        points, how = item_map._project(vectors)
        assert how == "t-SNE of their vectors"
        assert_array_equal(points, item_map._project(vectors)[0])
        group = np.repeat(range(3), 25)
        distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(75)
        assert (group[distance.argmin(axis=1)] == group).mean() > 0.95

    @pytest.mark.parametrize("n", [1, 2, 3, 40])
    def test_vectors_that_are_all_the_same(self, n):
        points, _ = item_map._project(np.ones((n, 3)))
        assert points.shape == (n, 2)
        assert not points.any()

    def test_neighbours_by_cosine_where_the_ranker_has_no_word(self):
        vectors = np.random.default_rng(1).normal(size=(12, 4))
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for place, near in enumerate(item_map._cosine_neighbours(vectors)):
            others = sorted((-unit[place] @ unit[other], other) for other in range(12) if other != place)
            assert near == [other for _, other in others[:10]]


class TestPeople:
    def test_what_they_rated_and_get(self, source):
        section = people.section(source)
        persons = [block for block in section.blocks if block.kind == "person"]
        assert len(persons) == people.N_PEOPLE
        rows = pq.read_table(source.folder / "recommendations", partitioning=None).to_pylist()
        titles = dict(zip(source.prepared.ids.item_ids.to_pylist(), source.titles, strict=True))
        for person in persons:
            own = [row for row in rows if f"User {row['user_id']}" == person.name]
            assert [row[1] for row in person.gets.rows] == [titles[row["item_id"]] for row in own][:10]
            assert [row[-1] for row in person.gets.rows] == [titles.get(row["because_item_id"], "–") for row in own][
                :10
            ]
            assert person.gets.caption.endswith("gets nothing: no item is left") == (not own)
            given = [float(row[1]) for row in person.rated.rows]
            assert given == sorted(given, reverse=True)

    def test_they_are_drawn_from_all_sixths(self, source):
        drawn = people._sample(source)
        assert drawn == people._sample(source)
        assert len(set(drawn)) == people.N_PEOPLE
        order = np.argsort(-source.user_counts, kind="stable").tolist()
        assert [order.index(user) * people.N_PEOPLE // len(order) for user in drawn] == list(range(people.N_PEOPLE))


def test_training_shows_the_judged_fits_validation_and_the_refit(source):
    found = chart(training.section(source), "training-rater")
    names = found.table.columns[1:]
    assert names == ["training", "validation", "training, fitted again on all"]
    assert isinstance(found, Chart)
    assert found.switch == "yaxis"


def test_the_time_of_the_night_before_stands_beside_tonights(source, tmp_path):
    told = timings.section(source).blocks[0].text
    assert f"The night of {source.run.run_date - timedelta(days=1)} took 0.0 s" in told
    assert "The night of" not in timings.section(in_store(source, tmp_path)).blocks[0].text
    seconds = chart(timings.section(source), "timings-seconds")
    assert [row[0] for row in seconds.table.rows] == seconds.traces[0]["y"]


def test_where_the_input_comes_from(source):
    rows = values(about.section(source).blocks[0])
    assert rows["From"] == ["</script>memory (generated)"]
    assert rows["Run"] == [source.run.run_id]
