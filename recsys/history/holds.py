"""What people have said about runs: one is pinned, some were taken back. Publishing heeds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from recsys.errors import UsageError
from recsys.store import LeaseLost, Store
from recsys.store.place import Taken

NAME = "published/HOLDS.json"


@dataclass(frozen=True)
class Holds:
    """By run_id.

    Attributes:
        pinned: the run that stays published until it is unpinned; None: the newest night is.
        withdrawn: complete runs that a rollback took back: not shown again unless promoted by name; ascending.
    """

    pinned: str | None = None
    withdrawn: tuple[str, ...] = ()


def read_holds(store: Store) -> Holds:
    """What holds now.

    Raises:
        UsageError: the record cannot be read.
    """
    found = store.place.read(NAME)
    if found is None:
        return Holds()
    try:
        record = json.loads(found.data)
        return Holds(record["pinned"], tuple(record["withdrawn"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{store.shown(store.root / NAME)} cannot be read.",
            expected="JSON with pinned and withdrawn",
            found=str(error),
            todo="mend it, or delete it: then no run is pinned and none counts as taken back",
        ) from error


def write_holds(store: Store, holds: Holds) -> None:
    """Replace the record, where it says something else; under the store's lease."""
    found = store.place.read(NAME)
    data = (json.dumps(asdict(holds), indent=2) + "\n").encode()
    try:
        if found is None and holds != Holds():
            store.place.create(NAME, data)
        elif found is not None and found.data != data:
            store.place.replace(NAME, data, found.version)
    except Taken as error:
        raise LeaseLost(f"{NAME}, changed at the same moment") from error
