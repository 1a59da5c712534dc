"""The generated dataset: exact size, same bytes, MovieLens' shape, and tastes that a model can learn."""

from __future__ import annotations

import csv
import hashlib
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys import progress
from recsys.config import DemoConfig
from recsys.demo import generate, words
from recsys.demo.alias import KEEP_BITS, alias_tables
from recsys.demo.bits import BELL_STD, Bits
from recsys.demo.catalogue import invent_catalogue
from recsys.demo.choose import choose_items
from recsys.demo.users import SLOTS, Users, activity
from recsys.errors import UsageError

HEADER = "userId,movieId,rating,timestamp"
DEFAULT = DemoConfig()
Matrix = NDArray[np.float64]


class Table(NamedTuple):
    """Columns of all parts, (n,) each; ids are those of the files."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rating: NDArray[np.float64]
    timestamp: NDArray[np.int64]


def config(users: int, items: int, ratings: int, seed: int = 7) -> DemoConfig:
    return DemoConfig(users=users, items=items, ratings=ratings, seed=seed)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("ratings-*.csv"))


def read(folder: Path) -> Table:
    values = np.concatenate([np.loadtxt(part, delimiter=",", skiprows=1, ndmin=2) for part in parts(folder)])
    user, item, rating, timestamp = values.T
    return Table(user.astype(np.int64), item.astype(np.int64), rating, timestamp.astype(np.int64))


def digest(folder: Path) -> str:
    texts = [path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir())]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def made(size: DemoConfig, rows_per_part: int = 2_000_000, threads: int | None = None) -> tuple[Table, str]:
    with TemporaryDirectory() as folder:
        generate(size, Path(folder), rows_per_part=rows_per_part, threads=threads)
        return read(Path(folder)), digest(Path(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the default size."""
    path = tmp_path_factory.mktemp("demo")
    generate(DEFAULT, path)
    return path


@pytest.fixture(scope="module")
def table(folder: Path) -> Table:
    return read(folder)


def check_valid(table: Table, size: DemoConfig) -> None:
    """What holds for every size."""
    pairs = np.unique(np.stack((table.user, table.item)), axis=1)
    assert pairs.shape[1] == len(table.rating) == size.ratings
    np.testing.assert_array_equal(np.unique(table.user), np.arange(1, size.users + 1))
    assert table.item.min() >= 1
    assert table.item.max() <= size.items
    assert set(np.unique(table.rating * 2)) <= set(range(1, 11))
    assert np.all(np.diff(table.user) >= 0)
    assert np.all(np.diff(table.timestamp)[np.diff(table.user) == 0] > 0)
    years = table.timestamp.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    assert years.min() >= 1996
    assert years.max() <= 2024


def test_default_is_valid(table: Table) -> None:
    check_valid(table, DEFAULT)
    assert len(np.unique(table.item)) > 0.98 * DEFAULT.items


def test_files_are_written_as_movielens_writes_them(folder: Path) -> None:
    assert [path.name for path in sorted(folder.iterdir())] == ["items.csv", "ratings-00000.csv"]
    lines = parts(folder)[0].read_bytes().split(b"\n")
    assert lines[0].decode() == HEADER
    assert lines[-1] == b""
    assert len(lines) == DEFAULT.ratings + 2
    user, item, rating, timestamp = lines[1].decode().split(",")
    assert (user, rating) == ("1", f"{float(rating):.1f}")
    assert item.isdecimal()
    assert timestamp.isdecimal()


def test_items_have_unique_titles_years_and_one_to_three_genres(folder: Path) -> None:
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["movieId", "title", "genres"]
    assert [int(row[0]) for row in rows] == list(range(1, DEFAULT.items + 1))
    titles = [row[1] for row in rows]
    assert len(set(titles)) == DEFAULT.items
    assert all(title[-6] == "(" and 1900 < int(title[-5:-1]) <= 2024 and title[-1] == ")" for title in titles)
    assert all(1 <= len(set(row[2].split("|"))) <= 3 and set(row[2].split("|")) <= set(words.GENRES) for row in rows)
    for trap in (",", '"', "é", "ñ", "\u0308", "Ночной", "灯台", "منارة", "🎈"):
        assert any(trap in title for title in titles), trap


