"""Signatures by Standard Webhooks 1.0, and the secrets that make them."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from uuid import UUID

import structlog

from app.core.crypto import SealBroken, key_ring, seal, unseal
from app.core.errors import Unavailable
from app.core.ids import uuid7
from app.models.integrations import WebhookSecret

logger = structlog.get_logger(__name__)

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret(organization_id: UUID, endpoint_id: UUID) -> tuple[WebhookSecret, str]:
    """A secret's row, and the secret as its owner gets it."""
    shown = PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    row_id = uuid7()
    sealed = seal(key_ring(), shown.encode(), context=_context(row_id))
    row = WebhookSecret(
        organization_id=organization_id, id=row_id, endpoint_id=endpoint_id, secret_sealed=sealed
    )
    return row, shown


def open_secret(row: WebhookSecret) -> str:
    """The secret as its owner got it. SealBroken when its key has left the ring."""
    return unseal(key_ring(), row.secret_sealed, context=_context(row.id)).decode()


def readable(rows: Sequence[WebhookSecret]) -> list[str]:
    """Those of an endpoint's live secrets that open. 503 `key_unavailable` when none does.

    One whose key has left the ring signs no more; the newer one that took its place does.
    """
    opened = []
    for row in rows:
        try:
            opened.append(open_secret(row))
        except SealBroken:
            logger.error(
                "sealed_value_unreadable", column="webhook_secrets.secret_sealed", row_id=str(row.id)
            )
    if not opened:
        raise Unavailable("key_unavailable", "The secret cannot be read any more; rotate it.")
    return opened


def signature(shown: Sequence[str], message_id: UUID, seconds: int, body: bytes) -> str:
    """The header `webhook-signature`: one for each secret, separated by spaces."""
    content = f"{message_id}.{seconds}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode()
        for secret in shown
    )


def _key(shown: str) -> bytes:
    return base64.b64decode(shown.removeprefix(PREFIX))


def _context(row_id: UUID) -> str:
    return f"webhook_secrets.secret_sealed:{row_id}"
