"""What goes wrong with an object store, told so that an operator can act on it, and without anything secret.

A library's message may quote the request: an address with its signature, the id of a key, headers. So only the status,
the service's code and sentence, and the transport's words are passed on, and errors are not chained to their causes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from recsys.errors import RecsysError, SourceUnavailable, UsageError
from recsys.objects.address import SERVICES, Address

CHECK_NETWORK = "check the address, the network and whether the service is up, then give the same command again"
CHECK_ACCESS = (
    "check which credentials this process has and what they may do; docs/object-stores.md says where they come from"
)
ALLOW_HTTP = "use an https endpoint, or set AWS_ALLOW_HTTP=true where the network is trusted"
CLIENT_LIBRARIES = {"obstore", "botocore"}
SECRET_NAME = re.compile(r"^(AWS|AZURE|GOOGLE)_.*(SECRET|TOKEN|KEY|SAS|PASSWORD)", re.IGNORECASE)
SHORTEST_SECRET = 6  # characters; what is shorter is a switch
MOST_WORDS = 300  # characters of a library's or a service's message
DENIED = {"PermissionDeniedError", "UnauthenticatedError", "NoCredentialsError"}
_DENIED, _NOT_KNOWN = re.compile(r" 40[13]\b"), re.compile(r" 501\b")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
_CODE, _SENTENCE = re.compile(r"<Code>([^<]{1,80})</Code>"), re.compile(r"<Message>([^<]{1,300})</Message>")
_BODY = re.compile(r"[<{].*", re.DOTALL)
_URL = re.compile(r"\bhttps?://[^\s\"')]+")


class AccessDenied(SourceUnavailable):
    """The service answers, and does not let this process do it."""


class NotSupported(SourceUnavailable):
    """The service answers, and knows no such request."""


class BrokenAnswer(SourceUnavailable):
    """An answer that began and broke off; the libraries ask again where none began."""


class DamagedObject(RecsysError):
    """An object is not what a manifest says of it."""


@contextmanager
def told(address: Address, doing: str = "read") -> Iterator[None]:
    """Within, what the libraries raise becomes one of ours; failures of this machine's own disk stay what they are.

    Args:
        address: what it is done to.
        doing: read, listed, written, removed.

    Raises:
        FileNotFoundError: there is no such object.
        FileExistsError: there is one, or another than the one that was named.
        AccessDenied: the credentials are missing, wrong or not enough.
        SourceUnavailable: it cannot be reached, or fails for longer than it is tried again.
        UsageError: no object can have such a name, or the settings in the environment do not go together.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        if not _of_a_client(error):
            raise
        raise _explained(error, address, doing) from None


def words_of(error: BaseException) -> str:
    """A library's message without the request's address, the answer's body and what the environment keeps secret."""
    text = str(error).partition("\n\nDebug source")[0]
    code, sentence = _CODE.search(text), _SENTENCE.search(text)
    said = ": ".join(found[1] for found in (code, sentence) if found)
    plain = _BODY.sub("", _URL.sub("the service", text)).rstrip(": \n")
    return hidden(f"{plain}: {said}" if said else plain)[:MOST_WORDS]


def hidden(text: str) -> str:
    """The text without the values of the environment's secret variables."""
    for name, value in os.environ.items():
        if SECRET_NAME.match(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"<{name}>")
    return text


def _of_a_client(error: Exception) -> bool:
    """Errors of the libraries, and those of Python's own kinds that obstore raises, which have no number."""
    of_python = (
        isinstance(error, FileNotFoundError | ValueError | TimeoutError) and getattr(error, "errno", None) is None
    )
    return of_python or type(error).__module__.partition(".")[0] in CLIENT_LIBRARIES


def _explained(error: Exception, address: Address, doing: str) -> Exception:
    found, kind = words_of(error), type(error).__name__
    if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(found):
        return FileNotFoundError(str(address))
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return FileExistsError(str(address))
    if isinstance(error, ValueError):
        return UsageError(f"{address} cannot be {doing}.", found=found, todo="check the address")
    return _failure(kind, found, address, doing)


def _failure(kind: str, found: str, address: Address, doing: str) -> SourceUnavailable:
    if _NO_BUCKET.search(found):
        bucket = f"{address.scheme}://{address.bucket}"
        return SourceUnavailable(f"There is no bucket {bucket}.", found=found, todo="check the address, or make it")
    if kind in DENIED or _DENIED.search(found):
        expected = f"credentials for {SERVICES[address.scheme]} with which it may"
        return AccessDenied(f"{address} may not be {doing}.", expected=expected, found=found, todo=CHECK_ACCESS)
    if kind == "NotSupportedError" or _NOT_KNOWN.search(found):
        return NotSupported(f"{SERVICES[address.scheme]} does not know how {address} is to be {doing}.", found=found)
    if "body error" in found:
        return BrokenAnswer(f"{address} could not be {doing} to the end.", found=found, todo=CHECK_NETWORK)
    todo = ALLOW_HTTP if found.endswith("builder error") else CHECK_NETWORK
    return SourceUnavailable(f"{address} could not be {doing}.", found=found, todo=todo)
