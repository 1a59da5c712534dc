"""Commands that read what was published: `path`, `predict`, `runs`, `show`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.cli.console import (
    LIST_HEAD,
    error,
    list_cells,
    result,
    say,
    show_progress,
    table,
    verdict_text,
    visible_lines,
)
from deployments.cli.night import metric_cells
from deployments.cli.options import Json, RunDate, Store, parse_columns, parse_date, store_of
from recsys.config import InputConfig, validated
from recsys.errors import UsageError
from recsys.history.holds import Holds, read_holds
from recsys.store import BrokenPointer, folder_of, run_date_of, run_id_of
from recsys.store import Store as RunStore

RATED_HEAD = ("rated", "title")
FIGURES = {"dataset": "", "ratings": ",", "users": ",", "rows": ",", "ndcg@10": ".4f", "rmse": ".4f"}  # of a run
SPARE = ("rows", "users", "dataset", "ratings", "rmse", "ndcg@10")  # on a narrow terminal
runs = typer.Typer(no_args_is_help=True, help="The published history.")
show = typer.Typer(no_args_is_help=True, help="What a person has rated, and gets.")


def path(name: Annotated[str, typer.Argument(metavar="TABLE")], run_date: RunDate = None, store: Store = None) -> None:
    """Print the folder, or the URI, of a published table, for scripts.

    Example: `recsys path recommendations --store /srv/recsys`
    """
    from recsys.published import PublishedRun

    typer.echo(PublishedRun.open(store_of(store), parse_date(run_date)).address_of(name))


def predict(
    pairs: Annotated[str, typer.Option(help="users and items: a file written as ratings may be, less the ratings")],
    out: Annotated[Path, typer.Option(help="Parquet file to write: user_id, item_id, predicted_rating")],
    columns: Annotated[str | None, typer.Option(help="user=NAME,item=NAME of the pairs")] = None,
    run_date: RunDate = None,
    store: Store = None,
    json_output: Json = False,
) -> None:
    """Predicted ratings of given pairs by the published run's rater; null where it cannot say.

    One row a pair, in their order. An id that is missing or not of the input's type is null as well.

    Example: `recsys predict --pairs pairs.csv --out predicted.parquet`
    """
    from recsys.published import PublishedRun

    run = PublishedRun.open(store_of(store), parse_date(run_date))
    names = validated(InputConfig, {"columns": parse_columns(columns) or {}}, "input.").columns
    with run.reading():
        predicted = run.predict_file(pairs, out, names)
    unknown = predicted["predicted_rating"].null_count
    if json_output:
        result({"out": str(out), "pairs": predicted.num_rows, "unknown": unknown, "run_id": run.run_id})
    else:
        typer.echo(f"{predicted.num_rows:,} pairs, {unknown:,} of them unknown to the rater: {visible_lines(str(out))}")


@runs.command("list")
def list_runs(store: Store = None, json_output: Json = False) -> None:
    """All runs of the store with their state and its reason, the published one marked.

    Example: `recsys runs list --json`
    """
    root = store_of(store)
    if not root.exists:
        raise UsageError(
            f"There is no store {root.name}.",
            expected="a folder with runs",
            todo="name it with --store, or run `recsys run`",
        )
    broken, folders = _broken_pointer(root), root.runs()
    holds = read_holds(root)
    named = root.named()
    rows = [_describe(folder) | {"published": run_id_of(folder) == named} for folder in folders]
    published = any(row["published"] for row in rows)
    if json_output:
        result({"store": root.name, "pointer": "broken" if broken else "whole" if published else "none", "runs": rows})
    else:
        columns = ("", "run_date", "run_id", "state", "verdict", *FIGURES)
        table(f"Runs in {root.name}", columns, (_run_cells(row, holds) for row in rows), spare=SPARE)
        for row in rows:
            if row["state"] != "complete":
                say(f"{row['run_id']} of {row['run_date']}: {row['state']}: {row['reason']}")
    if broken:
        error(broken)


@runs.command("show")
def show_run(
    run: Annotated[str, typer.Argument(metavar="RUN")], store: Store = None, json_output: Json = False
) -> None:
    """One run in whatever state: why it is so and, where it was made to its end, input, verdict, metrics, timings.

    With --json the manifest, where there is one, and `state` and `reason` beside it.

    Example: `recsys runs show 3f2a`
    """
    from recsys.published import PublishedRun
    from recsys.states import state_of

    root = store_of(store)
    folder = folder_of(root, run, root.runs())
    state, found = state_of(folder), PublishedRun(folder, root)
    if json_output:
        about = {"run_id": found.run_id, "run_date": run_date_of(folder), "address": found.address}
        result({**about, **state.manifest, "state": state.name, "reason": state.reason})
    else:
        table(
            f"Run {found.run_id} of {run_date_of(folder)}", ("what", "which"),
            {"state": state.name, "reason": state.reason, "stands in": found.address}.items(),
        )  # fmt: skip
        if state.manifest:
            with found.reading():
                _show_made(root, folder, state.manifest)
    if state.name == "damaged":  # the object above is the one on standard output, so it is told and not raised
        known = found.damaged(found.damage())
        error(str(known))
        raise typer.Exit(known.exit_code)


def _show_made(root: RunStore, folder: Path, manifest: Mapping[str, Any]) -> None:
    from recsys.report.timings import in_order
    from recsys.summary import before, facts, gate_rows

    table("Made", ("what", "which"), facts(manifest).items())
    checks = ([row["check"], verdict_text(row["finding"]), row["reason"]] for row in gate_rows(manifest))
    table("Gate", ("check", "finding", "reason"), checks)
    last = before(root, folder)
    metrics = metric_cells(manifest, last)
    table(f"Metrics; {last.told}" if last else "Metrics", list(metrics), zip(*metrics.values(), strict=True))
    table(
        "Stages",
        ("stage", "seconds", "peak MiB so far"),
        ([name, f"{taken['seconds']:.1f}", taken["peak_memory_mib"]] for name, taken in in_order(manifest["timings"])),
    )


@runs.command("verify")
def verify_run(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]")] = None, store: Store = None, json_output: Json = False
) -> None:
    """Compare every file of a run (unset: the published one) with its manifest.

    Example: `recsys runs verify`
    """
    from recsys.published import PublishedRun, find_run

    root = store_of(store)
    found = PublishedRun.open(root) if run is None else find_run(root, run)
    damage = found.damage()
    known = found.damaged(damage)
    if json_output:
        status = "damaged" if damage else "whole"
        result({"run_id": found.run_id, "status": status, "verified": not damage, **asdict(damage)})
        if damage:  # the object above is the one on standard output, so the refusal itself is not raised
            error(str(known))
            raise typer.Exit(known.exit_code)
    elif damage:
        raise known
    else:
        typer.echo(f"run {found.run_id}: {damage.files} files are as the manifest says")


@show.command("user")
def show_user(
    user: Annotated[str, typer.Argument(metavar="ID")],
    run_date: RunDate = None,
    store: Store = None,
    most: Annotated[int, typer.Option(min=1, help="ratings shown")] = 20,
    json_output: Json = False,
) -> None:
    """A person's ratings and recommendations side by side.

    Example: `recsys show user 42`
    """
    from recsys.published import PublishedRun

    show_progress()
    run = PublishedRun.open(store_of(store), parse_date(run_date))
    with run.reading():
        user_id = run.user_id(user)
        rated, gets, titles = run.ratings_of(user_id), run.recommendations_of(user_id), run.titles
    if json_output:
        result({"user_id": user_id, "run_id": run.run_id, "ratings": rated, "recommendations": gets})
        return
    sides = [
        [*(left or [""] * len(RATED_HEAD)), *(right or [""] * len(LIST_HEAD))]
        for left, right in zip_longest(map(_rated_cells, rated[:most]), (list_cells(row, titles) for row in gets))
    ]
    table(
        f"User {user_id}: {len(rated)} ratings, run {run.run_id}",
        (*RATED_HEAD, *LIST_HEAD),
        sides,
        spare=("source", "predicted", "because of"),
    )


def _run_cells(row: Mapping[str, Any], holds: Holds) -> list[object]:
    """A run's row under the columns of `runs list`; the published one is marked, and what people have said is told."""
    said = {"pinned": row["run_id"] == holds.pinned, "rolled back": row["run_id"] in holds.withdrawn}
    state = ", ".join([row["state"], *(word for word, holds_now in said.items() if holds_now)])
    figures = (f"{row[name]:{how}}" if name in row else "" for name, how in FIGURES.items())
    verdict = verdict_text(row.get("verdict", ""))
    return ["*" if row["published"] else "", row["run_date"], row["run_id"], state, verdict, *figures]


def _rated_cells(row: dict[str, Any]) -> list[object]:
    return [f"{row['rating']:g}", row["title"] or row["item_id"]]


def _broken_pointer(store: RunStore) -> str | None:
    try:
        store.current()
    except BrokenPointer as broken:
        return str(broken)
    return None


def _describe(folder: Path) -> dict[str, Any]:
    from recsys.states import state_of

    state = state_of(folder)
    row = {"run_date": run_date_of(folder), "run_id": run_id_of(folder)}
    figures = _figures(state.manifest) if state.manifest else {}
    return row | {"state": state.name, "reason": state.reason} | figures


def _figures(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "verdict": manifest["gate"]["verdict"],
        "dataset": manifest["input"]["dataset"],
        "ratings": manifest["input"]["ratings"],
        "users": manifest["input"]["users"],
        "rows": sum(manifest["sources"].values()),
        "published_at": manifest["published_at"],
    } | {
        name: round(manifest["metrics"][name]["value"], 4)
        for name in ("ndcg@10", "rmse")
        if name in manifest["metrics"]
    }
