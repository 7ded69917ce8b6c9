"""Owns the end of a bounce: an address that somebody has just proved takes mail again."""

from uuid import UUID

from app.core.database import SystemSession
from app.repositories.notifications import SuppressionRepository
from app.services.auth.recipients import recipient_of
from app.services.notifications.mailing import address_hashes


async def forgive_bounces(session: SystemSession, user_id: UUID) -> None:
    """Write to the person's address again where mail had bounced; a complaint and the staff's word stay."""
    recipient = await recipient_of(session, user_id)
    if recipient is not None:
        await SuppressionRepository(session).lift(address_hashes(recipient.user.email), "hard_bounce")
