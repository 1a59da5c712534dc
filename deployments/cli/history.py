"""Choosing which run readers see, and freeing room: `runs rollback`, `promote`, `pin`, `unpin`, `prune`."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from deployments.cli.console import result, show_progress
from deployments.cli.options import Json, Store, store_of

if TYPE_CHECKING:
    from recsys.history.holds import Holds
    from recsys.history.shown import Shown

Run = Annotated[str, typer.Argument(metavar="RUN", help="its id, or the beginning of it")]


def rollback(run: Run, store: Store = None, json_output: Json = False) -> None:
    """Publish an earlier run again; later ones are not shown until a newer night is made.

    Example: `recsys runs rollback 3f2a`
    """
    from recsys.history.shown import roll_back

    show_progress()
    _tell(roll_back(store_of(store), run), json_output)


def promote(
    run: Run,
    reason: Annotated[str, typer.Option(help="kept in the manifest")] = "",
    by: Annotated[str | None, typer.Option(help="who wants it; unset: this machine's user")] = None,
    store: Store = None,
    json_output: Json = False,
) -> None:
    """Publish a run that the gate refused, or that was rolled back; the manifest says who wanted it.

    Example: `recsys runs promote 3f2a --reason "the shop moved to another scale"`
    """
    from recsys.history.shown import promote as publish_by_name

    show_progress()
    shown = publish_by_name(store_of(store), run, by=by or getpass.getuser(), reason=reason)
    _tell(shown, json_output)


def pin(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="unset: the published one")] = None,
    store: Store = None,
    json_output: Json = False,
) -> None:
    """Keep a run published, whatever the next nights bring.

    Example: `recsys runs pin 3f2a`
    """
    from recsys.history.shown import pin as keep

    show_progress()
    _tell_holds(keep(store_of(store), run), json_output)


def unpin(store: Store = None, json_output: Json = False) -> None:
    """Let the next night be published again.

    Example: `recsys runs unpin`
    """
    from recsys.history.shown import unpin as let_go

    show_progress()
    _tell_holds(let_go(store_of(store)), json_output)


def prune(
    keep: Annotated[int, typer.Option(min=1, help="complete runs that stay")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    store: Store = None,
    json_output: Json = False,
) -> None:
    """Remove all but the last runs, the published and the pinned one, and downloads that none of them came from.

    Example: `recsys runs prune --keep 14 --dry-run`
    """
    from recsys.history.prune import prune as remove

    show_progress()
    pruned = remove(store_of(store), keep, dry_run=dry_run)
    if json_output:
        result({"dry_run": dry_run, **asdict(pruned)})
        return
    for name in (*pruned.runs, *pruned.downloads):
        typer.echo(f"{'would go' if dry_run else 'removed'}: {name}")
    typer.echo(f"{pruned.bytes / 2**20:,.1f} MiB; {len(pruned.kept)} runs stay")


def _tell(shown: Shown, json_output: bool) -> None:
    if json_output:
        result(asdict(shown))
    else:
        words = "is published" if shown.outcome == "published" else "was published already"
        typer.echo(f"run {shown.run_id} of {shown.run_date} {words}")


def _tell_holds(holds: Holds, json_output: bool) -> None:
    if json_output:
        result(asdict(holds))
    else:
        typer.echo(f"pinned: {holds.pinned or 'no run'}")
