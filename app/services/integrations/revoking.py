"""Ends API keys: of a person who leaves an organisation, and those whose grace is over."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from app.core.database import ScopedSession
from app.core.events import emit_all
from app.models.integrations import ApiKey
from app.repositories.integrations import ApiKeyRepository
from app.services.integrations.events import ApiKeyRevoked


def facts_of(key: ApiKey) -> dict[str, Any]:
    """What every event of a key says about it."""
    return {
        "api_key_id": key.id,
        "name": key.name,
        "key_prefix": key.key_prefix,
        "last4": key.last4,
        "expires_at": key.expires_at,
    }


async def revoke_keys_of(
    session: ScopedSession, organization_id: UUID, user_id: UUID, reason: str = "member_removed"
) -> int:
    """Revoke the keys that a person made in an organisation, in the caller's transaction; how many those are.

    `reason` is one of `manual`, `rotated`, `member_removed`, `leaked`.
    """
    principal = session.principal
    revoked = await ApiKeyRepository(session).revoke_of(
        organization_id,
        user_id,
        reason,
        await session.now(),
        by=principal.user_id if principal is not None else None,
    )
    await _tell(session, revoked)
    return len(revoked)


async def end_graces(session: ScopedSession, *, limit: int) -> int:
    """Revoke up to `limit` keys that were replaced and whose overlap is over; how many those were."""
    ended = await ApiKeyRepository(session).end_graces(await session.now(), limit=limit)
    await _tell(session, ended)
    return len(ended)


async def _tell(session: ScopedSession, revoked: Sequence[ApiKey]) -> None:
    """Emit the revocation of keys, of whichever organisations."""
    in_order = sorted(revoked, key=lambda key: (key.organization_id, key.id))
    for organization_id, keys in groupby(in_order, key=lambda key: key.organization_id):
        events = [ApiKeyRevoked(**facts_of(key), reason=str(key.revoke_reason)) for key in keys]
        await emit_all(session, events, organization_id=organization_id)
