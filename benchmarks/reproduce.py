"""The tutorials' figures and the published records, measured again with this library; writes docs/reproduction.md.

    RECSYS_MIRROR=/data/movielens python -m benchmarks.reproduce [--only A1,C] [--seeds 5]

Each piece (a part with a seed) is kept in build/reproduction/ as soon as it is measured, and is not measured again
unless --fresh says so: a broken-off command goes on. The page is written anew after each part, from what is kept; a
section of which not all is kept stays as it was.

Parts: A1 A2 A3 C D E20 E10 E5 (tutorials), rmse and ndcg (records), sooner (B's RMSE beside plain Keras `fit`: half an
hour), B (batch 32: three minutes of CPU time a seed, and more on the clock of a busy machine).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from benchmarks import ranking_records, rating_records, sooner
from benchmarks.kept import FOLDER, Figures, keep
from benchmarks.reproduction import RATERS, page
from benchmarks.tutorials import TUTORIALS, measure, ratings_of
from recsys.config import ComputeConfig
from recsys.errors import RecsysError
from recsys.store import write_whole

SLOW = ("B",)  # minutes a seed
PARTS = (*(name for name in TUTORIALS if name not in SLOW), "rmse", "ndcg", "sooner", *SLOW)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reproduction.md"

Pieces = dict[str, Callable[[], Figures]]
ratings_once = cache(ratings_of)
liked_once = cache(ranking_records.liked)


def main() -> None:
    """Measure what is asked for and is not kept yet; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mirror = os.environ.get("RECSYS_MIRROR", "../shared/data")
    parser.add_argument("--mirror", default=mirror, help="folder with the archives; RECSYS_MIRROR by default")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to N - 1")
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--kept", type=Path, default=FOLDER, help="folder of what has been measured")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is asked for")
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    given = parser.parse_args()
    compute = ComputeConfig(threads=given.threads)
    try:
        for part in () if given.page_only else given.only:
            reproduce(pieces(part, given.seeds, given.mirror, compute), given.kept, compute.threads, given.fresh)
            _write(given.out, given.kept)
        _write(given.out, given.kept)
    except RecsysError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error


def _write(out: Path, kept: Path) -> None:
    write_whole(out, page(kept, out.read_text() if out.exists() else ""))


def reproduce(wanted: Mapping[str, Callable[[], Figures]], kept: Path, threads: int, fresh: bool) -> None:
    """Measure the pieces one by one, each kept at once."""
    for name, measured in wanted.items():
        record = keep(kept, name, measured, threads=threads, fresh=fresh)
        print(f"{name}: measured {record['date']}, {record['seconds']} s", flush=True)


def pieces(part: str, seeds: int, mirror: str, compute: ComputeConfig) -> Pieces:
    """What is to be measured, by name, in order."""
    if part == "rmse":
        return {
            f"rmse-{rating_records.slug(protocol)}-{model}-{seed}": partial(
                _rating_record, mirror, protocol, model, seed, compute
            )
            for model in RATERS
            for protocol in rating_records.PROTOCOLS
            for seed in range(seeds)
        }
    if part == "ndcg":
        return {f"ndcg-{seed}": partial(_ranking_record, mirror, seed, compute) for seed in range(seeds)}
    if part == "sooner":
        plain = partial(sooner.alone, sooner.plain, mirror, 0, compute, sooner.PLAIN_EPOCHS)
        ours = {
            f"sooner-ours-{seed}": partial(sooner.alone, sooner.quick, mirror, seed, compute) for seed in range(seeds)
        }
        return {**ours, "sooner-plain-0": plain}
    return {f"{part}-{seed}": partial(_tutorial, part, mirror, seed, compute) for seed in range(seeds)}


def _tutorial(name: str, mirror: str, seed: int, compute: ComputeConfig) -> Figures:
    return measure(TUTORIALS[name], ratings_once(TUTORIALS[name].dataset, mirror), seed, compute)


def _rating_record(mirror: str, protocol: str, model: str, seed: int, compute: ComputeConfig) -> Figures:
    (result,) = rating_records.measure(mirror, protocol, [model], [seed], compute)
    return asdict(result)


def _ranking_record(mirror: str, seed: int, compute: ComputeConfig) -> Figures:
    measured = ranking_records.measure_split(liked_once(Path(mirror)), seed, compute)
    return {entry: {metric: values.tolist() for metric, values in of.items()} for entry, of in measured.items()}


def _parts(text: str) -> tuple[str, ...]:
    asked = tuple(text.split(","))
    unknown = [part for part in asked if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return asked


if __name__ == "__main__":
    main()
