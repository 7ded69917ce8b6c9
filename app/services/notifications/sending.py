"""Owns how a queued mail is sent: leased in one transaction, sent outside of any, recorded in another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from app.clients.mailer import MailOutcomeUnknown, MailRefused, MailSender, OutgoingMail
from app.core import clock
from app.core.config import get_settings
from app.core.crypto import SealBroken
from app.core.database import Database, SystemSession
from app.core.errors import Unavailable
from app.core.events import emit
from app.core.limits.rules import parse_limit
from app.core.metrics import MAIL
from app.models.notifications import Email
from app.repositories.notifications import EmailRepository, SuppressionRepository
from app.services.notifications.composing import compose, wording_of
from app.services.notifications.events import EmailFailed, EmailSent, MailCredentialsRejected
from app.services.notifications.inbox.history import delivery_finished
from app.services.notifications.mailing import address_hashes, address_of, is_still_wanted
from app.services.notifications.senders import BOARD, SenderBoard
from app.services.notifications.templates import TemplateError

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 120
RETRIES = (30, 120, 600, 1800)
"""Seconds until the next try after everybody refused; afterwards hourly."""

HOURLY = 3600
UNKNOWN_RETRY = timedelta(minutes=2)

APART = ("account", "security")
"""Categories that a complaint does not stop, and that count apart in the limit by recipient."""


async def send(
    database: Database, senders: Sequence[MailSender], email_id: UUID, *, board: SenderBoard = BOARD
) -> None:
    """Try to send one mail. Without a sender the row waits as `queued` until it expires."""
    async with database.transaction() as session:
        emails = EmailRepository(session)
        email = await emails.take_due(email_id, clock.now())
        if email is None or await _is_over(session, email) or not senders:
            return
        candidates = _candidates(email, senders, board)
        if not candidates:
            logger.error("mail_sender_gone", email_id=str(email.id), provider=email.provider)
            await emails.wait(email, clock.now() + timedelta(seconds=HOURLY))
            return
        if await _must_wait(session, email):
            return
        only = email.provider
        # Whose turn it is stands in the row before the mail is handed over: should this process die, nobody
        # else may try.
        await emails.lease(email, clock.now(), LEASE_SECONDS, candidates[0].name)
        wording = await wording_of(session, email)
    try:
        version, mail = await compose(email, wording)
    except TemplateError as error:
        logger.error("mail_not_rendered", email_id=str(email.id), template=email.template_key, why=str(error))
        await _give_up(database, email, None, "refused")
        return
    except Unavailable:
        # Too many texts are being rendered at the moment; nobody has been given the mail.
        await _wait_for(database, email, only, "timeout", timedelta(seconds=RETRIES[0]))
        return
    await _Try(database, board, email, version, mail, only).over(candidates)


def _candidates(email: Email, senders: Sequence[MailSender], board: SenderBoard) -> list[MailSender]:
    """Who may try, in turn; the one alone that has perhaps taken the mail already."""
    if email.provider is None:
        return board.in_turn(senders)
    return [sender for sender in senders if sender.name == email.provider]


async def _is_over(session: SystemSession, email: Email) -> bool:
    """Whether the mail must not be sent, any more or until its key is in the ring again; the row says so."""
    if email.expires_at <= clock.now():
        await _finish(session, email, "expired", "expired", email.provider)
        return True
    if not await is_still_wanted(session, email.user_id, email.category):
        await _finish(
            session,
            email,
            "suppressed",
            "suppressed",
            email.provider,
            state="skipped",
            told="preference_off",
        )
        return True
    try:
        address = address_of(email)
    except SealBroken:
        logger.error("sealed_value_unreadable", column="emails.to_address_sealed", row_id=str(email.id))
        await EmailRepository(session).wait(email, clock.now() + timedelta(seconds=HOURLY))
        return True
    reason = await SuppressionRepository(session).reason(address_hashes(address))
    # A complaint does not stop mails about the account or its safety; a bounce stops everything.
    if reason is None or (reason == "complaint" and email.category in APART):
        return False
    await _finish(session, email, "suppressed", "suppressed", email.provider, state="suppressed")
    return True


async def _must_wait(session: SystemSession, email: Email) -> bool:
    """Whether the recipient or the organisation has had enough for now; the row waits until it has not.

    A mail counts once, however often it is tried.
    """
    if email.admitted_at is not None:
        return False
    settings = get_settings()
    emails = EmailRepository(session)
    await emails.lock_counts(email)
    free_at = await emails.recipient_free_at(
        email, parse_limit(settings.limit_mail_recipient), clock.now(), apart=APART
    )
    if email.organization_id is not None and free_at is None:
        free_at = await emails.organization_free_at(email, parse_limit(settings.limit_mail_org), clock.now())
    if free_at is None:
        return False
    await emails.wait(email, free_at)
    return True


async def _finish(
    session: SystemSession,
    email: Email,
    status: str,
    reason: str,
    provider: str | None = None,
    *,
    state: str = "failed",
    told: str | None = None,
) -> None:
    """Record that the mail is not sent any more; `state` and `told` are what the history says of it."""
    await EmailRepository(session).finish(
        email.id, status=status, provider=provider, last_error_code=reason, next_attempt_at=None
    )
    await delivery_finished(session, email.id, state, told or reason, provider=provider)
    await emit(
        session,
        EmailFailed(email_id=email.id, template=email.template_key, reason=reason, provider=provider),
    )


async def _give_up(
    database: Database, email: Email, provider: str | None, reason: str, *, is_dead_address: bool = False
) -> None:
    async with database.transaction() as session:
        await _finish(session, email, "failed", reason, provider)
        if is_dead_address:
            await SuppressionRepository(session).suppress(email.to_hash, "hard_bounce", provider)


async def _wait_for(database: Database, email: Email, only: str | None, code: str, pause: timedelta) -> None:
    """Let the mail wait for its next try, by `only` this sender or by any."""
    async with database.transaction() as session:
        await EmailRepository(session).finish(
            email.id,
            status="queued",
            provider=only,
            last_error_code=code,
            next_attempt_at=clock.now() + pause,
        )
        await delivery_finished(session, email.id, "queued", code, provider=only)


@dataclass(slots=True)
class _Try:
    """One try of one mail over the senders that may have it."""

    database: Database
    board: SenderBoard
    email: Email
    version: int
    mail: OutgoingMail
    only: str | None
    """The sender that has perhaps taken the mail at an earlier try: nobody else may have it."""

    async def over(self, senders: Sequence[MailSender]) -> None:
        """Ask each sender in turn until one takes the mail, or has perhaps taken it."""
        refusals: list[MailRefused] = []
        for number, sender in enumerate(senders):
            if number > 0:
                await self._turn_to(sender.name)
            try:
                provider_id = await sender.send(self.mail)
            except MailOutcomeUnknown:
                MAIL.labels(sender.name, "unknown").inc()
                await _wait_for(self.database, self.email, sender.name, "unknown_outcome", UNKNOWN_RETRY)
                return
            except MailRefused as refusal:
                if await self._is_refused_for_good(sender.name, refusal):
                    return
                refusals.append(refusal)
            except ValueError:
                # A value with a line break would begin a header of its own.
                logger.exception("mail_not_sent", email_id=str(self.email.id))
                await _give_up(self.database, self.email, sender.name, "refused")
                return
            else:
                await self._record_sent(sender.name, provider_id)
                return
        await _wait_for(self.database, self.email, self.only, refusals[-1].code, self._pause(refusals))

    async def _turn_to(self, name: str) -> None:
        """Say whose turn it is, as the lease did of the first."""
        async with self.database.transaction() as session:
            await EmailRepository(session).turn_to(self.email.id, clock.now(), LEASE_SECONDS, name)

    async def _is_refused_for_good(self, name: str, refusal: MailRefused) -> bool:
        MAIL.labels(name, refusal.code).inc()
        logger.warning("mail_refused", email_id=str(self.email.id), provider=name, code=refusal.code)
        if refusal.is_permanent:
            self.board.took(name)
            await _give_up(
                self.database, self.email, name, refusal.code, is_dead_address=refusal.is_dead_address
            )
            return True
        if self.board.refused(name, refusal):
            async with self.database.transaction() as session:
                await emit(session, MailCredentialsRejected(provider=name))
        return False

    async def _record_sent(self, name: str, provider_id: str | None) -> None:
        MAIL.labels(name, "sent").inc()
        self.board.took(name)
        async with self.database.transaction() as session:
            await EmailRepository(session).finish(
                self.email.id,
                status="sent",
                provider=name,
                provider_message_id=provider_id,
                template_version=self.version,
                last_error_code=None,
                next_attempt_at=None,
                sent_at=clock.now(),
            )
            await delivery_finished(session, self.email.id, "sent", provider=name)
            await emit(
                session, EmailSent(email_id=self.email.id, template=self.email.template_key, provider=name)
            )

    def _pause(self, refusals: Sequence[MailRefused]) -> timedelta:
        """Until the next try: as the table says, or later where every sender asks for it."""
        tries = self.email.attempts
        planned = RETRIES[tries - 1] if tries <= len(RETRIES) else HOURLY
        asked = min(refusal.retry_after or 0 for refusal in refusals)
        return timedelta(seconds=max(planned, asked))
