"""Mail in the database: the queue, the local outbox, suppressed addresses."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import uuid7
from app.models.notifications import Email, EmailSuppression, MailOutbox
from app.repositories.base import Repository

if TYPE_CHECKING:
    from app.clients.mailer import OutgoingMail

KEPT_LOCALLY = 1000


class EmailRepository(Repository[Email]):
    """The queue of mails."""

    model = Email

    async def enqueue(self, email: dict[str, object]) -> UUID | None:
        """Add a mail unless its `dedupe_key` is known; answers the id of a new one."""
        statement = (
            insert(Email)
            .values(**email)
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
            .returning(Email.id)
        )
        found: UUID | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def lease(self, email_id: UUID, now: datetime, seconds: int) -> Email | None:
        """Take the mail for one try; None when it is done, not due, or somebody else is at it."""
        statement = (
            update(Email)
            .where(
                Email.id == email_id,
                Email.status.in_(("queued", "sending")),
                (Email.lease_until.is_(None)) | (Email.lease_until <= now),
                (Email.next_attempt_at.is_(None)) | (Email.next_attempt_at <= now),
            )
            .values(
                status="sending", attempts=Email.attempts + 1, lease_until=now + timedelta(seconds=seconds)
            )
            .returning(Email)
        )
        found: Email | None = (await self.session.execute(statement)).scalar_one_or_none()
        return found

    async def finish(self, email_id: UUID, **values: object) -> None:
        """Record how a try ended and give the lease back."""
        await self.session.execute(
            update(Email).where(Email.id == email_id).values(lease_until=None, **values)
        )

    async def due(self, now: datetime, limit: int) -> Sequence[UUID]:
        """Mails whose next try is due: what a retry, a lost job or a dead worker left behind."""
        statement = (
            select(Email.id)
            .where(
                Email.status.in_(("queued", "sending")),
                (Email.lease_until.is_(None)) | (Email.lease_until <= now),
                (Email.next_attempt_at <= now),
            )
            .order_by(Email.next_attempt_at)
            .limit(limit)
        )
        return (await self.session.scalars(statement)).all()

    async def forget(self, before: datetime, limit: int) -> int:
        """Remove old mails in small steps; answers how many went."""
        old = select(Email.id).where(Email.created_at < before).limit(limit)
        gone = await self.session.execute(delete(Email).where(Email.id.in_(old)).returning(Email.id))
        return len(gone.all())


class SuppressionRepository(Repository[EmailSuppression]):
    """Addresses that must not be written to."""

    model = EmailSuppression

    async def reason(self, hashes: Sequence[bytes]) -> str | None:
        """Why the address of these hashes is suppressed, or None."""
        found = select(EmailSuppression.reason).where(EmailSuppression.address_hash.in_(hashes)).limit(1)
        return (await self.session.scalars(found)).one_or_none()

    async def suppress(self, address_hash: bytes, reason: str, provider: str) -> None:
        """Stop writing to the address; known already: nothing happens."""
        await self.session.execute(
            insert(EmailSuppression)
            .values(id=uuid7(), address_hash=address_hash, reason=reason, provider=provider)
            .on_conflict_do_nothing(index_elements=["address_hash"])
        )


class MailOutboxRepository(Repository[MailOutbox]):
    """The mails that the local sender kept."""

    model = MailOutbox

    async def keep(self, mail: "OutgoingMail") -> None:
        """Add a mail and let the oldest go. A mail of a repeated try is not kept twice."""
        known = select(MailOutbox.id).where(MailOutbox.headers["Message-ID"].astext == mail.message_id)
        if await self.session.scalar(known.limit(1)):
            return
        self.session.add(
            MailOutbox(
                to_address=mail.to_address,
                from_address=mail.from_address,
                subject=mail.subject,
                html=mail.html,
                text=mail.text,
                headers={
                    **mail.headers,
                    "Message-ID": mail.message_id,
                    "X-Template": mail.template,
                    "X-Locale": mail.locale,
                },
            )
        )
        await self.session.flush()
        newest = select(MailOutbox.id).order_by(MailOutbox.created_at.desc(), MailOutbox.id.desc())
        await self.session.execute(delete(MailOutbox).where(MailOutbox.id.in_(newest.offset(KEPT_LOCALLY))))

    async def newest(self, to: str | None, limit: int) -> Sequence[MailOutbox]:
        """The newest mails first, of one recipient if asked."""
        statement = (
            select(MailOutbox).order_by(MailOutbox.created_at.desc(), MailOutbox.id.desc()).limit(limit)
        )
        if to is not None:
            statement = statement.where(MailOutbox.to_address == to)
        return (await self.session.scalars(statement)).all()
