"""Small runs with an input that means harm, and nights before them."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import nights
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import tables

# Everything that has ever ended a title, an attribute, a script or a line; the first is the most rated item's.
HOSTILE = (
    "<script>alert(1)</script>",
    "Quo\"ted ' & `ticks` > all",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    "<b>bold</b> <a href='https://example.org'>link</a> &lt;entity&gt;",
    "מלחמת הכוכבים \u202eevil\u202c",
    "🎬 Ünïcödé 🦉 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "line\nbreak\ttab\x1b[31m \u2028 \u2029 \x00",
    "--blue",
    "{{ 7 * 7 }} {% raw %} ${x} %{y}",
    "a" * 300,
    "]]><!-- --> <style>*{display:none}</style>",
)
GENRES = [["<i>Drama</i>"], ['Sci"Fi', "War"], [], None, ["<i>Drama</i>"], ["خيال"]] * 2


def hostile_run(store: Path, **given):
    """A run whose tables stand, with vectors of items, hostile titles, genres, refused rows and dataset."""
    config = nights.config_of(train={"rater": "biased_mf"}, prepare={"top_items": 0}, gate={"rater_beats_means": False})
    run = nights.make_run(store, **{"config": config, **given})
    run = replace(run, snapshot=replace(run.snapshot, dataset="<b>made</b>", origin="</script>memory"))
    prepared, ids = run.folder / "prepared", run.prepared.ids.item_ids
    order = run.prepared.training_set("all").item_counts.argsort()[::-1]
    titles = [""] * len(ids)
    for title, item in zip(HOSTILE, order.tolist(), strict=True):
        titles[item] = title
    items = {"item_id": ids, "title": pa.array(titles), "genres": pa.array(GENRES, pa.list_(pa.string()))}
    pq.write_table(pa.table(items), prepared / "items.parquet")
    refused = [{"file": "<u>x.csv", "line": place, "reason": reason, "text": "</td><script>alert(4)</script>\x1b"}
               for place, reason in enumerate(("rating is not a number", "4 fields expected, 3 found") * 2, 1)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(refused, schema=tables.QUARANTINE), prepared / "quarantine.parquet")
    return nights.score_run(run)


def past_nights(store: Path, tonight: date, dataset: str, n: int) -> None:
    """Rows of `n` nights before tonight, one of them refused."""
    (store / "nights").mkdir(exist_ok=True)
    for back in range(1, n + 1):
        night = tonight - timedelta(days=back)
        row = dict.fromkeys(tables.NIGHTS.names, 0) | {
            "run_date": night, "run_id": f"{back:016x}", "verdict": "REJECTED" if back == 2 else "PROMOTED",
            "dataset": dataset, "ratings": 100 + back, "users": 30, "items": 12, "rows_model": 140, "rating_psi": None,
            "ndcg@10": 0.5, "ndcg@10_low": 0.4, "ndcg@10_high": 0.6, "rmse": 1.0, "rmse_low": 0.9, "rmse_high": 1.1,
            "list_overlap": 0.9, "list_rbo": 0.8,
        }  # fmt: skip
        table = pa.Table.from_pylist([row], schema=tables.NIGHTS)
        pq.write_table(table, store / "nights" / f"part-{night}-{row['run_id']}.parquet")
