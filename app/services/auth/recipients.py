"""Owns to whom mails about an account go, and the facts about a device that they tell."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.database import SystemSession
from app.core.devices import Device
from app.models.auth import User
from app.repositories.auth import PeopleRepository
from app.schemas.notifications.words import Category
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
class Recipient:
    """Who gets a mail, by which name, in which language."""

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


async def recipient_of(session: SystemSession, user_id: UUID) -> Recipient | None:
    """The person as mails address them; None for an erased one."""
    found = await recipients_of(session, [user_id])
    return found[0] if found else None


async def recipients_of(session: SystemSession, people: Iterable[UUID]) -> list[Recipient]:
    """These people in this order, but for erased ones; one statement, however many they are."""
    wanted = list(people)
    found = {
        user.id: Recipient(user, (profile and profile.full_name) or "", profile.locale if profile else "fr")
        for user, profile in await PeopleRepository(session).with_profiles(wanted)
    }
    return [found[user_id] for user_id in wanted if user_id in found]


def device_facts(recipient: Recipient, private: Mapping[str, Any]) -> dict[str, str]:
    """Device, place and time of `seen`, in the recipient's language where they are unknown."""
    return facts_in(recipient.locale, private)


def facts_in(locale: str, private: Mapping[str, Any]) -> dict[str, str]:
    """The same in a language."""
    unknown = WORDS[locale]
    return {
        "device": private["device"] or unknown["device"],
        "place": private["place"] or unknown["place"],
        "time": private["time"],
    }


def mail_to(
    recipient: Recipient,
    template: str,
    category: Category,
    facts: Mapping[str, str] | None = None,
    *,
    to: str | None = None,
    link: MailLink | None = None,
    expires_at: datetime | None = None,
) -> MailRequest:
    """A mail to this person: to their address, unless it is for another one of theirs (`to`)."""
    return MailRequest(
        template=template,
        to=to or recipient.user.email,
        locale=recipient.locale,
        category=category,
        expires_at=expires_at or clock.now() + USEFUL_FOR,
        user_id=recipient.user.id,
        variables={"name": recipient.name, **(facts or {})},
        link=link,
    )
