"""Where alerts go: two blocks of the Prefect server, which keeps what is in them encrypted.

Their addresses hold passwords and tokens, so they come from the environment of whoever deploys, never from an option,
a file of the project or a log, and nothing here prints them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from deployments.alerts import Blocks
from recsys.errors import UsageError

WEBHOOK, EMAIL = "RECSYS_ALERT_WEBHOOK", "RECSYS_ALERT_EMAIL"
WEBHOOK_BLOCK, EMAIL_BLOCK = "recsys-alert-webhook", "recsys-alert-email"
MAIL_SCHEMES = ("mailto://", "mailtos://")


@dataclass(frozen=True)
class Channels:
    """Addresses for alerts; None: as the server has it already, or not at all."""

    webhook: SecretStr | None = None
    email: SecretStr | None = None


def channels_from_environment() -> Channels:
    """What whoever deploys has set.

    Raises:
        UsageError: it is no address; what it is is not told.
    """
    webhook, email = os.environ.get(WEBHOOK), os.environ.get(EMAIL)
    if webhook and not webhook.startswith(("http://", "https://")):
        raise _wrong(WEBHOOK, "https://HOST/PATH")
    if email and not _can_be_mailed(email):
        raise _wrong(EMAIL, "mailtos://USER:PASSWORD@HOST:587?from=ADDRESS&to=ADDRESS, parts escaped as in any URL")
    return Channels(SecretStr(webhook) if webhook else None, SecretStr(_as_text(email)) if email else None)


def save_channels(client: SyncPrefectClient, channels: Channels) -> Blocks:
    """Write the addresses to the server's blocks; blocks for which none is given stay as they are."""
    webhook, email = channels.webhook, channels.email
    json = {"Content-Type": "application/json"}
    return Blocks(
        _save(client, WEBHOOK_BLOCK, Webhook, Webhook(url=webhook, headers=json) if webhook else None),  # type: ignore[arg-type]
        # Prefect's only notification that takes an address of any kind that Apprise knows, e-mail among them, and
        # hands it on as it is. A block class of our own would have to be installed where the server runs.
        _save(client, EMAIL_BLOCK, SlackWebhook, SlackWebhook(url=email) if email else None),
    )


def _save(client: SyncPrefectClient, name: str, kind: type[Block], block: Block | None) -> UUID | None:
    if block is not None:
        return block.save(name, overwrite=True)  # type: ignore[return-value]
    try:
        return client.read_block_document_by_name(name, kind.get_block_type_slug(), include_secrets=False).id
    except ObjectNotFound:
        return None


def _can_be_mailed(address: str) -> bool:
    from apprise import Apprise

    return address.startswith(MAIL_SCHEMES) and bool(Apprise.instantiate(address))


def _as_text(address: str) -> str:
    """The text is plain; Apprise would make HTML of it."""
    return address if "format=" in address else f"{address}{'&' if '?' in address else '?'}format=text"


def _wrong(name: str, expected: str) -> UsageError:
    return UsageError(
        f"{name} is no address that alerts can be sent to.",
        expected=expected,
        found="something else; it is not shown, for it may hold a password",
        todo="mend it, or unset it to leave alerts as the server has them",
    )
