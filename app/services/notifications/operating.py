"""Owns what the platform's staff does about mail: looks, tries again, blocks addresses and opens them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.crypto import SealBroken, encode_base64url
from app.core.database import Unscoped
from app.core.errors import Conflict, NotFound
from app.core.events import emit
from app.core.paging import Keyset, Pager, Rows, Sort
from app.models.notifications import Email, EmailSuppression
from app.repositories.notifications import EmailRepository, SuppressionRepository
from app.schemas.notifications.operator import (
    EmailQuery,
    EmailRead,
    RetryAccepted,
    SuppressionCreate,
    SuppressionQuery,
    SuppressionRead,
)
from app.services.notifications.events import EmailRetryRequested, SuppressionChanged
from app.services.notifications.mailing import address_hash, address_hashes, address_of
from app.services.team.invitations.views import masked

NEWEST_FIRST = "-created_at"
UNREADABLE = "•••"

EMAILS = Pager(
    "emails",
    Keyset(Email.created_at, Email.id),
    {NEWEST_FIRST: Sort(Email.created_at, is_descending=True, has_cursor=True)},
)
SUPPRESSIONS = Pager(
    "email_suppressions",
    Keyset(EmailSuppression.created_at, EmailSuppression.id),
    {NEWEST_FIRST: Sort(EmailSuppression.created_at, is_descending=True, has_cursor=True)},
)


class MailOperationService:
    """Mail of everybody, so the session sees all."""

    def __init__(self, session: Unscoped) -> None:
        self.session = session
        self.emails = EmailRepository(session)
        self.suppressions = SuppressionRepository(session)

    async def list_emails(self, query: EmailQuery) -> Rows[EmailRead]:
        """Mails of the last thirty days, newest first, addresses masked."""
        statement = self.emails.wanted(query.status, query.template_key, query.provider)
        rows = await EMAILS.rows(self.session, statement, query, NEWEST_FIRST)
        return rows.map(_shown)

    async def retry(self, email_id: UUID) -> RetryAccepted:
        """Try a mail again that was given up. 404; 409 `not_retryable`."""
        email = await self.emails.get(email_id)
        if email is None:
            raise NotFound()
        if not await self.emails.is_retryable(email_id, clock.now()):
            raise Conflict(
                "not_retryable",
                "Only a mail that failed within the last hour and has not expired can be tried again.",
            )
        await emit(self.session, EmailRetryRequested(email_id=email_id))
        return RetryAccepted(id=email_id)

    async def list_suppressions(self, query: SuppressionQuery) -> Rows[SuppressionRead]:
        """Blocked addresses, newest first, by their hashes."""
        statement = self.suppressions.wanted(query.reason)
        rows = await SUPPRESSIONS.rows(self.session, statement, query, NEWEST_FIRST)
        return rows.map(_blocked)

    async def suppress(self, body: SuppressionCreate) -> SuppressionRead:
        """Write to an address no more; one that is blocked already gets this reason."""
        known = await self.suppressions.of(address_hashes(body.email))
        if known is None:
            known = await self.suppressions.block(address_hash(body.email), body.reason)
        known.reason = body.reason
        await self.session.flush()
        await emit(self.session, SuppressionChanged(suppression_id=known.id, is_suppressed=True))
        return _blocked(known)

    async def release(self, suppression_id: UUID) -> None:
        """Write to the address again. 404."""
        row = await self.suppressions.get(suppression_id, lock=True)
        if row is None:
            raise NotFound()
        await self.suppressions.remove(row)
        await emit(self.session, SuppressionChanged(suppression_id=suppression_id, is_suppressed=False))


def _shown(email: Email) -> EmailRead:
    return EmailRead.model_validate(
        {
            **{name: getattr(email, name) for name in EmailRead.model_fields if name != "to_masked"},
            "to_masked": _masked_address(email),
        }
    )


def _masked_address(email: Email) -> str:
    try:
        return masked(address_of(email))
    except SealBroken:  # Its key has left the ring; the rest of the list can still be read.
        return UNREADABLE


def _blocked(row: EmailSuppression) -> SuppressionRead:
    return SuppressionRead(
        id=row.id,
        address_hash=encode_base64url(row.address_hash),
        reason=row.reason,  # type: ignore[arg-type]  # the table's CHECK
        provider=row.provider,
        created_at=row.created_at,
    )


MailOperations = Annotated[MailOperationService, Depends()]
