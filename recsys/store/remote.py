"""A store in an object store, and the function that opens any store.

Runs are made in a working copy on this machine, which has the layout of a local store, and are sent when they are
whole: every file below the run's own prefix, each checked; the manifest last, and only where there is none; then the
pointer is swapped, from the version that was read. Readers fetch what they read into the working copy, once: runs never
change.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from recsys.addresses import local_path
from recsys.errors import UsageError, sample
from recsys.objects.address import Address
from recsys.objects.failures import DamagedObject
from recsys.objects.folder import Found, ObjectFolder, in_parallel, md5_etag, part_bytes
from recsys.objects.leftovers import drop_leftovers
from recsys.objects.service import told_apart
from recsys.progress import track
from recsys.store.files import sha256_of
from recsys.store.layout import MANIFEST, REFUSED, BrokenPointer, Pointer, Store
from recsys.store.lease import SECONDS, Lease, LeaseLost
from recsys.store.object_place import ObjectPlace
from recsys.store.place import Stamped, Taken

log = logging.getLogger("recsys")

MANIFESTS = (MANIFEST, REFUSED)
RUNS, RUN_FILE = "runs", re.compile(r"(runs/run_date=[^/]+/run_id=[^/]+)/(.+)")
KEPT_HERE = 2  # runs of which the files stay in the working copy: the published one, and the one before
IN_USE_S = 3_600.0  # a run used within the last hour stays too: a reader may still be at its files


def open_store(place: Store | Path | str, workspace: str | None = None) -> Store:
    """The store at a path or URI; nothing is asked of it yet.

    Args:
        place: a folder, `file://`, or a URI of an object store. One that is open is returned as it is.
        workspace: the folder of working copies on this machine; None: `recsys` in the user's cache.

    Raises:
        UsageError: the URI is none of a store, or holds credentials.
    """
    if isinstance(place, Store):
        return place
    path = local_path(place) if isinstance(place, str) else place
    if path is not None:
        return Store(path.resolve())
    address = Address.parse(str(place))
    key = hashlib.sha256(told_apart(address).encode()).hexdigest()[:16]
    return RemoteStore(_workspace(workspace) / f"{address.bucket}-{key}", ObjectFolder(address))


@dataclass(frozen=True)
class RemoteStore(Store):
    """A store in an object store.

    Attributes:
        root: the working copy.
        objects: what readers see.
    """

    objects: ObjectFolder

    @property
    def name(self) -> str:
        """Its URI."""
        return str(self.objects.address)

    @property
    def exists(self) -> bool:
        """Its folders are only names."""
        return True

    def shown(self, path: Path) -> str:
        """The URI of what is at a path below the root."""
        return str(self.objects.address.joined(self._path_of(path)))

    @property
    def place(self) -> ObjectPlace:
        """Where the records lie that runs compete for."""
        return ObjectPlace(self.objects)

    @contextmanager
    def hold(self, seconds: float = SECONDS) -> Iterator[Lease]:
        """As on a disk; what broken-off uploads have left is dropped first.

        Raises:
            StoreBusy, LeaseLost, UsageError: as on a disk.
            SourceUnavailable: the service cannot be reached.
        """
        with super().hold(seconds) as lease:
            drop_leftovers(self.objects)
            yield lease

    def has_manifest(self, folder: Path) -> bool:
        """Whether the run of a folder is complete; its manifest, as the service has it, is then in the folder."""
        objects = self._objects_of(folder)
        read = ((name, objects.read(name)) for name in MANIFESTS)
        first = next(({name: got[0]} for name, got in read if got is not None), {})
        self._settle(folder, first)
        return MANIFEST in first

    def runs(self) -> list[Path]:
        """Folders of all runs, those that other machines have made and those that this one is making.

        The manifests are brought here; what was pruned elsewhere goes from here. A run that is only partly sent, or
        partly pruned, is a folder without one.
        """
        there: dict[Path, list[Found]] = {}
        for found in self.objects.find(RUNS):
            if parts := RUN_FILE.fullmatch(found.path):
                manifests = there.setdefault(self.root / parts[1], [])
                manifests += [found] if parts[2] in MANIFESTS else []

        def settle(folder: Path) -> None:
            self._settle(folder, {found.name: self._read(found) for found in there.get(folder, ())})
            if folder in there:
                folder.mkdir(parents=True, exist_ok=True)
            elif folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

        in_parallel(settle, there.keys() | set(super().runs()))
        return super().runs()

    def here(self, folder: Path, part: str) -> Path:
        """A part of a run that was made to its end, brought to this machine.

        Raises:
            DamagedObject: a file of it is not as it was written.
            SourceUnavailable: it cannot be read.
        """
        manifest = _manifest_of(folder)
        if manifest is None:  # it is being made here
            return folder / part
        os.utime(manifest)  # when it was last used
        files = [entry for entry in _files(manifest) if f"{entry['path']}/".startswith(f"{part}/")]
        absent = [entry for entry in files if not _is_here(folder / entry["path"], entry)]
        if absent:
            objects, total = self._objects_of(folder), sum(entry["bytes"] for entry in absent)
            with track(f"fetch {part}", total, "bytes") as bar:

                def fetch(entry: dict[str, Any]) -> None:
                    objects.fetch(entry["path"], folder / entry["path"], entry["bytes"], entry["sha256"])
                    bar.advance(entry["bytes"])

                in_parallel(fetch, absent)
            self._tidy()
        return folder / part

    def push(self, paths: Iterable[Path]) -> None:
        """Send files below the root, which readers then find at the same place."""

        def send(path: Path) -> None:
            self.objects.upload(path, self._path_of(path), sha256_of(path))

        in_parallel(send, paths)

    def pull(self, below: str) -> None:
        """Bring what is at a path below the root, or below that, and is not here as it is there."""

        def bring(found: Found) -> None:
            path = self.root / found.path
            if not path.exists() or found.etag.strip('"') != md5_etag(path, part_bytes(found.bytes)):
                _write(path, self.objects.blocks(found))

        in_parallel(bring, self.objects.find(below))

    def contents(self, folder: Path) -> RemoteContents:
        """The objects of a run."""
        return RemoteContents(self._objects_of(folder))

    def seal(self, folder: Path, manifest: str, name: str = MANIFEST) -> None:
        """Send a run whose files all stand, then its manifest; files that are there already are not sent again.

        Raises:
            LeaseLost: another run has completed it meanwhile.
            SourceUnavailable: it could not all be sent; nothing of it shows, and the next try goes on from there.
        """
        objects, files = self._objects_of(folder), json.loads(manifest)["files"]
        self._send(folder, files)
        there, named = {found.path for found in objects.find()}, {entry["path"] for entry in files}
        if named - there:
            raise DamagedObject(
                f"Files of {self.shown(folder)} are neither there nor here.", found=sample(sorted(named - there)),
                todo="the same night run again makes them",
            )  # fmt: skip
        objects.remove(there - named - set(MANIFESTS))
        try:
            self.place.create(f"{self._path_of(folder)}/{name}", manifest.encode())
        except Taken as error:
            raise LeaseLost(f"the run's manifest, {self.shown(folder / name)}, written by another") from error
        super().seal(folder, manifest, name)
        self._tidy()

    def hide(self, path: Path) -> None:
        """Remove what is at or below a path from the service, manifests first: a run never shows in part."""
        there = [found.path for found in self.objects.find(self._path_of(path))] or [self._path_of(path)]
        self.objects.remove(sorted(there, key=lambda path: (path.rpartition("/")[2] not in MANIFESTS, path)))

    def bytes_below(self, folder: Path) -> int:
        """What all objects below a folder take."""
        return sum(found.bytes for found in self.objects.find(self._path_of(folder)))

    def restore(self, folder: Path, changed: Iterable[str], added: Iterable[str]) -> bool:
        """Send a complete run's damaged files again, where this machine has them as its manifest says."""
        changed = tuple(changed)
        if MANIFEST in changed:
            return False
        wanted = {entry["path"]: entry for entry in _files(folder / MANIFEST)}
        entries = [wanted.get(path) for path in changed]
        if not all(entry and _is_whole(folder / entry["path"], entry) for entry in entries):
            return False
        self._send(folder, [entry for entry in entries if entry])
        self._objects_of(folder).remove(added)
        return True

    def _send(self, folder: Path, files: list[dict[str, Any]]) -> None:
        objects = self._objects_of(folder)
        with track("upload", sum(entry["bytes"] for entry in files), "bytes") as bar:

            def send(entry: dict[str, Any]) -> bool:
                source = folder / entry["path"]
                sent = source.exists() and objects.upload(source, entry["path"], entry["sha256"])
                bar.advance(entry["bytes"])
                return sent

            sent = in_parallel(send, files)
        log.info("upload: %d files to %s, %d were there", sum(sent), self.shown(folder), len(sent) - sum(sent))

    def _stamped(self) -> tuple[Stamped | None, Pointer | None]:
        """As on a disk; a pointer that leads out of the store is none: others may have written it."""
        found, pointer = super()._stamped()
        if pointer is not None and not _is_below(pointer.path):
            raise BrokenPointer(
                f"The pointer {self.shown(self.pointer_file)} leads out of the store.",
                expected="the path of a run below it", found=pointer.path,
            )  # fmt: skip
        return found, pointer

    def _link(self, pointer: Pointer) -> None:
        """There are no links among objects."""

    def _read(self, found: Found) -> bytes:
        """A manifest, from here where it is the same."""
        path = self.root / found.path
        if path.exists() and found.etag.strip('"') == md5_etag(path, part_bytes(found.bytes)):
            return path.read_bytes()
        return b"".join(self.objects.blocks(found))

    def _settle(self, folder: Path, manifests: dict[str, bytes]) -> None:
        """Have the manifests that the service has; what is here of another making of the run goes."""
        here = {name: (folder / name).read_bytes() for name in MANIFESTS if (folder / name).exists()}
        if any(manifests.get(name) != data for name, data in here.items()):
            shutil.rmtree(folder)
            here = {}
        for name in manifests.keys() - here.keys():
            _write(folder / name, [manifests[name]])

    def _tidy(self) -> None:
        """Drop the files of runs that were not used lately from the working copy; their manifests stay."""
        manifests = [manifest for folder in Store(self.root).runs() if (manifest := _manifest_of(folder)) is not None]
        held = [manifest for manifest in manifests if len(os.listdir(manifest.parent)) > 1]
        held.sort(key=lambda manifest: manifest.stat().st_mtime)
        for manifest in held[:-KEPT_HERE]:
            if time.time() - manifest.stat().st_mtime < IN_USE_S:
                continue
            for entry in manifest.parent.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name not in MANIFESTS:
                    entry.unlink()

    def _objects_of(self, folder: Path) -> ObjectFolder:
        return self.objects.below(self._path_of(folder))

    def _path_of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class RemoteContents:
    """The objects of a run, all read from the service."""

    objects: ObjectFolder

    def paths(self) -> set[str]:
        """Of all objects."""
        return {found.path for found in self.objects.find()}

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Of the objects that are there, by one listing."""
        wanted = set(paths)
        return {found.path: found.bytes for found in self.objects.find() if found.path in wanted}

    def sha256(self, path: str) -> str | None:
        """Of what the service gives."""
        found = self.objects.look(path)
        return None if found is None else self.objects.sha256(found)

    def read(self, path: str) -> bytes | None:
        """A small object."""
        read = self.objects.read(path)
        return None if read is None else read[0]


def _workspace(given: str | None) -> Path:
    if given is not None:
        return Path(given).expanduser().resolve()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "recsys"
    except RuntimeError as error:
        raise UsageError(
            "There is no folder for working copies.", expected="a home folder or XDG_CACHE_HOME",
            found=str(error), todo="name one with --set compute.workspace=FOLDER, or set XDG_CACHE_HOME",
        ) from error  # fmt: skip


def _manifest_of(folder: Path) -> Path | None:
    """The manifest of a run that was made to its end; None where there is none here."""
    return next((folder / name for name in MANIFESTS if (folder / name).exists()), None)


def _files(manifest: Path) -> list[dict[str, Any]]:
    """The entries of a manifest, of which none leads out of its folder."""
    files: list[dict[str, Any]] = json.loads(manifest.read_bytes())["files"]
    return [entry for entry in files if _is_below(entry["path"])]


def _is_below(path: str) -> bool:
    """Whether a path that others wrote stays below the folder it is joined to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts


def _is_here(path: Path, entry: dict[str, Any]) -> bool:
    """Whether a fetched file is here; it was compared when it came, and appeared whole."""
    return path.exists() and path.stat().st_size == entry["bytes"]


def _is_whole(path: Path, entry: dict[str, Any]) -> bool:
    return _is_here(path, entry) and sha256_of(path) == entry["sha256"]


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with fresh.open("wb") as file:
        file.writelines(blocks)
    os.replace(fresh, path)
