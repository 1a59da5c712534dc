"""The published history by its commands: rollback, promote, pin, prune, backfill; each said twice gives the same store."""

from __future__ import annotations

import hashlib
import json

import pytest

SMALL = ("--rater", "means", "--set", "demo.users=300", "--set", "demo.items=150", "--set", "demo.ratings=9000")
WEAK = ("--set", "gate.min_ndcg=0.99")


def content(store) -> dict[str, str]:
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name not in ("lease.json", ".lock", "CURRENT.json")
    }


def test_from_refusal_to_promotion_and_back(cli, tmp_path) -> None:
    store = ("--store", tmp_path)
    first = cli("run", *store, "--run-date", "2026-11-19", *SMALL, "--json").json
    refused = cli("run", *store, "--run-date", "2026-11-20", *SMALL, *WEAK, "--json", code=4)
    assert "REJECTED" in refused.err
    assert "Traceback" not in refused.err
    assert cli("path", "recommendations", *store).out.strip().endswith(f"run_id={first['run_id']}/recommendations")
    listed = cli("runs", "list", *store, "--json").json["runs"]
    (weak,) = [row for row in listed if row["state"] == "refused by the gate"]
    assert weak["reason"].startswith("REJECTED: ndcg@10")
    cli("run", *store, "--run-date", "2026-11-20", *SMALL, *WEAK, code=4)  # again: refused again, nothing is made anew

    promote = ("runs", "promote", weak["run_id"][:10], "--by", "Ada", "--reason", "seen and wanted", *store, "--json")
    assert cli(*promote).json["outcome"] == "published"
    before = content(tmp_path)
    assert cli(*promote).json["outcome"] == "unchanged"
    assert content(tmp_path) == before
    manifest = cli("runs", "show", weak["run_id"], *store, "--json").json
    assert manifest["gate"]["promoted_by"]["by"] == "Ada"
    told = cli("runs", "show", weak["run_id"], *store).out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in told}
    assert rows["promoted"][:2] == ["by", "Ada"]
    assert rows["min_ndcg"][0] == "REJECTED"
    assert rows["ndcg@10"][0] == f"{manifest['metrics']['ndcg@10']['value']:.4f}"
    order = [name for name in rows if name in manifest["timings"]]
    assert order.index("prepare") < order.index("train_ranker") < order.index("evaluate") < order.index("score")
    cli("runs", "verify", *store)

    for outcome in ("published", "unchanged"):
        assert cli("runs", "rollback", first["run_id"], *store, "--json").json["outcome"] == outcome
    assert json.loads((tmp_path / "published" / "CURRENT.json").read_text())["run_id"] == first["run_id"]
    cli("runs", "pin", *store)
    assert cli("run", *store, "--run-date", "2026-11-21", *SMALL, "--json").json["outcome"] == "kept"
    cli("runs", "unpin", *store)
    before = None
    for _ in range(2):
        cli("runs", "prune", "--keep", "1", *store)
        assert before in (None, content(tmp_path))
        before = content(tmp_path)
    cli("runs", "verify", *store)
    assert len(list(tmp_path.glob("runs/*/*"))) == 2  # the published one and the latest


def test_a_flipped_byte_is_found_and_named(cli, tmp_path) -> None:
    cli("run", "--store", tmp_path, *SMALL)
    file = next((tmp_path / "published" / "current" / "recommendations").glob("part-*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for _ in range(2):
        told = cli("runs", "verify", "--store", tmp_path, code=1)
        assert f"changed: 'recommendations/{file.name}'" in told.err


@pytest.mark.timeout(600)
def test_past_nights_are_made_once_each_on_what_there_was_by_then(cli, tmp_path) -> None:
    rows = ["user,item,rating,timestamp"]
    for user in range(60):
        rows += [
            f"{user},{item},{1 + (user * item) % 5},{1_700_000_000 + 86_400 * ((user + item) % 10)}"
            for item in range(30)
            if (user + item) % 3
        ]
    (tmp_path / "ratings.csv").write_text("\n".join(rows))
    plain = ("--set", "gate.ranker_beats_popular=false", "--set", "gate.champion=false", "--set", "train.rater=means")
    past = ("--ratings", tmp_path / "ratings.csv", "--store", tmp_path / "store", *plain, "--json")
    nights = ("--from", "2023-11-18", "--to", "2023-11-20")
    made = cli("backfill", *nights, *past).json["nights"]
    assert [night["outcome"] for night in made] == ["published"] * 3
    shown = [cli("runs", "show", night["run_id"], "--store", tmp_path / "store", "--json").json for night in made]
    counts = [manifest["input"]["ratings"] for manifest in shown]
    expected = [
        sum(int(row.split(",")[3]) < 1_700_352_000 + 86_400 * day for row in rows[1:]) for day in range(3)
    ]  # 2023-11-19 00:00 UTC and the two days after
    assert counts == expected
    before = content(tmp_path / "store")
    again = cli("backfill", *nights, *past).json["nights"]
    assert [night["outcome"] for night in again] == ["kept", "kept", "unchanged"]
    missing = cli("backfill", "--from", "2023-11-17", "--to", "2023-11-20", "--missing-only", *past).json["nights"]
    assert [night["outcome"] for night in missing] == ["kept", *["there already"] * 3]
    assert before.items() <= content(tmp_path / "store").items()
    refused = cli("backfill", "--from", "2023-11-20", "--to", "2023-11-18", *past, code=2)
    assert "is before the first" in refused.err
    early = cli("backfill", "--from", "2001-01-01", "--to", "2001-01-02", *past, code=3)
    assert "2 of 2 nights were refused" in early.err
