"""RMSE by the protocols of the published records, with the product's own raters.

    python -m benchmarks.rating_records --mirror /data/movielens --seeds 5

ml-1m: 90% to learn from, 10% to be predicted, drawn at random; seed s draws the split and is the fit's seed.
ml-100k: the archive's own u1.base and u1.test; seed s is the fit's. Predictions are clipped to the scale. The test
part is used for nothing but the figure; the settings are the models' defaults (docs/decisions.md says how those of
bayesian_mf were chosen).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from recsys.config import ComputeConfig, DemoConfig, DownloadConfig, InputConfig
from recsys.download.snapshot import take_snapshot
from recsys.evaluate.rating import errors_by_user
from recsys.models.base import FitContext
from recsys.models.means import MeansOnly, MeansSettings
from recsys.models.registry import rater, settings_of
from recsys.prepare.given_holdout import join_holdout
from recsys.prepare.split import random_split
from recsys.prepare.training_set import build_training_set
from recsys.ratings import Ratings, Snapshot
from recsys.read import read_ratings
from recsys.read.stream import Stream

SCALE = (1.0, 5.0)
PROTOCOLS = ("ml-1m 90/10", "ml-100k u1")
RECORDS: Mapping[str, Mapping[str, float]] = {
    "ml-1m 90/10": {
        "GLocal-K (Han et al. 2021; best epoch picked on the test part)": 0.8227,
        "Sparse FC (Muller et al. 2018)": 0.824,
        "Bayesian SVD++ flipped, myfm, rank 16, 120 sweeps": 0.8274,
        "CF-NADE (Zheng et al. 2016)": 0.829,
        "I-AutoRec (Sedhain et al. 2015)": 0.831,
        "GC-MC (van den Berg et al. 2018)": 0.832,
    },
    "ml-100k u1": {
        "GLocal-K (Han et al. 2021)": 0.8889,
        "Bayesian SVD++ flipped, myfm, rank 16, 120 sweeps": 0.8913,
        "IGMC (Zhang and Chen 2020)": 0.905,
    },
}


@dataclass(frozen=True)
class Result:
    """A rater by a protocol; one entry a seed.

    Attributes:
        peak_mib: the highest of this process so far.
    """

    protocol: str
    model: str
    seeds: tuple[int, ...]
    rmse: tuple[float, ...]
    fit_seconds: tuple[float, ...]
    peak_mib: float

    def __str__(self) -> str:
        each = " ".join(f"{value:.4f}" for value in self.rmse)
        spread = f" +- {stdev(self.rmse):.4f}" if len(self.rmse) > 1 else ""
        return (
            f"{self.protocol}: {self.model} {mean(self.rmse):.4f}{spread} (seeds {self.seeds}: {each}); "
            f"{mean(self.fit_seconds):.0f} s a fit, peak {self.peak_mib:,.0f} MiB"
        )


def main() -> None:
    """Measure and print, a line as soon as it is known, then beside the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", required=True, help="folder or base URL that holds ml-1m.zip and ml-100k.zip")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to N - 1")
    parser.add_argument("--models", default="biased_mf,bayesian_mf", help="raters, with commas")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help="with commas")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    compute = ComputeConfig(threads=given.threads)
    found = [
        result
        for protocol in given.protocols.split(",")
        for result in measure(given.mirror, protocol, given.models.split(","), range(given.seeds), compute)
    ]
    print(json.dumps([asdict(result) for result in found]) if given.json else report(found))


def measure(
    mirror: str, protocol: str, models: Sequence[str], seeds: Sequence[int], compute: ComputeConfig
) -> list[Result]:
    """Fit each model by a protocol, once a seed."""
    with tempfile.TemporaryDirectory() as raw:
        parts = list(_u1(mirror, Path(raw), seeds) if protocol == "ml-100k u1" else _ml1m(mirror, Path(raw), seeds))
    results = []
    for model in models:
        runs = [_run(model, ratings, held_out, seed, compute) for seed, ratings, held_out in parts]
        rmse, seconds = zip(*runs, strict=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.append(Result(protocol, model, tuple(seeds), rmse, seconds, peak))
    return results


def joined(results: Sequence[Result]) -> Result:
    """One result of several of the same rater and protocol."""
    first, *_ = results
    return Result(
        first.protocol,
        first.model,
        tuple(seed for result in results for seed in result.seeds),
        tuple(value for result in results for value in result.rmse),
        tuple(seconds for result in results for seconds in result.fit_seconds),
        max(result.peak_mib for result in results),
    )


def slug(protocol: str) -> str:
    """The protocol's name as a part of a file's name."""
    return protocol.replace(" ", "-").replace("/", "-")


def report(found: Sequence[Result]) -> str:
    """A Markdown table a protocol, ours and the published ones by RMSE."""
    lines: list[str] = []
    for protocol in dict.fromkeys(result.protocol for result in found):
        own = [result for result in found if result.protocol == protocol]
        rows = [(mean(result.rmse), f"**{str(result).partition(': ')[2]}**") for result in own]
        rows += [(value, name) for name, value in RECORDS[protocol].items()]
        lines += ["", f"| {protocol} | RMSE |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for value, name in sorted(rows)]
    return "\n".join(lines[1:])


def _ml1m(mirror: str, raw: Path, seeds: Sequence[int]) -> Iterator[tuple[int, Ratings, np.ndarray]]:
    ratings = read_ratings(snapshot("ml-1m", mirror, raw), InputConfig())
    for seed in seeds:
        yield seed, ratings, random_split(len(ratings), 0.1, seed)


def _u1(mirror: str, raw: Path, seeds: Sequence[int]) -> Iterator[tuple[int, Ratings, np.ndarray]]:
    whole = snapshot("ml-100k", mirror, raw)
    base, test = (
        read_ratings(replace(whole, ratings=(str(Path(whole.ratings[0]).with_name(name)),)), InputConfig())
        for name in ("u1.base", "u1.test")
    )
    joined = join_holdout(Stream.of(base), Stream.of(test))
    ratings = joined.stream.collect()  # the parts share no pair, so that each row stays where it was
    for seed in seeds:
        yield seed, ratings, np.arange(len(ratings)) >= joined.own


def snapshot(dataset: str, mirror: str, raw: Path) -> Snapshot:
    """An archive of the mirror, unpacked in the folder `raw`."""
    return take_snapshot(InputConfig(dataset=dataset), DownloadConfig(mirror=mirror), DemoConfig(), raw)


def _run(name: str, ratings: Ratings, held_out: np.ndarray, seed: int, compute: ComputeConfig) -> tuple[float, float]:
    """RMSE and seconds to fit. Where the rater cannot say, the means stand in."""
    shape = (ratings.n_users, ratings.n_items)
    columns = (ratings.user_index, ratings.item_index, ratings.rating)
    training_set = build_training_set(
        *(column[~held_out] for column in columns), shape, top_items=0, min_user_ratings=1
    )
    context = FitContext(seed, compute)
    started = time.perf_counter()
    model = rater(name).fit(training_set, settings_of(name, {}), context)
    seconds = time.perf_counter() - started
    means = MeansOnly.fit(training_set, MeansSettings(), context)
    errors = errors_by_user(model, means, tuple(column[held_out] for column in columns), SCALE)
    print(f"{name} seed {seed}: {errors.rmse:.5f}, {seconds:.0f} s, {errors.stood_in} by the means", flush=True)
    return errors.rmse, seconds


if __name__ == "__main__":
    main()
