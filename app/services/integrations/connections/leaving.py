"""Notes on connections that the person who made them has left; they go on working."""

from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.integrations.connections import IntegrationRepository
from app.services.integrations.connections.wording import MESSAGES, OWNER_LEFT


async def mark_owner_left(session: ScopedSession, organization_id: UUID, user_id: UUID) -> int:
    """Mark what a person connected for an organisation, in the caller's transaction; how many those are."""
    marked = await IntegrationRepository(session).mark_left(
        organization_id, user_id, code=OWNER_LEFT, message=MESSAGES[OWNER_LEFT]
    )
    return len(marked)
