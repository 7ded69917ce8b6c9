"""How much of the plan's room for API keys is taken."""

from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.integrations import ApiKeyRepository


async def count_live_keys(session: ScopedSession, organization_id: UUID) -> int:
    """The keys that count for the plan: neither revoked nor expired, nor replaced by a newer one."""
    return await ApiKeyRepository(session).count_live(organization_id, await session.now())
