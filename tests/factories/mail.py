"""Queued mails, written texts and blocked addresses for tests."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.ids import uuid7
from app.models.notifications import Email, EmailSuppression
from app.repositories.notifications import SuppressionRepository
from app.services.notifications.mailing import address_hash, enqueue
from app.services.notifications.requests import MailRequest


def request(**values: Any) -> MailRequest:
    """A mail to somebody without an account."""
    fields: dict[str, Any] = {
        "template": "welcome",
        "to": "zoe@luneo.test",
        "locale": "en",
        "category": "account",
        "expires_at": clock.now() + timedelta(hours=1),
        "variables": {"name": "Zoé"},
    }
    return MailRequest(**{**fields, **values})


async def make_email(db: SystemSession, **values: Any) -> UUID:
    """A queued mail; answers its id."""
    email_id = await enqueue(db, uuid7(), request(**values))
    assert email_id is not None
    await db.commit()
    return email_id


async def email_of(db: SystemSession, email_id: UUID) -> Email:
    """The row as it stands now."""
    return await db.get_one(Email, email_id, populate_existing=True)


async def make_failed_email(db: SystemSession, **values: Any) -> UUID:
    """A mail that was given up a moment ago."""
    email = await email_of(db, await make_email(db, **values))
    email.status, email.last_error_code, email.provider = "failed", "refused", "smtp"
    await db.commit()
    return email.id


async def make_suppression(
    db: SystemSession, email: str | None = None, reason: str = "manual"
) -> EmailSuppression:
    """A blocked address."""
    row = await SuppressionRepository(db).block(address_hash(email or f"{uuid7()}@luneo.test"), reason)
    await db.commit()
    return row
