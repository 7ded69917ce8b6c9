"""Owns which mails follow from the events of authentication."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.repositories.auth import OneTimeTokenRepository
from app.services.auth.events import (
    ConfirmationRequested,
    EmailConfirmed,
    Locked,
    MagicLinkRequested,
    PasswordReset,
    PasswordResetRequested,
    RefreshReused,
    SignedIn,
    SignupRepeated,
)
from app.services.auth.one_time_tokens import EMAIL_CONFIRM, MAGIC_LINK, PASSWORD_RESET, is_live
from app.services.auth.recipients import (
    WORDS,
    Recipient,
    device_facts,
    facts_in,
    mail_to,
    moment,
    recipient_of,
)
from app.services.notifications.requests import MailLink, MailRequest, mails_for

NEWCOMERS_LOCALE = "fr"
"""The language of mails to an address without an account: that which a new profile has."""


@mails_for(SignupRepeated, ConfirmationRequested, EmailConfirmed, SignedIn, Locked, RefreshReused)
async def account_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """The mails that follow from an event of this area; none when nobody is to be told (any more)."""
    if data.get("user_id") is None:
        return []
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    if event_type == ConfirmationRequested.type:
        return await _confirmation(session, recipient, UUID(private["token_id"]))
    notice = _notice(recipient, event_type, data, private)
    return [notice] if notice is not None else []


def _notice(
    recipient: Recipient, event_type: str, data: Mapping[str, Any], private: Mapping[str, Any]
) -> MailRequest | None:
    """The mail that only tells what happened."""
    match event_type:
        case SignupRepeated.type if private["is_mailed"]:
            return mail_to(recipient, "account_exists", "account")
        case EmailConfirmed.type:
            return mail_to(recipient, "welcome", "account")
        case SignedIn.type if data["is_new_device"] and not private["is_first"]:
            return mail_to(recipient, "new_device", "security", device_facts(recipient, private))
        case Locked.type:
            until = datetime.fromisoformat(data["until"]) if data["until"] else None
            facts = device_facts(recipient, private)
            facts["until"] = moment(until) if until else WORDS[recipient.locale]["for_good"]
            return mail_to(recipient, "account_locked", "security", facts)
        case RefreshReused.type:
            return mail_to(recipient, "session_stopped", "security", device_facts(recipient, private))
        case _:
            return None


async def _confirmation(session: SystemSession, recipient: Recipient, token_id: UUID) -> list[MailRequest]:
    token = await OneTimeTokenRepository(session).of_purpose(token_id, EMAIL_CONFIRM)
    if token is None or not is_live(token, clock.now()):
        return []
    link = MailLink(purpose=EMAIL_CONFIRM, token_id=token_id, path="/confirm")
    return [mail_to(recipient, "email_confirmation", "account", link=link, expires_at=token.expires_at)]


@mails_for(PasswordResetRequested, MagicLinkRequested)
async def link_mails(
    session: SystemSession,
    event_type: str,
    data: dict[str, Any],  # noqa: ARG001 - the token says whose it is
    private: dict[str, Any],
) -> list[MailRequest]:
    """The mails with a link that lets somebody in; none for a link that was used or replaced meanwhile."""
    is_reset = event_type == PasswordResetRequested.type
    purpose = PASSWORD_RESET if is_reset else MAGIC_LINK
    token = await OneTimeTokenRepository(session).of_purpose(UUID(private["token_id"]), purpose)
    if token is None or not is_live(token, clock.now()):
        return []
    if is_reset:
        path, template = "/reset-password", "password_reset"
    else:
        query = f"?{urlencode({'redirect_to': token.redirect_to})}" if token.redirect_to else ""
        path, template = f"/magic-link{query}", "magic_link"
    link = MailLink(purpose=purpose, token_id=token.id, path=path)
    if token.user_id is None:
        # Nobody has the address yet; the account is made when the link is used.
        return [
            MailRequest(
                template=template,
                to=token.email or "",
                locale=NEWCOMERS_LOCALE,
                category="security",
                expires_at=token.expires_at,
                variables={"name": "", **facts_in(NEWCOMERS_LOCALE, private)},
                link=link,
            )
        ]
    recipient = await recipient_of(session, token.user_id)
    if recipient is None:
        return []
    facts = device_facts(recipient, private)
    return [mail_to(recipient, template, "security", facts, link=link, expires_at=token.expires_at)]


@mails_for(PasswordReset)
async def reset_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - one kind of event is mailed like this
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The notice that the password is another one."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    return [mail_to(recipient, "password_changed", "security", device_facts(recipient, private))]