def test_titles_stay_unique_when_the_words_are_used_up() -> None:
    all_pairs = len(words.ADJECTIVES) * len(words.NOUNS) * len(words.PATTERNS)
    assert gcd(words.STRIDE, all_pairs) == 1
    many = list(words.titles(2 * all_pairs + 5))
    assert len(set(many)) == len(many)
    assert many[all_pairs] == f"{many[0]}, Part 2"


@st.composite
def sizes(draw: st.DrawFn) -> DemoConfig:
    """Any size that is possible, the emptiest and the fullest often."""
    users, items = draw(st.integers(1, 40)), draw(st.integers(1, 60))
    ratings = draw(st.sampled_from((users, users * items)) | st.integers(users, users * items))
    return config(users, items, ratings, draw(st.integers(0, 2**70)))


@settings(max_examples=60, deadline=None)
@given(size=sizes(), rows_per_part=st.integers(7, 3_000))
def test_any_possible_size_is_valid(size: DemoConfig, rows_per_part: int) -> None:
    check_valid(made(size, rows_per_part)[0], size)


@pytest.mark.parametrize("size", [config(1, 1, 1), config(1, 50, 50), config(50, 1, 50), config(50, 20, 1_000)])
def test_extremes_are_valid(size: DemoConfig) -> None:
    check_valid(made(size)[0], size)


@pytest.mark.parametrize("ratings", [9, 201])
def test_impossible_numbers_of_ratings_are_refused(ratings: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"10 .* to 200 .*") as caught:
        generate(config(10, 20, ratings), tmp_path)
    assert f"{ratings} ratings, 10 users, 20 items" in caught.value.found
    assert caught.value.todo
    assert not list(tmp_path.iterdir())


def test_too_many_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"demo\.items is too large"):
        generate(config(1, 2**22 + 1, 1), tmp_path)


def test_same_configuration_same_bytes() -> None:
    size = config(3_000, 800, 300_000)  # three blocks
    (_, one), (_, two) = made(size, threads=1), made(size, threads=3)
    assert one == two


def test_bytes_are_those_of_the_release() -> None:
    """The same on every machine and with every NumPy. Changes of the generator change it; the CHANGELOG says so."""
    assert made(config(300, 200, 9_000))[1] == "f3c1efc9b07134672a2d9ec4c28eae9e525a20a18dd6bcf2e9191dc98dfb3497"


def test_seeds_differ() -> None:
    one, two = (made(config(50, 40, 500, seed))[0] for seed in (1, 2))
    assert not np.array_equal(one.item, two.item)
    assert not np.array_equal(np.bincount(one.user), np.bincount(two.user))


def test_parts_are_cuts_of_the_same_rows(tmp_path: Path) -> None:
    size = config(3_000, 800, 300_000)  # three blocks: some parts end within a block, some blocks within a part
    (tmp_path / "one").mkdir()
    (tmp_path / "four").mkdir()
    generate(size, tmp_path / "one")
    generate(size, tmp_path / "four", rows_per_part=80_000)
    texts = [part.read_text().splitlines() for part in parts(tmp_path / "four")]
    assert [len(text) - 1 for text in texts] == [80_000, 80_000, 80_000, 60_000]
    assert {text[0] for text in texts} == {HEADER}
    whole = parts(tmp_path / "one")[0].read_text().splitlines()
    assert [line for text in texts for line in text[1:]] == whole[1:]


def test_blocks_of_users_differ() -> None:
    """All 512 users rate all 512 items: two blocks of 2^17 ratings, which the same random bits would make the same."""
    table = made(config(512, 512, 2**18))[0]
    orders = table.item.reshape(512, 512)
    assert len(np.unique(orders, axis=0)) == 512


