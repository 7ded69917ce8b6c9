"""Identities for tests; each function commits what it made."""

import secrets
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.auth import Identity


async def make_identity(
    db: SystemSession,
    user_id: UUID,
    *,
    provider: str = "google",
    subject: str | None = None,
    email: str | None = None,
) -> Identity:
    """An account at a provider that opens this person's account."""
    identity = Identity(
        id=uuid7(),
        user_id=user_id,
        provider=provider,
        provider_subject=subject or str(secrets.randbelow(10**12)),
        email=email,
        is_email_verified=email is not None,
        created_at=clock.now(),
    )
    db.add(identity)
    await db.commit()
    return identity
