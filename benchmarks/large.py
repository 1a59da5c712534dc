"""The whole night on generated ratings of ml-25m's shape, from one CSV file to the published table, by stage.

    python -m benchmarks.large

The file is kept in build/large for the next time.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.kept import Figures
from benchmarks.measured import Measured
from benchmarks.night import environment, night
from recsys import demo
from recsys.config import DemoConfig
from recsys.download.catalogue import find_dataset

FOLDER = page.ROOT / "build" / "large"
ML_25M = find_dataset("ml-25m")
SIZE = DemoConfig(users=ML_25M.n_users, items=ML_25M.n_items, ratings=ML_25M.n_ratings)
ORDER = (
    "download", "prepare", "train_ranker", "train_rater", "evaluate", "refit_ranker", "refit_rater",
    "write_popular_items", "write_quarantine", "write_similar_items", "write_item_embeddings", "write_user_embeddings",
    "score", "judge", "report",
)  # fmt: skip
MOST_SECONDS, MOST_MIB = 600, 8_192


def for_page(given: page.Given) -> Figures:
    """A row a stage."""
    files, written = write_csv(DemoConfig() if given.small else SIZE, FOLDER)
    source = ("--ratings", str(files / "ratings-00000.csv"), "--items", str(files / "items.csv"))
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:  # where there is room for the file there is for the store
        taken, manifest = night(source, Path(folder) / "store", environment(folder))
    return {"rows": stage_rows(manifest["timings"]), "notes": notes(taken, manifest, written)}


def stage_rows(timings: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """The stages in their order in a night; those that this does not know stand last."""
    place = {stage: number for number, stage in enumerate(ORDER)}
    return [
        {
            "stage": stage,
            "seconds": float(timings[stage]["seconds"]),
            "peak MiB so far": timings[stage]["peak_memory_mib"],
        }
        for stage in sorted(timings, key=lambda stage: place.get(stage, len(place)))
    ]


def write_csv(size: DemoConfig, parent: Path) -> tuple[Path, float | None]:
    """The folder with ratings-00000.csv, all ratings, and items.csv; and the seconds it took, None if it stood."""
    folder = parent / f"{size.users}-{size.items}-{size.ratings}-{size.seed}"
    if folder.exists():
        return folder, None
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    started = time.perf_counter()
    demo.generate(size, partial, rows_per_part=size.ratings)
    partial.rename(folder)
    return folder, time.perf_counter() - started


def notes(taken: Measured, manifest: Mapping[str, Any], written: float | None) -> list[str]:
    """The whole beside what is promised."""
    counts, config = manifest["input"], manifest["config"]["train"]
    found = [
        f"The whole: {taken.seconds:.0f} s (at most {MOST_SECONDS} promised), {taken.cpu_seconds:.0f} s of CPU time, "
        f"{taken.peak_mib:,.0f} MiB at the peak of all processes (at most {MOST_MIB:,} promised), "
        f"{taken.private_peak_mib:,.0f} of them without the pages of mapped files.",
        f"{counts['ratings']:,} ratings of {counts['users']:,} users; {counts['items_kept']:,} of {counts['items']:,} "
        f"items kept within {manifest['memory_mib']['budget']:,} MiB; {config['ranker']} and {config['rater']}; "
        f"ndcg@10 {manifest['metrics']['ndcg@10']['value']:.4f} "
        f"(popular {manifest['baselines']['popular']['ndcg@10']['value']:.4f}).",
    ]
    return found if written is None else [*found, f"Writing the CSV took {written:.0f} s."]


if __name__ == "__main__":
    page.main(["--only", "large", *sys.argv[1:]])