def test_rows_written_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    amounts: list[int] = []
    monkeypatch.setattr(progress.LineBar, "advance", lambda self, amount: amounts.append(amount))
    monkeypatch.setattr(progress, "_reporter", progress.Lines())
    generate(config(50, 40, 500), tmp_path, rows_per_part=300)
    assert amounts == [300, 200]


def test_activity_is_heavy_tailed_and_exact() -> None:
    counts = activity(config(20_000, 5_000, 3_000_000))
    assert counts.sum() == 3_000_000
    assert 1 <= counts.min() < 10
    assert 0.4 < np.median(counts) / counts.mean() < 0.6
    assert counts.max() > 10 * counts.mean()
    assert counts.max() <= 2_500


def test_activity_is_capped_where_the_catalogue_is_small() -> None:
    counts = activity(config(50, 20, 600))
    assert (counts.sum(), counts.max()) == (600, 20)
    assert counts.min() < 6


def test_popularity_is_skewed_and_not_in_the_order_of_ids(table: Table) -> None:
    counts = np.bincount(table.item, minlength=DEFAULT.items + 1)[1:]
    top = np.sort(counts)[::-1]
    assert 0.3 < top[:100].sum() / DEFAULT.ratings < 0.5
    assert abs(np.corrcoef(np.arange(DEFAULT.items), counts)[0, 1]) < 0.1


