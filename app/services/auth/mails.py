"""Owns which mails follow from the events of authentication, and the facts they tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.devices import Device
from app.models.auth import User
from app.repositories.auth import OneTimeTokenRepository, PeopleRepository
from app.services.auth.events import (
    ConfirmationRequested,
    EmailConfirmed,
    Locked,
    RefreshReused,
    SignedIn,
    SignupRepeated,
)
from app.services.auth.one_time_tokens import EMAIL_CONFIRM
from app.services.notifications.requests import MailLink, MailRequest

USEFUL_FOR = timedelta(hours=24)
"""A notice that could not be sent for a day is not sent any more."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "device": "appareil inconnu",
        "place": "lieu inconnu",
        "for_good": "la réinitialisation du mot de passe",
    },
    "en": {"device": "unknown device", "place": "unknown place", "for_good": "the password is reset"},
}


@dataclass(frozen=True, slots=True)
class _Recipient:
    user: User
    name: str
    locale: str


def seen(device: Device, now: datetime) -> dict[str, str | None]:
    """What a mail says about a device: its name, its country, the moment. Goes into an event's `private`."""
    return {
        "device": device.name,
        "place": device.location["country"] if device.location else None,
        "time": moment(now),
    }


def moment(value: datetime) -> str:
    """A moment as mails show it: to the minute, in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


async def mails_for(
    session: SystemSession, event_type: str, data: dict[str, Any], private: dict[str, Any]
) -> list[MailRequest]:
    """The mails that follow from an event of this area; none when nobody is to be told (any more)."""
    if data.get("user_id") is None:
        return []
    recipient = await _recipient(session, UUID(data["user_id"]))
    if recipient is None:
        return []
    if event_type == ConfirmationRequested.type:
        return await _confirmation(session, recipient, UUID(private["token_id"]))
    notice = _notice(recipient, event_type, data, private)
    return [notice] if notice is not None else []


def _notice(
    recipient: _Recipient, event_type: str, data: Mapping[str, Any], private: Mapping[str, Any]
) -> MailRequest | None:
    """The mail that only tells what happened."""
    match event_type:
        case SignupRepeated.type if private["is_mailed"]:
            return _mail("account_exists", recipient, "account")
        case EmailConfirmed.type:
            return _mail("welcome", recipient, "account")
        case SignedIn.type if data["is_new_device"] and not private["is_first"]:
            return _mail("new_device", recipient, "security", _facts(recipient, private))
        case Locked.type:
            until = datetime.fromisoformat(data["until"]) if data["until"] else None
            facts = _facts(recipient, private)
            facts["until"] = moment(until) if until else WORDS[recipient.locale]["for_good"]
            return _mail("account_locked", recipient, "security", facts)
        case RefreshReused.type:
            return _mail("session_stopped", recipient, "security", _facts(recipient, private))
        case _:
            return None


async def _recipient(session: SystemSession, user_id: UUID) -> _Recipient | None:
    people = PeopleRepository(session)
    user = await people.get(user_id)
    if user is None or user.status == "erased":
        return None
    profile = await people.profile(user_id)
    name = (profile.full_name if profile else None) or ""
    return _Recipient(user, name, profile.locale if profile else "fr")


async def _confirmation(session: SystemSession, recipient: _Recipient, token_id: UUID) -> list[MailRequest]:
    token = await OneTimeTokenRepository(session).of_purpose(token_id, EMAIL_CONFIRM)
    if token is None or token.consumed_at or token.voided_at or token.expires_at <= clock.now():
        return []
    link = MailLink(purpose=EMAIL_CONFIRM, token_id=token_id, path="/confirm")
    return [_mail("email_confirmation", recipient, "account", link=link, expires_at=token.expires_at)]


def _facts(recipient: _Recipient, private: Mapping[str, Any]) -> dict[str, str]:
    unknown = WORDS[recipient.locale]
    return {
        "device": private["device"] or unknown["device"],
        "place": private["place"] or unknown["place"],
        "time": private["time"],
    }


def _mail(
    template: str,
    recipient: _Recipient,
    category: Literal["account", "security"],
    facts: Mapping[str, str] | None = None,
    *,
    link: MailLink | None = None,
    expires_at: datetime | None = None,
) -> MailRequest:
    return MailRequest(
        template=template,
        to=recipient.user.email,
        locale=recipient.locale,
        category=category,
        expires_at=expires_at or clock.now() + USEFUL_FOR,
        user_id=recipient.user.id,
        variables={"name": recipient.name, **(facts or {})},
        link=link,
    )
