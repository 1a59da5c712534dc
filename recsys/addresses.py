"""Where things are: paths, HTTP addresses and object-store URIs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit


def is_http(address: str) -> bool:
    """Whether `address` is fetched by HTTP."""
    return address.lower().startswith(("http://", "https://"))


def local_path(address: str) -> Path | None:
    """The path of a local address (a plain path or file://); None for all others.

    >>> local_path("file:///data/r.csv"), local_path("s3://bucket/r.csv")
    (PosixPath('/data/r.csv'), None)
    """
    if address.lower().startswith("file://"):
        return Path(unquote(urlsplit(address).path))
    return None if "://" in address else Path(address).expanduser()


def joined(base: str, name: str) -> str:
    """The address of `name` in the folder or under the base URL `base`."""
    return f"{base.rstrip('/')}/{name}"


def redacted(address: str) -> str:
    """The address without user name, password and query, which may hold keys: fit for logs and manifests.

    >>> redacted("https://me:secret@host/r.csv?X-Amz-Signature=1")
    'https://host/r.csv'
    """
    if "://" not in address:
        return address
    scheme, _, rest = address.partition("://")
    name, colon, after = rest.partition(":")
    if colon and "/" not in name and "@" in after and not after.partition("/")[0].isdecimal():
        rest = after.rpartition("@")[2]  # a user name and a password, which may hold a slash: no host and its port
    parts = urlsplit(f"{scheme}://{rest}")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def file_name(address: str) -> str:
    """The last part of the address's path, or `file` where it has none.

    >>> file_name("https://host/a/r.csv.gz?x=1")
    'r.csv.gz'
    """
    path = urlsplit(address).path if "://" in address else address
    name = unquote(path).rstrip("/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else "file"
