"""Owns which mails follow from changes of the address and of the password."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.mail_addresses import parse_address
from app.models.settings import EmailChange
from app.repositories.settings import EmailChangeRepository
from app.services.auth.accounts import holder_of
from app.services.auth.one_time_tokens import EMAIL_CHANGE, EMAIL_CHANGE_UNDO
from app.services.auth.recipients import Recipient, device_facts, mail_to, moment, recipient_of
from app.services.notifications.requests import MailLink, MailRequest, mails_for
from app.services.settings.email_change import change_expires_at
from app.services.settings.events import (
    EmailChanged,
    EmailChangePrepared,
    EmailChangeUndone,
    PasswordChanged,
    PasswordSet,
)

CONFIRM_PAGE = "/settings/email/confirm"
UNDO_PAGE = "/settings/email/undo"
"""The pages of the app that take the tokens."""


@mails_for(PasswordChanged, PasswordSet)
async def password_mails(
    session: SystemSession,
    event_type: str,  # noqa: ARG001 - both are told in the same words
    data: dict[str, Any],
    private: dict[str, Any],
) -> list[MailRequest]:
    """The notice that the password is another one."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    return [mail_to(recipient, "password_changed", "security", device_facts(recipient, private))]


@mails_for(EmailChangePrepared, EmailChanged, EmailChangeUndone)
async def address_mails(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """What the old and the new address are told; nothing when the change is gone."""
    recipient = await recipient_of(session, UUID(data["user_id"]))
    change = await EmailChangeRepository(session).get(UUID(data["change_id"]))
    if recipient is None or change is None:
        return []
    if event_type == EmailChangePrepared.type:
        return await _prepared(session, recipient, change, private)
    facts = device_facts(recipient, private)
    if event_type == EmailChangeUndone.type:
        return [
            mail_to(recipient, "email_change_undone", "security", facts, to=address)
            for address in dict.fromkeys((recipient.user.email, private["left"]))
        ]
    if change.status != "confirmed" or change.undo_until is None:
        return []
    link = MailLink(purpose=EMAIL_CHANGE_UNDO, token_id=UUID(private["token_id"]), path=UNDO_PAGE)
    return [
        mail_to(
            recipient,
            "email_changed",
            "security",
            {**facts, "until": moment(change.undo_until)},
            to=change.old_email,
            link=link,
            expires_at=change.undo_until,
        )
    ]


async def _prepared(
    session: SystemSession,
    recipient: Recipient,
    change: EmailChange,
    private: Mapping[str, Any],
) -> list[MailRequest]:
    """The notice to the present address, and the link to the new one, or a notice to who has it."""
    facts = device_facts(recipient, private)
    mails = [mail_to(recipient, "email_change_notice", "security", facts, to=change.old_email)]
    if private["token_id"] is None:
        holder = await holder_of(session, parse_address(change.new_email).canonical)
        other = await recipient_of(session, holder.id) if holder is not None else None
        if other is not None:
            mails.append(mail_to(other, "address_in_use", "security", device_facts(other, private)))
        return mails
    expires_at = change_expires_at(change)
    if change.status == "pending" and expires_at > clock.now():
        link = MailLink(purpose=EMAIL_CHANGE, token_id=UUID(private["token_id"]), path=CONFIRM_PAGE)
        # Nobody has proved this address yet, so what people call themselves is not sent there.
        nameless = {**facts, "name": "", "until": moment(expires_at)}
        mails.append(
            mail_to(
                recipient,
                "email_change",
                "security",
                nameless,
                to=change.new_email,
                link=link,
                expires_at=expires_at,
            )
        )
    return mails
