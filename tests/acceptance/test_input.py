"""What comes in as it should not, and what comes in as people really have it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FAST = ("--rater", "means")
UNGATED = ("--set", "gate.ranker_beats_popular=false", "--set", "gate.rater_beats_means=false")
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


@pytest.fixture(scope="module")
def tastes() -> pd.DataFrame:
    """120 users of two tastes on 80 items: a ranker that learns tastes beats popularity by far."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(120):
        own = rng.permutation(40)[:14] + 40 * (user % 2)
        other = rng.permutation(40)[:2] + 40 * (1 - user % 2)
        rows += [(user, item, float(rng.integers(3, 6)), len(rows)) for item in own]
        rows += [(user, item, float(rng.integers(1, 4)), len(rows)) for item in other]
    return pd.DataFrame(rows, columns=COLUMNS)


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def run(cli, store: Path, ratings: Path, *more: object, code: int = 0):
    return cli("run", "--ratings", ratings, "--store", store, *FAST, *more, code=code)


def test_half_a_percent_of_bad_rows_is_set_aside_and_stays_seen(cli, tmp_path, tastes, check_published) -> None:
    lines = ["user_id,item_id,rating,timestamp"] + [",".join(map(str, row)) for row in tastes.itertuples(index=False)]
    bad = {200: "0,41,not a number,5", 400: "1,2,inf,5", 600: "2,45,4.0,-7", 800: ",3,4.0,5", 1000: "3,4"}
    for line, text in bad.items():
        lines.insert(line, text)
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    run(cli, tmp_path / "store", path)
    table = pd.read_parquet(tmp_path / "store" / "published" / "current" / "quarantine")
    assert dict(zip(table["line"], table["text"], strict=True)) == {line + 1: text for line, text in bad.items()}
    assert set(table["file"]) == {"ratings.csv"}
    assert table["reason"].str.len().min() > 5
    seen = [(0, 41), (1, 2), (2, 45)]
    assert check_published(tmp_path / "store", tastes, seen_extra=seen) == []


def test_five_percent_of_bad_rows_refuse_the_input(cli, tmp_path, tastes) -> None:
    good = run(cli, tmp_path / "store", write(tastes, tmp_path / "good.csv"), "--run-date", "2026-11-01", "--json").json
    spoilt = tastes.astype({"rating": object})
    spoilt.loc[spoilt.index % 20 == 0, "rating"] = "five"
    refused = run(cli, tmp_path / "store", write(spoilt, tmp_path / "bad.csv"), code=3)
    assert "rating is not a number" in refused.err
    assert "5" in refused.err
    assert "Traceback" not in refused.err
    kept = Path(refused.err.split("all refused rows: ")[1].split()[0])
    assert len(pd.read_parquet(kept)) == (spoilt["rating"] == "five").sum()
    assert cli("runs", "list", "--store", tmp_path / "store", "--json").json["runs"][0]["run_id"] == good["run_id"]
    assert cli("path", "recommendations", "--store", tmp_path / "store").out.strip().endswith("recommendations")


def test_any_strings_are_ids(cli, tmp_path, tastes, check_published) -> None:
    odd = {
        0: "a,b",
        1: 'say "hi"',
        2: "Ольга",
        3: "李雷",
        4: "NA",
        5: "null",
        6: "007",
        7: "é",
        8: "<script>",
        9: " x ",
    }
    frame = tastes.assign(
        user_id=[odd.get(user, f"user-{user}") for user in tastes["user_id"]],
        item_id=[odd.get(item, f"item-{item}") for item in tastes["item_id"]],
    )
    run(cli, tmp_path / "store", write(frame, tmp_path / "ratings.csv"))
    assert check_published(tmp_path / "store", frame) == []
    for user in ("a,b", "李雷", "NA", "007"):
        shown = cli("show", "user", user, "--store", tmp_path / "store", "--json").json
        assert shown["user_id"] == user
        assert len(shown["recommendations"]) == 10


def test_a_user_who_has_rated_everything_gets_nothing(cli, tmp_path, tastes, check_published) -> None:
    everything = pd.DataFrame({"user_id": 999, "item_id": range(80), "rating": 4.0, "timestamp": 1})
    frame = pd.concat([tastes, everything])
    run(cli, tmp_path / "store", write(frame, tmp_path / "ratings.csv"))
    assert check_published(tmp_path / "store", frame) == []
    table = pd.read_parquet(tmp_path / "store" / "published" / "current" / "recommendations")
    assert 999 not in set(table["user_id"])


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "rating": [4.0, 3.0, 5.0], "timestamp": [1, 2, 3]}),
        pd.DataFrame({"user_id": [1, 2, 3], "item_id": [7, 7, 7], "rating": [4.0, 3.0, 5.0], "timestamp": [1, 2, 3]}),
        pd.DataFrame({"user_id": [1], "item_id": [7], "rating": [4.0], "timestamp": [1]}),
    ],
    ids=["a single user", "a single item", "a single rating"],
)
@pytest.mark.parametrize("rater", ["means", pytest.param("biased_mf", marks=pytest.mark.slow)])
def test_the_smallest_inputs(frame, rater, cli, tmp_path, check_published) -> None:
    path = write(frame, tmp_path / "ratings.csv")
    refused = run(cli, tmp_path / "store", path, "--rater", rater, code=4)
    assert "nothing was published" in refused.err
    run(cli, tmp_path / "store", path, "--rater", rater, *UNGATED)
    assert check_published(tmp_path / "store", frame) == []


