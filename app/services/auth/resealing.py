"""Owns moving what accounts keep sealed to the newest key, so that an old one can leave the ring."""

from typing import Any
from uuid import UUID

import structlog

from app.core.crypto import SealBroken, key_ring, seal, sealed_by, unseal
from app.core.database import Database
from app.models.auth import MfaFactor, UserSession
from app.models.integrations import Integration, IntegrationRevocation, WebhookSecret
from app.models.notifications import PushSubscription
from app.repositories.auth import SealedColumn

logger = structlog.get_logger(__name__)

SEALED: tuple[tuple[Any, str], ...] = (
    (MfaFactor, "secret_sealed"),
    (UserSession, "refresh_key_sealed"),
    (WebhookSecret, "secret_sealed"),
    (Integration, "access_token_sealed"),
    (Integration, "refresh_token_sealed"),
    (IntegrationRevocation, "token_sealed"),
    (PushSubscription, "endpoint_sealed"),
    (PushSubscription, "auth_sealed"),
)
"""Tables and columns that outlive a key of the ring."""

BATCH = 500
"""Rows that one transaction seals anew."""


async def reseal_accounts(database: Database) -> int:
    """Seal with the newest key what an older one sealed; how many values were moved.

    A value that does not open stays as it is and is logged: its key left the ring too early.
    """
    return sum([await _reseal(database, model, name) for model, name in SEALED])


async def _reseal(database: Database, model: Any, name: str) -> int:
    ring, after, moved = key_ring(), UUID(int=0), 0
    while True:
        async with database.transaction() as session:
            column = SealedColumn(session, model, name)
            rows = await column.without(sealed_by(ring), after=after, limit=BATCH)
            for row_id, sealed in rows:
                context = f"{column.context}:{row_id}"
                try:
                    plain = unseal(ring, sealed, context=context)
                except SealBroken:
                    logger.error("sealed_value_unreadable", column=column.context, row_id=str(row_id))
                    continue
                await column.replace(row_id, sealed, seal(ring, plain, context=context))
                moved += 1
        if len(rows) < BATCH:
            return moved
        after = rows[-1][0]
