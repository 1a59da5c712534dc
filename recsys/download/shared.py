"""Downloads of a store in an object store: brought to a machine that has none, and shown to the others."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from recsys.addresses import local_path, redacted
from recsys.config import RunConfig
from recsys.download.catalogue import DEMO
from recsys.download.copies import SOURCE, Source, parse_source, written
from recsys.ratings import Snapshot
from recsys.store import PARTIAL, Store, sync_tree, write_whole
from recsys.store.remote import RemoteStore

log = logging.getLogger("recsys")


def pull_copies(store: Store, config: RunConfig) -> None:
    """Bring the newest copies of what a night may ask for, so that each machine finds the last good one.

    Raises:
        SourceUnavailable, DamagedObject: they are there and cannot be had.
    """
    if not isinstance(store, RemoteStore):
        return
    for home, origin in _asked_for(config):
        sources = _sources(store, home, origin)
        if sources:
            _bring(store, *max(sources, key=lambda one: one[0].order))


def push_copies(store: Store, snapshots: Iterable[Snapshot | None]) -> None:
    """Send the copies that snapshots lie in; what says where they come from is sent last.

    Raises:
        SourceUnavailable: they could not be sent.
    """
    files = [Path(file) for snapshot in snapshots if snapshot for file in (*snapshot.ratings, *snapshot.items)]
    for folder in sorted({file.parent for file in files if file.is_relative_to(store.raw)}):
        copy = folder / SOURCE
        store.push(sorted(path for path in folder.iterdir() if path.is_file() and path != copy))
        store.push([copy])


def _asked_for(config: RunConfig) -> Iterator[tuple[str, str | None]]:
    """Folders of copies, and the origin that alone is of use; what is generated is made sooner than it is brought."""
    input, holdout = config.input, config.prepare.test_ratings
    if input.dataset is not None and input.dataset != DEMO:
        yield input.dataset, None
    for home, address in (("ratings", input.ratings), ("items", input.items), ("ratings", holdout)):
        if address is not None and local_path(address) is None:
            yield home, redacted(address)


def _sources(store: RemoteStore, home: str, origin: str | None) -> list[tuple[Source, str]]:
    """What says where copies come from, with their paths below the store."""
    raw = store.raw.name
    found = [found for found in store.objects.find(f"{raw}/{home}") if found.name == SOURCE]
    read = ((store.objects.read(one.path), one.path.removesuffix(f"/{SOURCE}")) for one in found)
    parsed = [(parse_source(got[0]), path) for got, path in read if got is not None]
    return [(source, path) for source, path in parsed if source and origin in (None, source.origin)]


def _bring(store: RemoteStore, source: Source, path: str) -> None:
    """As copies are made: in a folder beside, which gets its name when all of it is here."""
    target = store.root / path
    if (target / SOURCE).exists():
        return
    work = target.with_name(f"brought{PARTIAL}")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    for member in source.members:
        store.objects.fetch(f"{path}/{member.name}", work / member.name, member.bytes, member.sha256)
    write_whole(work / SOURCE, written(source))
    sync_tree(work)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(work, target)
    log.info("%s is brought from %s", target.name, store.shown(target))
