"""The page is written from what it is given, and measures nothing."""

import json

import numpy as np
import pytest

from benchmarks.ranking_records import ENTRIES
from benchmarks.reproduction import MISSING, page, spread
from benchmarks.tutorials import TUTORIALS


def write(folder, name, figures, **changes):
    record = {
        "name": name, "figures": figures, "code": "0.1.0+abc", "versions": {"python": "3.11.7", "numpy": "2.4.6"},
        "date": "2026-11-21T10:00+00:00", "threads": 1, "load": 0.5, "seconds": 10.0, **changes,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(record))


def row(text, start):
    """Cells of the first row that starts so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def watched(value, parameters=486_850):
    curve = [3.0, value]
    return {"parameters": parameters, "seconds": 9.0, "cpu_seconds": 8.0, "mse": value, "rmse": value**0.5, "mae": 1.0, "best_epoch": 2,
            "best": value, "last": value, "curve": curve}  # fmt: skip


def test_of_nothing_every_part_says_so(tmp_path):
    text = page(tmp_path)
    assert row(text, "A1")[7] == MISSING
    assert text.count(MISSING) == len(TUTORIALS) + 3


def test_a_section_that_lacks_a_part_stays_as_it_was(tmp_path):
    before = page(tmp_path).replace(
        f"## NDCG beside the records\n\n{MISSING}", "## NDCG beside the records\n\nas it was"
    )
    before = before.replace("|" + "---|" * 8, "|" + "---|" * 8 + "\n| ndcg | 0 | then |\n| sooner-plain | 0 | then |")
    text = page(tmp_path, before)
    assert "## NDCG beside the records\n\nas it was\n\n## Formulas" in text
    assert "| ndcg | 0 | then |" in text
    assert text.count(MISSING) == len(TUTORIALS) + 2
    assert page(tmp_path, text) == text


def test_a_tutorial_stands_beside_its_figure(tmp_path):
    write(tmp_path, "A1-0", watched(1.2))
    write(tmp_path, "A1-1", watched(1.3))
    text = page(tmp_path)
    assert row(text, "A1")[2:] == [
        "486,850", "486,850", "`mse_raw`", "1.2209", "1.2314", "1.2500 +- 0.0707", "1.26", "yes", "31", "9 (8)",
    ]  # fmt: skip
    assert "- A1, seeds 0, 1: 1.2000 1.3000" in text
    assert "- A1 by epoch, mean over the seeds: 3.0000 1.2500" in text
    assert row(text, "A1 | 0, 1")[2:] == ["2026-11-21T10:00+00:00"] * 2 + ["0.1.0+abc", "1", "0.5 to 0.5", "20"]


@pytest.mark.parametrize("figures", [watched(1.27), watched(1.2, parameters=486_851)])
def test_a_bar_is_missed_by_the_figure_or_the_parameters(tmp_path, figures):
    write(tmp_path, "A1-0", figures)
    assert row(page(tmp_path), "A1")[9] == "**no**"


def test_e_must_be_in_order(tmp_path):
    def e(name, mse, parameters=1):
        write(tmp_path, name, {"parameters": parameters, "seconds": 1.0, "cpu_seconds": 1.0, "mse": mse, "mae": 0.8})

    e("E20-0", 1.5, 52_540)
    assert row(page(tmp_path), "E20")[8:10] == ["above E10", ""]
    e("E10-0", 1.1)
    e("E5-0", 0.94)
    text = page(tmp_path)
    assert [row(text, name)[9] for name in ("E20", "E10", "E5")] == ["yes"] * 3
    e("E10-0", 1.6)
    text = page(tmp_path)
    assert [row(text, name)[9] for name in ("E20", "E10", "E5")] == ["**no**", "yes", "yes"]


def test_d_names_its_range(tmp_path):
    write(tmp_path, "D-0", {"parameters": 25_000, "seconds": 9.0, "cpu_seconds": 8.0, "loss": 0.6, "curve": [0.6], "watched_loss": 0.62,
                            "watched_epoch": 80, "lowest": -4.6431, "highest": 3.9228})  # fmt: skip
    assert "preferences from -4.643 to 3.923 (tutorial: -4.643 to 3.923)" in page(tmp_path)


def test_records_stand_beside_the_published_ones(tmp_path):
    for seed, rmse in enumerate((0.81, 0.83)):
        write(tmp_path, f"rmse-ml-1m-90-10-bayesian_mf-{seed}", {
            "protocol": "ml-1m 90/10", "model": "bayesian_mf", "seeds": [seed], "rmse": [rmse], "fit_seconds": [60.0],
            "peak_mib": 900.0 + seed,
        })  # fmt: skip
    base = {"ndcg@10": [0.3, 0.4, 0.5], "recall@10": [0.2] * 3, "precision@10": [0.1] * 3, "seconds": [5.0]}
    for seed in range(2):
        better = {name: {**base, "ndcg@10": list(np.add(base["ndcg@10"], [0.02, 0.03, 0.04]))} for name in ENTRIES}
        write(tmp_path, f"ndcg-{seed}", {**dict.fromkeys(ENTRIES, base), "weighted_edlae, tuned": better["edlae"]})
    text = page(tmp_path)
    assert "**bayesian_mf 0.8200 +- 0.0141 (seeds (0, 1): 0.8100 0.8300); 60 s a fit, peak 901 MiB**" in text
    assert "| I-AutoRec (Sedhain et al. 2015) | 0.8310 |" in text
    assert row(text, "weighted_edlae, tuned")[1:5] == ["0.4300", "0.4300", "0.4300", "0.0000"]
    assert text.count("  mean: +0.0300") == 3


def test_the_ratio_to_plain_fit(tmp_path):
    ours = {"rmse": 0.85, "seconds": 4.0, "cpu_seconds": 2.0, "settings": {"batch": 8192}}
    curve = [{"epoch": n + 1, "rmse": rmse, "seconds": 400.0 * (n + 1), "cpu_seconds": 100.0 * (n + 1)}
             for n, rmse in enumerate((0.9, 0.86, 0.85))]  # fmt: skip
    write(tmp_path, "sooner-ours-0", ours)
    assert "Plain `fit`: not measured yet." in page(tmp_path)
    write(tmp_path, "sooner-plain-0", {"parameters": 974_600, "curve": curve})
    assert "ours ended at 0.8500 after 4.0 s (2.0 CPU seconds): 200 times sooner, 100 times by CPU" in page(tmp_path)
    write(tmp_path, "sooner-plain-0", {"parameters": 974_600, "curve": curve[:1]})
    assert "had not reached 0.8616 after epoch 1 (0.9000) and 400 s" in page(tmp_path)
    assert "at least 100 times sooner" in page(tmp_path)


def test_spread():
    assert spread([0.5]) == "0.5000"
    assert spread([1.0, 3.0], 1) == "2.0 +- 1.4"
