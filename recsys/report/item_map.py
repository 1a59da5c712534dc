"""A map of the items: their vectors in two dimensions, and who is near to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recsys.report.blocks import Section, Words
from recsys.report.source import Source
from recsys.report.text import shown, whole

MOST_PLACED = 1_500  # t-SNE of so many takes three seconds of CPU time
MOST_KNOWN = 5_000  # titles of 150 kB and as much of neighbours
LEAST_TSNE = 30  # fewer have no neighbourhoods: their principal components say more
NEIGHBOURS = 10
MOST_GENRES = 9  # colours that can be told apart; the others are one more
OTHER = "other"


@dataclass(frozen=True)
class ItemMap:
    """The map with its search box.

    Attributes:
        label: what it shows.
        genres: whether it can be coloured by genre.
        placed: whether there are vectors; without them there is only the search.
    """

    label: str
    genres: bool
    placed: bool
    kind: ClassVar[str] = "map"


def section(source: Source) -> Section:
    """The most rated items on a map, and the neighbours of more; only these where the models have no vectors."""
    items, vectors = _vectors(source)
    near = _neighbours(source, items, vectors)
    if vectors is None and near is None:
        return Section("map", "The item map", [Words("Neither model has vectors of items, or says which are alike.")])
    points, how = _project(vectors[:MOST_PLACED]) if vectors is not None else (np.zeros((0, 2)), "")
    genres, names = _genres(source, items)
    data = {
        "title": [source.titles[item] for item in items],
        "count": source.item_counts[items].tolist(),
        "genre": genres,
        "genres": names,
        "near": near,
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
    }
    label = _label(len(points), len(items), len(source.item_counts), how)
    if (source.folder / "similar_items").is_dir():
        label += " Neighbours are those of the table similar_items, by the ranker's own measure: they may stand apart."
    return Section("map", "The item map", [ItemMap(label, bool(names), len(points) > 0)], {"map": data})


def _label(placed: int, known: int, total: int, how: str) -> str:
    def most(number: int) -> str:
        return (
            f"all {whole(total)} items"
            if number == total
            else f"the {whole(number)} most rated of {whole(total)} items"
        )

    searched = f"The search knows {most(known)}."
    if not placed:
        return f"The models have no vectors of items, so there is no map. {searched}"
    return f"{most(placed).capitalize()} by {how}: the nearer two points, the more alike the vectors. {searched}"


def _vectors(source: Source) -> tuple[NDArray[np.int32], NDArray[np.float64] | None]:
    """The most rated items that have a vector, and these; without vectors the most rated items."""
    folder = source.folder / "item_embeddings"
    if not folder.is_dir():
        return source.by_popularity[:MOST_KNOWN], None
    table = pq.read_table(folder, partitioning=None)
    index = source.prepared.ids.item_index(table["item_id"])
    place = np.full(len(source.item_counts), -1)
    place[index] = np.arange(len(index))
    items = source.by_popularity[place[source.by_popularity] >= 0][:MOST_KNOWN]
    chosen = table["embedding"].combine_chunks().take(place[items])
    return items, chosen.flatten().to_numpy().astype(np.float64).reshape(len(items), -1)


def _project(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """(n, 2) points from -1 to 1, and how they were found; the same for any number of threads."""
    with threadpool_limits(1):
        start, explained = _principal(vectors)
    found = _tsne(vectors) if len(vectors) >= LEAST_TSNE and start.any() else None
    points = start if found is None else found
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    how = "t-SNE of their vectors" if found is not None else f"principal components ({explained:.0%} of the variance)"
    return np.round(points / max(np.abs(points).max(), 1e-12), 4), how


def _principal(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """(n, 2) the two directions in which the vectors differ most, and their share of the variance."""
    centred = vectors - vectors.mean(axis=0)
    lengths, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    points = np.zeros((len(vectors), 2))
    points[:, : axes.shape[1]] = centred @ axes
    return points, float(lengths[-2:].sum() / (lengths.sum() or 1.0))


def _tsne(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) places where neighbours stay neighbours (van der Maaten and Hinton 2008), from the principal ones on."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    model = TSNE(2, init="pca", random_state=0, perplexity=perplexity, max_iter=500, angle=0.8, n_jobs=1)
    with threadpool_limits(1):  # now: it limits only what is loaded already
        found: NDArray[np.float64] = model.fit_transform(vectors).astype(np.float64)
    return found


def _neighbours(
    source: Source, items: NDArray[np.int32], vectors: NDArray[np.float64] | None
) -> list[list[int]] | None:
    """Of each item the places of its nearest, nearest first; None where the models cannot say."""
    if (source.folder / "similar_items").is_dir():
        return _published_neighbours(source, items)
    return None if vectors is None else _cosine_neighbours(vectors)


def _published_neighbours(source: Source, items: NDArray[np.int32]) -> list[list[int]]:
    """From `similar_items`; neighbours that are not among the items are left out."""
    ids = source.prepared.ids
    place = np.full(ids.n_items, -1)
    place[items] = np.arange(len(items))
    near: list[list[int]] = [[] for _ in items]
    for part in sorted((source.folder / "similar_items").glob("part-*.parquet")):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(columns=["item_id", "similar_item_id"], batch_size=1 << 17):
                own, other = (place[ids.item_index(batch.column(name))] for name in (0, 1))
                for one, two in zip(*(each[(own >= 0) & (other >= 0)].tolist() for each in (own, other)), strict=True):
                    if len(near[one]) < NEIGHBOURS:
                        near[one].append(two)
    return near


def _cosine_neighbours(vectors: NDArray[np.float64]) -> list[list[int]]:
    """By (cosine descending, place ascending) among the items."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    with threadpool_limits(1):
        cosine = unit @ unit.T  # of 5,000 items 200 MB
    np.fill_diagonal(cosine, -np.inf)
    order = [np.argsort(-row, kind="stable")[: min(NEIGHBOURS, len(vectors) - 1)] for row in cosine]
    return [row.tolist() for row in order]


def _genres(source: Source, items: Sequence[int] | NDArray[np.int32]) -> tuple[list[int], list[str]]:
    """Of each item the place of its first genre among the most frequent, and those, the rest last; none: empty."""
    listed = source.prepared.items()["genres"].take(np.asarray(items)).to_pylist()
    first = [(shown(genres[0], 30) if genres else None) for genres in listed]
    known = Counter(genre for genre in first if genre is not None)
    names = [genre for genre, _ in sorted(known.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_GENRES]]
    if not names:
        return [], []
    place: dict[Any, int] = {genre: number for number, genre in enumerate(names)}
    return [place.get(genre, len(names)) for genre in first], [*names, OTHER]
