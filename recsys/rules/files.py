"""Where a rules file and the tables it names lie: on this machine, or copied here from an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys.addresses import local_path
from recsys.download.copies import Copy, Source, keep, locked
from recsys.download.hashing import combined
from recsys.download.objects import copy_object
from recsys.download.unpack import Member
from recsys.errors import UsageError
from recsys.objects.address import Address
from recsys.objects.folder import ObjectFolder

HOME = "rules"  # in the store's folder of downloads
FORM = "a TOML file with [[rule]] tables, or a Parquet table of kind and item_id"
# The tables that a rules file on this machine names, as it names them; what the file is called is for messages.
NamesIn = Callable[[Path, str], Sequence[str]]


@dataclass(frozen=True)
class RulesFiles:
    """A rules file and its tables on this machine.

    Attributes:
        file: its path; of a copy too.
        tables: path of each, by the name in the file.
        called: what people call the file.
    """

    file: str
    tables: Mapping[str, str]
    called: str

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the content of all, in their order.

        Raises:
            UsageError: one cannot be read.
        """
        digest = hashlib.sha256()
        for path in (self.file, *self.tables.values()):
            try:
                with open(path, "rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
            except OSError as error:
                raise unreadable(path, error) from error
        return digest.hexdigest()


def gather(address: str, raw: Path, names_in: NamesIn) -> RulesFiles:
    """The files of a rules file; what lies in an object store is copied to `<raw>/rules/<hash>/`.

    Unlike ratings, rules are never taken from an older copy: an item withdrawn since would be listed.

    Raises:
        UsageError: an object is not there, or an address is none of a file or an object.
        SourceUnavailable: an object store cannot be reached.
    """
    path = local_path(address)
    if path is not None:
        found = {name: _beside(address, name) for name in names_in(path.absolute(), address)}
        if all(local_path(place) is not None for place in found.values()):
            return RulesFiles(str(path.absolute()), found, address)
    with locked(raw / HOME):
        copy = keep(raw / HOME, lambda folder: _fill(folder, address, names_in))
    return _of_copy(copy, address, names_in)


def _fill(folder: Path, address: str, names_in: NamesIn) -> Source:
    members = [_copied(address, folder)] if local_path(address) is None else []
    names = names_in(_file_of(folder, address), address)
    for name, place in _remote_tables(address, names).items():
        members.append(_copied(place, folder, _numbered(name, names)))
    # Names too: the same content under other names is another copy, since it is found by them.
    sha256 = combined(part for member in members for part in (member.name, member.sha256))
    return Source(HOME, address, "own file", sum(member.bytes for member in members), "", sha256, tuple(members))


def _of_copy(copy: Copy, address: str, names_in: NamesIn) -> RulesFiles:
    file = _file_of(copy.folder, address)
    names = names_in(file, address)
    remote = _remote_tables(address, names)
    tables = {name: copy.path(_numbered(name, names)) if name in remote else _beside(address, name) for name in names}
    return RulesFiles(str(file), tables, address)


def _file_of(folder: Path, address: str) -> Path:
    path = local_path(address)
    return folder / Address.parse(address).key.rpartition("/")[2] if path is None else path.absolute()


def _remote_tables(address: str, names: Sequence[str]) -> dict[str, str]:
    """The addresses of those tables that lie in object stores."""
    places = {name: _beside(address, name) for name in names}
    return {name: place for name, place in places.items() if local_path(place) is None}


def _numbered(name: str, names: Sequence[str]) -> str:
    """What a table's copy is called: two of one name may lie in different folders."""
    return f"{list(names).index(name):02d}-{name.rpartition('/')[2]}"


def _beside(address: str, name: str) -> str:
    """Where a table lies; a relative name begins at the folder of the rules file.

    Raises:
        UsageError: it is neither a file nor an object.
    """
    path = local_path(address)
    if "://" in name:
        place = local_path(name)
        return str(place if place is not None else Address.parse(name))
    if path is not None:
        return str(path.absolute().parent / Path(name).expanduser())
    home = Address.parse(address)
    return str(Address.parse(f"{home.scheme}://{home.bucket}/{'/'.join([*home.key.split('/')[:-1], name])}"))


def _copied(address: str, folder: Path, name: str | None = None) -> Member:
    place = Address.parse(address)
    above, _, last = place.key.rpartition("/")
    there = ObjectFolder(Address(place.scheme, place.bucket, above))
    found = there.look(last) if last else None
    if found is None:
        raise UsageError(
            f"There is no object {place}, which is to be the rules file or a table that it names.",
            expected=FORM if name is None else "a Parquet file, or CSV or TSV in UTF-8 with a header",
            found="nothing",
            todo="put it there, or mend the address; until then nothing is trained or published",
        )
    name = name or last
    digests = copy_object(there, found, folder / name)
    return Member(name, digests.bytes, digests.sha256)


def unreadable(file: object, error: Exception) -> UsageError:
    """The message of a file of rules that cannot be read."""
    of_rules = str(file).endswith(".toml")
    return UsageError(
        f"The rules file {file} cannot be read." if of_rules else f"{file} of the rules cannot be read.",
        expected=FORM,
        found=f"{type(error).__name__}: {error}"[:300],
        todo="mend the file, or the path given with --rules; until then nothing is trained or published",
    )