def test_larger_catalogues_are_more_skewed() -> None:
    def top_hundredth(n_items: int) -> float:
        popularity = np.sort(invent_catalogue(n_items, 7)[0].popularity)[::-1]
        return float(popularity[: n_items // 100].sum() / popularity.sum())

    assert top_hundredth(1_000) < 0.2
    assert 0.4 < top_hundredth(59_047) < 0.7


def test_ratings_have_the_moments_of_movielens(table: Table) -> None:
    assert abs(table.rating.mean() - 3.5) < 0.1
    assert abs(table.rating.std() - 1.05) < 0.1


def test_users_of_newer_tastes_come_later(table: Table, folder: Path) -> None:
    with (folder / "items.csv").open(encoding="utf-8", newline="") as file:
        year = np.array([int(row["title"][-5:-1]) for row in csv.DictReader(file)])
    n_ratings = np.bincount(table.user)[1:]
    mean_year = np.bincount(table.user, year[table.item - 1])[1:] / n_ratings
    first = table.timestamp[np.cumsum(n_ratings) - n_ratings]
    busy = n_ratings >= 20
    assert 0.1 < np.corrcoef(mean_year[busy], first[busy])[0, 1] < 0.7


# --- tastes: naive twins of the models ----------------------------------------------------------------------------


def holdout(user: NDArray[np.int64], fraction: float = 0.2) -> NDArray[np.bool_]:
    """Each user's share of ratings to hide, at random."""
    hidden = np.zeros(len(user), np.bool_)
    rng = np.random.default_rng(0)
    for rows in np.split(np.arange(len(user)), np.flatnonzero(np.diff(user)) + 1):
        hidden[rng.choice(rows, int(len(rows) * fraction), replace=False)] = True
    return hidden


def ndcg(scores: NDArray[np.float64], seen: NDArray[np.bool_], hidden: NDArray[np.bool_], k: int = 10) -> float:
    """Mean over the users with something hidden."""
    top = np.argsort(np.where(seen, np.inf, -scores), axis=1, kind="stable")[:, :k]
    gain = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.append(0, np.cumsum(gain))[np.minimum(hidden.sum(axis=1), k)]
    found = (np.take_along_axis(hidden, top, 1) * gain).sum(axis=1)
    return float((found[ideal > 0] / ideal[ideal > 0]).mean())


def test_neighbours_make_sense() -> None:
    """EASE (Steck, WWW 2019, eq. 8) orders items clearly better than popularity."""
    size = config(1_500, 400, 60_000)
    table = made(size)[0]
    test = holdout(table.user)
    pairs = np.zeros((2, size.users, size.items), np.bool_)
    pairs[test.astype(int), table.user - 1, table.item - 1] = True
    seen, hidden = pairs
    x = seen.astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 300 * np.eye(size.items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    popular = ndcg(np.broadcast_to(x.sum(axis=0), x.shape), seen, hidden)
    assert ndcg(x @ weights, seen, hidden) > 1.5 * popular


def factors(residual: NDArray[np.float64], known: NDArray[np.bool_], size: int = 6, reg: float = 8.0) -> Matrix:
    """A low-rank fit of `residual` where `known`, by alternating ridge regressions."""
    rng = np.random.default_rng(0)
    of_items = rng.normal(0, 0.1, (residual.shape[1], size))

    def solve(fixed: Matrix, target: Matrix, mask: NDArray[np.bool_]) -> Matrix:
        left = np.einsum("rc,ck,cl->rkl", mask.astype(float), fixed, fixed, optimize=True) + reg * np.eye(size)
        return np.linalg.solve(left, ((target * mask) @ fixed)[:, :, None])[:, :, 0]

    for _ in range(8):
        of_users = solve(of_items, residual, known)
        of_items = solve(of_users, residual.T, known.T)
    return of_users @ of_items.T


def test_stars_follow_tastes() -> None:
    """A factorisation of what the means leave predicts hidden stars clearly better than the means."""
    size = config(800, 300, 50_000)
    table = made(size)[0]
    test = holdout(table.user)
    stars, known, hidden = np.zeros((size.users, size.items)), *np.zeros((2, size.users, size.items), np.bool_)
    at = table.user - 1, table.item - 1
    stars[at], known[at], hidden[at] = table.rating, ~test, test
    means = np.full(stars.shape, table.rating[~test].mean())
    for axis in (0, 1):
        left = np.where(known, stars - means, 0).sum(axis=axis, keepdims=True)
        means = means + left / (known.sum(axis=axis, keepdims=True) + 5)
    fitted = means + factors(stars - means, known)
    of_means, of_factors = (float(np.sqrt(np.mean((stars - p)[hidden] ** 2))) for p in (means, fitted))
    assert of_factors < 0.97 * of_means


# --- the parts of it ----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 6) | st.integers(1, 10_000), min_size=1, max_size=30))
@example([1, 1, 2, 2])  # a surplus that ends where a light column does
@example([3, 1, 1, 3, 7])  # an outcome of just the mean weight comes first
def test_alias_tables_hold_the_distribution(weights: list[int]) -> None:
    tables = alias_tables(np.array([weights]))
    kept = (tables.keep[0].astype(np.int64) + 1) / 2**KEEP_BITS
    mass = kept + np.bincount(tables.other[0], 1 - kept, minlength=len(weights))
    np.testing.assert_allclose(mass / len(weights), np.array(weights) / sum(weights), rtol=0, atol=1e-7)


def test_bell_is_nearly_normal() -> None:
    values = Bits(1, 2).bell(100_000) / BELL_STD
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.01
    assert abs((np.abs(values) < 1.96).mean() - 0.95) < 0.01


@pytest.mark.parametrize("count", [3, 30])
def test_drawing_and_racing_agree_on_who_is_chosen(count: int) -> None:
    """First items by chance, with 3 of 60 drawn and 30 of 60 raced, against the circles' own probabilities."""
    _, circles = invent_catalogue(60, 3)
    n_users = 30_000
    alike = Users(
        counts=np.full(n_users, count),
        circles=np.broadcast_to(np.repeat(np.arange(4), 4), (n_users, SLOTS)).copy(),
        taste=np.zeros((n_users, 8), np.int64),
        offset=np.zeros(n_users, np.int64),
    )
    items = choose_items(Bits(5), alike, circles).reshape(n_users, count)
    found = np.bincount(items[:, 0], minlength=60) / n_users
    np.testing.assert_allclose(found, circles.share[:4].mean(axis=0), atol=0.012)
