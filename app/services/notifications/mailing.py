"""Mail from request to provider: queued once per event and recipient, leased, rendered, sent, recorded."""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from email.utils import parseaddr
from uuid import UUID

import structlog

from app.clients.mailer import MailOutcomeUnknown, MailRefused, MailSender, OutgoingMail
from app.clients.mailer.local import LocalSender
from app.clients.mailer.smtp import SmtpSender
from app.core import clock
from app.core.config import get_settings
from app.core.crypto import (
    EMAIL_TOKEN_PREFIX,
    derive_code,
    derive_token,
    every_mac,
    key_ring,
    mac,
    seal,
    sign_facts,
    unseal,
)
from app.core.database import Database, SystemSession
from app.core.ids import uuid7
from app.core.mail_addresses import parse_address
from app.core.metrics import MAIL
from app.models.notifications import Email
from app.repositories.notifications import EmailRepository, SuppressionRepository
from app.services.notifications.requests import MailLink, MailRequest, SignedLink
from app.services.notifications.templates import render

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 120
RETRIES = (30, 120, 600, 1800)
"""Seconds until the next try after everybody refused; afterwards hourly."""
UNKNOWN_RETRY = timedelta(minutes=2)
ADDRESS_USE = "mail-address"


def senders_of(database: Database) -> list[MailSender]:
    """The configured senders in their order; without one the local outbox, and in production none."""
    settings = get_settings()
    if settings.smtp_url:
        return [SmtpSender(settings.smtp_url)]
    return [LocalSender(database)] if settings.has_sandbox else []


def address_hash(address: str) -> bytes:
    """How an address is known where it must not stand in clear."""
    return mac(key_ring(), ADDRESS_USE, parse_address(address).canonical.encode())


def address_hashes(address: str) -> list[bytes]:
    """Every hash that the address may have: a key that was rotated out made another one."""
    return every_mac(key_ring(), ADDRESS_USE, parse_address(address).canonical.encode())


async def enqueue(session: SystemSession, event_id: UUID, request: MailRequest) -> UUID | None:
    """Queue a mail in the handler's transaction; None when this event already mailed this recipient."""
    email_id = uuid7()
    to_hash = address_hash(request.to)
    host = parseaddr(get_settings().mail_from)[1].rpartition("@")[2]
    variables = {"variables": dict(request.variables), "link": _link_as_json(request.link)}
    digest = hashlib.sha256(to_hash).hexdigest()[:32]
    return await EmailRepository(session).enqueue(
        {
            "id": email_id,
            "event_id": event_id,
            "user_id": request.user_id,
            "organization_id": request.organization_id,
            "to_address_sealed": _sealed(request.to, "to_address_sealed", email_id),
            "to_hash": to_hash,
            "template_key": request.template,
            "locale": request.locale,
            "category": request.category,
            "variables_sealed": _sealed(json.dumps(variables), "variables_sealed", email_id),
            "message_id": f"{email_id}@{host}",
            "expires_at": request.expires_at,
            "next_attempt_at": clock.now(),
            "dedupe_key": f"{event_id}:{request.template}:{digest}",
        }
    )


async def send(database: Database, senders: Sequence[MailSender], email_id: UUID) -> None:
    """Try to send one mail: leased in one transaction, sent outside of any, recorded in another.

    Without a sender the row waits as `queued` until it expires.
    """
    if not senders:
        return
    async with database.transaction() as session:
        email = await EmailRepository(session).lease(email_id, clock.now(), LEASE_SECONDS)
        if email is None or await _is_over(session, email):
            return
    outgoing = _rendered(email)
    last = MailRefused("refused")
    for sender in senders:
        try:
            provider_id = await sender.send(outgoing)
        except MailOutcomeUnknown:
            MAIL.labels(sender.name, "unknown").inc()
            await _record(database, email, "queued", code="unknown_outcome", provider=sender.name)
            return
        except MailRefused as refusal:
            MAIL.labels(sender.name, refusal.code).inc()
            logger.warning("mail_refused", email_id=str(email.id), provider=sender.name, code=refusal.code)
            last = refusal
            if refusal.is_permanent:
                await _give_up(database, email, sender.name, refusal)
                return
        else:
            MAIL.labels(sender.name, "sent").inc()
            await _record(database, email, "sent", provider=sender.name, provider_message_id=provider_id)
            return
    await _record(database, email, "queued", code=last.code)