def test_a_ranker_no_better_than_popularity_is_not_published(cli, tmp_path, tastes) -> None:
    good = run(cli, tmp_path / "store", write(tastes, tmp_path / "good.csv"), "--run-date", "2026-11-01", "--json").json
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 81)
    draw = [rng.choice(80, size=16, replace=False, p=weights / weights.sum()) for _ in range(120)]
    frame = pd.DataFrame(
        {"user_id": np.repeat(range(120), 16), "item_id": np.concatenate(draw), "rating": 4.0, "timestamp": 1}
    )
    overfitting = ("--ranker", "ease", "--set", "models.ease.reg=0.001")
    refused = run(cli, tmp_path / "store", write(frame, tmp_path / "noise.csv"), *overfitting, code=4)
    assert re.search(r"not better than \S+ of popular", refused.err)
    assert "Traceback" not in refused.err
    listed = cli("runs", "list", "--store", tmp_path / "store", "--json").json["runs"]
    assert {row["state"] for row in listed} == {"complete", "refused by the gate"}
    assert [row["run_id"] for row in listed if row["published"]] == [good["run_id"]]


def test_half_the_volume_is_refused_unless_told_otherwise(cli, tmp_path, tastes) -> None:
    run(cli, tmp_path / "store", write(tastes, tmp_path / "all.csv"), "--run-date", "2026-11-01")
    fewer = write(tastes[tastes["user_id"] < 55], tmp_path / "fewer.csv")
    refused = run(cli, tmp_path / "store", fewer, code=3)
    assert "min_volume_ratio" in refused.err
    listed = cli("runs", "list", "--store", tmp_path / "store", "--json").json["runs"]
    assert [row["state"] for row in listed] == ["complete", "input refused"]
    assert "much smaller" in listed[1]["reason"]
    run(
        cli,
        tmp_path / "store",
        fewer,
        "--set",
        "input.min_volume_ratio=0",
        "--set",
        "gate.champion=false",
        "--set",
        "gate.on_suspicious='publish'",
    )


def test_given_holdout_is_never_trained_on(cli, tmp_path, tastes) -> None:
    held = tastes[tastes.index % 5 == 0]
    rest = tastes.drop(held.index)
    both = run(
        cli,
        tmp_path / "a",
        write(tastes, tmp_path / "all.csv"),
        "--test-ratings",
        write(held, tmp_path / "held.csv"),
        "--json",
    )
    apart = run(
        cli, tmp_path / "b", write(rest, tmp_path / "rest.csv"), "--test-ratings", tmp_path / "held.csv", "--json"
    )
    for manifest in (both.json, apart.json):
        assert manifest["input"]["held_out"] == len(held)
        assert manifest["input"]["ratings_kept"] == len(rest)
    assert both.json["metrics"]["rmse"]["value"] == pytest.approx(apart.json["metrics"]["rmse"]["value"])


