"""Mail in the database: the queue, the local outbox, suppressed addresses."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.core.ids import uuid7
from app.core.limits.rules import LimitRule
from app.models.notifications import Email, EmailSuppression, MailOutbox
from app.repositories.base import Repository

if TYPE_CHECKING:
    from app.clients.mailer import OutgoingMail

KEPT_LOCALLY = 1000


UNFINISHED = ("queued", "sending")


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Nobody is at it, and it is time for a try, or too late for any."""
    return and_(
        Email.status.in_(UNFINISHED),
        or_(Email.lease_until.is_(None), Email.lease_until <= now),
        or_(Email.next_attempt_at.is_(None), Email.next_attempt_at <= now, Email.expires_at <= now),
    )


def may_be_retried(now: datetime) -> ColumnElement[bool]:
    """The mail was given up, it is not too late, and what it tells is still there."""
    return and_(
        Email.status.in_(("failed", "suppressed")),
        Email.expires_at > now,
        Email.variables_sealed.is_not(None),
    )


class EmailRepository(Repository[Email]):
    """The queue of mails."""

    model = Email

    async def add_all(self, rows: Sequence[Mapping[str, object]]) -> set[UUID]:
        """Queue mails with one statement; the ids of those whose `dedupe_key` was not known."""
        if not rows:
            return set()
        statement = (
            insert(Email)
            .values([dict(row) for row in rows])
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
            .returning(Email.id)
        )
        return set((await self.session.execute(statement)).scalars())

    async def take_due(self, email_id: UUID, now: datetime) -> Email | None:
        """The mail, locked, if a try of it is due or it is too late for one; None when somebody is at it."""
        statement = (
            select(Email)
            .where(Email.id == email_id, _is_due(now))
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        return (await self.session.scalars(statement)).one_or_none()

    async def lease(self, email: Email, now: datetime, seconds: int, provider: str) -> None:
        """Take a locked mail for one try, which begins with this provider."""
        email.status, email.provider = "sending", provider
        email.attempts += 1
        email.lease_until = now + timedelta(seconds=seconds)
        email.admitted_at = email.admitted_at or now
        await self.session.flush()

    async def turn_to(self, email_id: UUID, now: datetime, seconds: int, provider: str) -> None:
        """Note that a leased mail goes to this provider now, which has as much time as the one before."""
        lease_until = now + timedelta(seconds=seconds)
        await self.session.execute(
            update(Email).where(Email.id == email_id).values(provider=provider, lease_until=lease_until)
        )

    async def wait(self, email: Email, until: datetime) -> None:
        """Let a locked mail wait; that is no try."""
        email.status, email.next_attempt_at, email.lease_until = "queued", until, None
        await self.session.flush()

    async def lock_counts(self, email: Email) -> None:
        """Let no other mail of the same recipient or organisation be counted until the transaction ends."""
        # Always in the same order, so that no two wait for each other.
        whose_limits = [email.to_hash.hex()]
        if email.organization_id is not None:
            whose_limits.append(str(email.organization_id))
        for whose in whose_limits:
            await self.session.execute(
                select(func.pg_advisory_xact_lock(func.hashtextextended(f"mail:{whose}", 0)))
            )

    async def recipient_free_at(
        self, email: Email, rule: LimitRule, now: datetime, *, apart: Collection[str]
    ) -> datetime | None:
        """When the recipient may get one more mail of this kind; None: now."""
        kind = Email.category.in_(apart)
        same = (Email.to_hash == email.to_hash, kind if email.category in apart else ~kind)
        return await self._free_at(rule, now, *same)

    async def organization_free_at(self, email: Email, rule: LimitRule, now: datetime) -> datetime | None:
        """When the organisation may send one more mail; None: now."""
        return await self._free_at(rule, now, Email.organization_id == email.organization_id)

    async def _free_at(
        self, rule: LimitRule, now: datetime, *conditions: ColumnElement[bool]
    ) -> datetime | None:
        window = timedelta(seconds=rule.window_seconds)
        # The newest `count` fill the window; when the oldest of them leaves it, there is room again.
        filling = (
            select(Email.admitted_at)
            .where(*conditions, Email.admitted_at > now - window)
            .order_by(Email.admitted_at.desc())
            .offset(rule.count - 1)
            .limit(1)
        )
        oldest: datetime | None = await self.session.scalar(filling)
        return oldest + window if oldest is not None else None

    async def finish(self, email_id: UUID, **values: object) -> None:
        """Record how a try ended and give the lease back."""
        await self.session.execute(
            update(Email).where(Email.id == email_id).values(lease_until=None, **values)
        )

    async def due(self, now: datetime, limit: int) -> Sequence[UUID]:
        """Mails whose next try is due: what a retry, a lost job or a dead worker left behind."""
        statement = select(Email.id).where(_is_due(now)).order_by(Email.next_attempt_at).limit(limit)
        return (await self.session.scalars(statement)).all()

    async def too_late(self, now: datetime, limit: int) -> Sequence[UUID]:
        """Mails that nobody has sent in time."""
        statement = select(Email.id).where(_is_due(now), Email.expires_at <= now).limit(limit)
        return (await self.session.scalars(statement)).all()

    async def is_retryable(self, email_id: UUID, now: datetime) -> bool:
        """Whether `revive` would take it."""
        found = select(Email.id).where(Email.id == email_id, may_be_retried(now))
        return await self.session.scalar(found) is not None

    def wanted(self, status: str | None, template_key: str | None, provider: str | None) -> Select[Any]:
        """Mails that meet the filters of the staff's list."""
        statement = self.select()
        for column, value in (
            (Email.status, status),
            (Email.template_key, template_key),
            (Email.provider, provider),
        ):
            if value is not None:
                statement = statement.where(column == value)
        return statement

    async def revive(self, email_id: UUID, now: datetime) -> bool:
        """Let a mail that was given up be tried again, by any sender; whether there was such a one."""
        statement = (
            update(Email)
            .where(Email.id == email_id, may_be_retried(now))
            .values(status="queued", provider=None, next_attempt_at=now, last_error_code=None)
            .returning(Email.id)
        )
        return (await self.session.execute(statement)).one_or_none() is not None

    async def wipe(self, before: datetime, limit: int) -> int:
        """Forget what was told in mails that ended before this moment; answers in how many."""
        ended = (
            select(Email.id)
            .where(
                Email.variables_sealed.is_not(None),
                Email.status.not_in(UNFINISHED),
                Email.updated_at < before,
            )
            .limit(limit)
        )
        wiped = await self.session.execute(
            update(Email).where(Email.id.in_(ended)).values(variables_sealed=None).returning(Email.id)
        )
        return len(wiped.all())

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

    async def of(self, hashes: Sequence[bytes]) -> EmailSuppression | None:
        """The row of the address of these hashes, locked."""
        found = select(EmailSuppression).where(EmailSuppression.address_hash.in_(hashes)).limit(1)
        return (await self.session.scalars(found.with_for_update())).one_or_none()

    async def block(self, address_hash: bytes, reason: str) -> EmailSuppression:
        """The row of an address that is blocked from now on, or was by somebody else a moment ago."""
        await self.suppress(address_hash, reason, None)
        row = await self.of([address_hash])
        assert row is not None  # noqa: S101 - the statement before made it, or found it
        return row

    async def lift(self, hashes: Sequence[bytes], reason: str) -> None:
        """Forget that the address was blocked for this reason."""
        await self.session.execute(
            delete(EmailSuppression).where(
                EmailSuppression.address_hash.in_(hashes), EmailSuppression.reason == reason
            )
        )

    def wanted(self, reason: str | None) -> Select[Any]:
        """Blocked addresses, of one reason if asked."""
        statement = self.select()
        return statement if reason is None else statement.where(EmailSuppression.reason == reason)

    async def suppress(self, address_hash: bytes, reason: str, provider: str | None) -> None:
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
