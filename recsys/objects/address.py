"""Addresses of things in object stores: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recsys.addresses import is_http, local_path, redacted
from recsys.errors import UsageError

SERVICES = {"s3": "Amazon S3 or its like", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
FORM = "s3://bucket/folder, gs://bucket/folder or az://container/folder"
BY_THEIR_OWN_MEANS = (
    "leave them out, and give credentials by the service's own means: AWS_* or ~/.aws, GOOGLE_APPLICATION_CREDENTIALS, "
    "AZURE_*, or the machine's own identity (docs/object-stores.md)"
)
_QUERY = re.compile(r"\?[^?]*=")  # a glob may have a ? too, but hardly one before an equals sign


@dataclass(frozen=True)
class Address:
    """A place in an object store.

    Attributes:
        scheme: one of `SERVICES`.
        bucket: of Azure the container.
        key: without slashes at its ends; empty for the whole bucket. As it is written: no %20 stands for a space.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Address:
        """The address that a URI names.

        >>> Address.parse("s3://bucket/a/b/")
        Address(scheme='s3', bucket='bucket', key='a/b')

        Raises:
            UsageError: another kind of store, credentials or settings in it, or a path that no object can have.
        """
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        key = key.strip("/")
        if scheme.lower() not in SERVICES:
            raise _refused(uri, f"{scheme}://")
        if "@" in bucket or ":" in bucket or _QUERY.search(rest):
            raise _refused(uri, "credentials or settings in the address", BY_THEIR_OWN_MEANS)
        if not bucket:
            raise _refused(uri, "no bucket")
        if not {"", ".", ".."}.isdisjoint(key.split("/")) and key:
            raise _refused(uri, "'.', '..' or nothing between two slashes")
        return cls(scheme.lower(), bucket, key)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def joined(self, path: str) -> Address:
        """The address of a path below this one."""
        return Address(self.scheme, self.bucket, f"{self.key}/{path}".strip("/"))


def is_remote(address: str) -> bool:
    """Whether this is a URI that neither this machine's file system nor HTTP reads.

    >>> is_remote("s3://bucket/a"), is_remote("./store"), is_remote("https://host/a")
    (True, False, False)
    """
    return local_path(address) is None and not is_http(address)


def _refused(uri: str, found: str, todo: str = "check the address") -> UsageError:
    return UsageError(f"{redacted(uri)} is no address of an object store.", expected=FORM, found=found, todo=todo)