async def _is_over(session: SystemSession, email: Email) -> bool:
    """Whether the mail must not be sent any more; says so in the row."""
    if email.expires_at <= clock.now():
        await EmailRepository(session).finish(email.id, status="expired", last_error_code="expired")
        return True
    hashes = address_hashes(_opened(email.to_address_sealed, "to_address_sealed", email.id))
    reason = await SuppressionRepository(session).reason(hashes)
    # A complaint does not stop mails about the account or its safety; a bounce stops everything.
    if reason is None or (reason == "complaint" and email.category in ("account", "security")):
        return False
    await EmailRepository(session).finish(email.id, status="suppressed", last_error_code="suppressed")
    return True


async def _give_up(database: Database, email: Email, provider: str, refusal: MailRefused) -> None:
    async with database.transaction() as session:
        await EmailRepository(session).finish(
            email.id, status="failed", provider=provider, last_error_code=refusal.code
        )
        if refusal.is_dead_address:
            await SuppressionRepository(session).suppress(email.to_hash, "hard_bounce", provider)


async def _record(
    database: Database,
    email: Email,
    status: str,
    *,
    code: str | None = None,
    provider: str | None = None,
    provider_message_id: str | None = None,
) -> None:
    now = clock.now()
    wait = timedelta(seconds=RETRIES[email.attempts - 1] if email.attempts <= len(RETRIES) else 3600)
    async with database.transaction() as session:
        await EmailRepository(session).finish(
            email.id,
            status=status,
            provider=provider,
            provider_message_id=provider_message_id,
            last_error_code=code,
            sent_at=now if status == "sent" else None,
            next_attempt_at=now + (UNKNOWN_RETRY if code == "unknown_outcome" else wait),
        )


def _rendered(email: Email) -> OutgoingMail:
    stored = json.loads(_opened(email.variables_sealed or b"", "variables_sealed", email.id))
    variables = {**_pages(), **stored["variables"]}
    if stored["link"] is not None:
        variables |= _link_variables(stored["link"])
    mail = render(email.template_key, email.locale, variables)
    return OutgoingMail(
        message_id=email.message_id,
        to_address=_opened(email.to_address_sealed, "to_address_sealed", email.id),
        from_address=get_settings().mail_from,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        template=email.template_key,
        locale=email.locale,
    )


def _pages() -> dict[str, str]:
    """Pages of the application that every mail may link to."""
    app_url = get_settings().app_url
    return {
        "app_url": app_url,
        "sign_in_url": f"{app_url}/login",
        "reset_url": f"{app_url}/forgot-password",
        "security_url": f"{app_url}/settings/security",
    }


def _link_variables(link: dict[str, str]) -> dict[str, str]:
    """The token, and the code of one that has a row, made now; the fragment keeps it out of servers' logs."""
    if "facts" in link:
        token = sign_facts(key_ring(), EMAIL_TOKEN_PREFIX, link["use"], bytes.fromhex(link["facts"]))
        return {"action_url": _action_url(link["path"], token)}
    token_id = UUID(link["token_id"])
    token = derive_token(key_ring(), EMAIL_TOKEN_PREFIX, link["purpose"], token_id)
    return {
        "action_url": _action_url(link["path"], token),
        "code": derive_code(key_ring(), link["purpose"], token_id),
    }


def _action_url(path: str, token: str) -> str:
    return f"{get_settings().app_url}{path}#token={token}"


def _link_as_json(link: MailLink | SignedLink | None) -> dict[str, str] | None:
    match link:
        case MailLink():
            return {"purpose": link.purpose, "token_id": str(link.token_id), "path": link.path}
        case SignedLink():
            return {"use": link.use, "facts": link.facts.hex(), "path": link.path}
        case None:
            return None


def _sealed(value: str, column: str, email_id: UUID) -> bytes:
    return seal(key_ring(), value.encode(), context=f"emails.{column}:{email_id}")


def _opened(sealed: bytes, column: str, email_id: UUID) -> str:
    return unseal(key_ring(), sealed, context=f"emails.{column}:{email_id}").decode()
