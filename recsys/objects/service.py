"""The connection to a bucket: credentials by the service's own means, patience with its failures."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from recsys.errors import SourceUnavailable, UsageError
from recsys.objects.address import Address
from recsys.objects.failures import CHECK_ACCESS, told

CONNECT_S, REQUEST_S = 10, 60  # a request carries 8 MiB at most: 60 s is a line of 1 Mbit/s
# A pause is drawn between the first and four times the last one, so that they double on the average: a service that is
# gone is told after half a minute, a short restart of it is outlasted.
RETRIES, FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_S = 8, 0.2, 10, 120
ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
WHOSE = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "gs": (),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT"),
}  # fmt: skip
ASKED_AGAIN = timedelta(minutes=10)  # for credentials; botocore renews those that run out


@cache
def connect(scheme: str, bucket: str) -> Any:
    """A bucket as obstore has it; one connection a process.

    Raises:
        UsageError: no credentials can be found, or the settings in the environment do not go together.
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    settings = _aws(bucket) if scheme == "s3" else {}
    address = Address(scheme, bucket, "")
    try:
        with told(address, "used"):
            return kind(bucket, client_options=_client(scheme), retry_config=_patience(), **settings)
    except SourceUnavailable as error:  # nothing was asked for yet: it is the settings
        raise UsageError(f"{address} cannot be used.", found=error.found, todo=CHECK_ACCESS) from None


def told_apart(address: Address) -> str:
    """The address, with what in the environment decides whose bucket of that name it is."""
    return " ".join([str(address), *(os.environ.get(name, "") for name in WHOSE[address.scheme])])


def aws_client() -> Any:
    """S3 as botocore has it, for what obstore does not know, with the same settings."""
    from botocore.config import Config

    style = "virtual" if _is_on("AWS_VIRTUAL_HOSTED_STYLE_REQUEST") else "path"
    retries = {"mode": "standard", "total_max_attempts": RETRIES}
    config = Config(connect_timeout=CONNECT_S, read_timeout=REQUEST_S, retries=retries, s3={"addressing_style": style})
    return _aws_session().create_client("s3", region_name=os.environ.get("AWS_REGION"), config=config)


def _client(scheme: str) -> dict[str, Any]:
    return {
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "timeout": timedelta(seconds=REQUEST_S),
        "allow_http": _is_on(ALLOW_HTTP[scheme]),  # obstore asks the environment only where it is given no options
    }


def _patience() -> dict[str, Any]:
    pauses = {"init_backoff": timedelta(seconds=FIRST_PAUSE_S), "max_backoff": timedelta(seconds=LONGEST_PAUSE_S)}
    return {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=LONGEST_S), "backoff": {**pauses, "base": 4}}


def _aws_session() -> Any:
    """Botocore's session: AWS_*, AWS_PROFILE and ~/.aws, web identity, single sign-on, container and instance roles."""
    import botocore.session

    return botocore.session.get_session()


def _aws(bucket: str) -> dict[str, Any]:
    """Credentials and region; an endpoint and the like obstore takes from AWS_* itself.

    Raises:
        UsageError: there are no credentials.
    """
    session = _aws_session()
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region") or _region_of(bucket)
    settings = {"region": region} if region else {}
    if _is_on("AWS_SKIP_SIGNATURE"):
        return settings
    credentials = session.get_credentials()
    if credentials is None:
        raise UsageError(
            f"There are no credentials for s3://{bucket}.",
            expected="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or a role of this machine",
            found="none of them",
            todo="set them; for a bucket that is open to all set AWS_SKIP_SIGNATURE=true",
        )
    return settings | {"credential_provider": lambda: _as_they_are(credentials)}


def _as_they_are(credentials: Any) -> dict[str, Any]:
    now = credentials.get_frozen_credentials()
    return {
        "access_key_id": now.access_key,
        "secret_access_key": now.secret_key,
        "token": now.token,
        "expires_at": datetime.now(UTC) + ASKED_AGAIN,
    }


def _region_of(bucket: str) -> str | None:
    """Amazon's own word, where nothing names a region or another service."""
    if any(name.startswith("AWS_ENDPOINT") for name in os.environ):
        return None
    from pyarrow.fs import resolve_s3_region

    try:
        return str(resolve_s3_region(bucket))
    except OSError:  # offline, say: what is asked for next tells what is wrong
        return None


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")