@pytest.mark.parametrize("split", ["random", "leave-last", "time"])
def test_every_split(split, cli, tmp_path, tastes, check_published) -> None:
    ungated = () if split == "random" else UNGATED  # the last rows here are all off taste, or of a few users
    manifest = run(
        cli, tmp_path / "store", write(tastes, tmp_path / "r.csv"), "--split", split, *ungated, "--json"
    ).json
    held = {"random": len(tastes) // 5, "leave-last": 120, "time": len(tastes) // 5}[split]
    assert manifest["input"]["held_out"] == held
    assert check_published(tmp_path / "store", tastes) == []


def test_short_catalogue_is_topped_up_and_new_users_are_served(cli, tmp_path, tastes, check_published) -> None:
    newcomer = pd.DataFrame({"user_id": [500], "item_id": [3], "rating": [5.0], "timestamp": [9]})
    frame = pd.concat([tastes, newcomer])
    options = ("--top-items", 12, "--min-user-ratings", 2)
    manifest = run(cli, tmp_path / "store", write(frame, tmp_path / "r.csv"), *options, "--json").json
    assert check_published(tmp_path / "store", frame) == []
    assert manifest["sources"]["popular"] > 0
    assert manifest["input"]["items_kept"] == 12


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--dataset", "ml-2m"), 2, "ml-100k"),
        (("--ranker", "nobody"), 2, "edlae"),
        (("--top-n", "0"), 2, "top_n"),
        (("--set", "edlae=1"), 2, "edlae"),
        (("--set", "models.edlae.lambda=1"), 2, "models.edlae.lambda"),
        (("--split", "sometimes"), 2, "split"),
        (("--run-date", "yesterday"), 2, "run_date"),
        (("--config", "/nowhere.toml"), 2, "/nowhere.toml"),
        (("--ratings", "/nowhere.csv"), 5, "/nowhere.csv"),
        (("--dataset", "demo", "--ratings", "/nowhere.csv"), 2, "both given"),
        (("--set", "compute.memory_mib=1", "--top-items", "1000"), 2, "compute.memory_mib"),
    ],
)
def test_wrong_usage_is_one_clear_message(arguments, code, words, cli, tmp_path) -> None:
    refused = cli("run", "--store", tmp_path / "store", *arguments, code=code)
    assert words in refused.err
    assert "Traceback" not in refused.err + refused.out
    assert not (tmp_path / "store" / "published").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"user_id,item_id,rating\n", "no"),
        (b"who,what,stars2\n1,2,3\n", "who"),
        (b"\x1f\x8b\x08broken", ""),
        (b"PAR1 not really", ""),
        ("user_id,item_id,rating\n1,2,3\n".encode("utf-16"), "iconv"),
        (b"user_id;item_id;rating\n1;2;3,5\n", "decimal comma"),
    ],
    ids=["empty", "header only", "other columns", "broken gzip", "broken parquet", "UTF-16", "decimal commas"],
)
def test_unreadable_files_are_refused(content, words, cli, tmp_path) -> None:
    suffix = {b"\x1f": ".csv.gz", b"P": ".parquet"}.get(content[:1], ".csv")
    path = tmp_path / f"ratings{suffix}"
    path.write_bytes(content)
    refused = run(cli, tmp_path / "store", path, code=3)
    assert path.name in refused.err
    assert words in refused.err
    assert "Traceback" not in refused.err


def test_predict_answers_every_pair(cli, tmp_path, tastes) -> None:
    run(cli, tmp_path / "store", write(tastes, tmp_path / "r.csv"))
    pairs = pd.DataFrame({"user_id": [5, 77777, 6, 5], "item_id": [1, 2, 99999, 79]})
    path = write(pairs, tmp_path / "pairs.csv")
    told = cli(
        "predict", "--pairs", path, "--out", tmp_path / "out.parquet", "--store", tmp_path / "store", "--json"
    ).json
    answered = pd.read_parquet(tmp_path / "out.parquet")
    assert told["pairs"] == 4
    assert told["unknown"] == 2
    assert answered["predicted_rating"].isna().tolist() == [False, True, True, False]
    assert answered[["user_id", "item_id"]].equals(pairs)
    assert answered["predicted_rating"].dropna().between(1, 5).all()
    manifest = cli("runs", "list", "--store", tmp_path / "store", "--json").json["runs"][0]
    assert manifest["dataset"] == "own"


def test_predict_of_what_is_no_id_and_of_other_spellings(cli, tmp_path, tastes) -> None:
    store = ("--store", tmp_path / "store")
    manifest = run(cli, tmp_path / "store", write(tastes, tmp_path / "r.csv"), "--json").json
    assert manifest["config"]["input"]["dataset"] is None
    (tmp_path / "pairs.txt").write_text("who;what\n5;1\nabc;2\n;3\n6.0;79\n")
    asked = ("predict", "--pairs", tmp_path / "pairs.txt", "--out", tmp_path / "out.parquet", *store)
    told = cli(*asked, "--columns", "user=who,item=what", "--json").json
    assert (told["pairs"], told["unknown"]) == (4, 2)
    answered = pd.read_parquet(tmp_path / "out.parquet", dtype_backend="numpy_nullable")
    assert answered["user_id"].tolist() == [5, pd.NA, pd.NA, 6]
    assert answered["item_id"].tolist() == [1, 2, 3, 79]
    assert answered["predicted_rating"].isna().tolist() == [False, True, True, False]
    before = (tmp_path / "out.parquet").read_bytes()
    assert "a column for user" in cli(*asked, code=3).err
    assert "wer" in cli(*asked, "--columns", "wer=who", code=2).err
    (tmp_path / "pairs.txt").write_bytes(b"")
    assert "an empty file" in cli(*asked, code=3).err
    assert (tmp_path / "out.parquet").read_bytes() == before
    (tmp_path / "pairs.txt").unlink()
    assert "is not there" in cli(*asked, code=5).err
    refused = cli("predict", "--pairs", tmp_path / "r.csv", "--out", tmp_path / "gone" / "out.parquet", *store, code=2)
    assert "cannot be written" in refused.err
    assert "Traceback" not in refused.err
