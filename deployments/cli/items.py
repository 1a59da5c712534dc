"""Commands about published items: `similar` and `show item`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deployments.cli.console import result, say, table
from deployments.cli.options import Json, RunDate, Store, parse_date, store_of

Item = Annotated[str, typer.Argument(metavar="ITEM", help="an id, a title, or a part of a title")]


def similar(
    item: Item,
    n: Annotated[int | None, typer.Option("--top-n", "-n", min=1, help="how many; unset: as the run's lists")] = None,
    least: Annotated[bool, typer.Option("--least", help="the farthest items instead")] = False,
    run_date: RunDate = None,
    store: Store = None,
    json_output: Json = False,
) -> None:
    """The nearest, or the farthest, items of an item.

    Example: `recsys similar "toy story" --least`
    """
    from recsys.published import PublishedRun
    from recsys.published_items import PublishedItems

    items = PublishedItems(PublishedRun.open(store_of(store), parse_date(run_date)))
    item_id = items.find(item)
    found = {
        "item_id": item_id,
        "title": items.run.titles[item_id],
        "similar": items.similar(item_id, n, least=least),
    }
    if json_output:
        result(found)
    else:
        _print_neighbours(f"{'Farthest from' if least else 'Nearest to'} {_name(found)}", found["similar"])


def show_item(item: Item, run_date: RunDate = None, store: Store = None, json_output: Json = False) -> None:
    """An item and its neighbours.

    Example: `recsys show item 1`
    """
    from recsys.published import PublishedRun
    from recsys.published_items import PublishedItems

    items = PublishedItems(PublishedRun.open(store_of(store), parse_date(run_date)))
    described = items.describe(items.find(item))
    neighbours = items.similar(described["item_id"]) if items.can_compare else []
    if json_output:
        result({**described, "run_id": items.run.run_id, "similar": neighbours})
        return
    mean = "" if described["mean_rating"] is None else f", {described['mean_rating']:.2f} on average"
    say(f"{_name(described)}: {described['ratings']:,} ratings{mean}")
    say(f"Genres: {', '.join(described['genres'] or ()) or 'not known'}")
    _print_neighbours(f"Nearest, by run {items.run.run_id}", neighbours)


def _name(item: dict[str, Any]) -> str:
    return f"{item['title']} ({item['item_id']})" if item["title"] else str(item["item_id"])


def _print_neighbours(title: str, neighbours: list[dict[str, Any]]) -> None:
    if not neighbours:
        say(f"{title}: none, the model does not know this item's neighbours")
        return
    rows = ([row["rank"], row["item_id"], row["title"], f"{row['similarity']:.4f}"] for row in neighbours)
    table(title, ("rank", "item_id", "title", "similarity"), rows)
