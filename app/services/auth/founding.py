"""Owns how an account begins: the person, the profile, and the organisation that everybody has."""

import re
import secrets
import unicodedata
from datetime import datetime

from app.core.database import SystemSession
from app.core.events import emit
from app.core.ids import uuid7
from app.core.mail_addresses import MailAddress
from app.models.auth import User
from app.models.team import Organization, TeamMember
from app.repositories.auth import PeopleRepository
from app.services.auth.events import SignedUp

PERSONAL_NAMES = {"fr": "Espace personnel", "en": "Personal workspace"}


async def found_account(
    session: SystemSession,
    address: MailAddress,
    now: datetime,
    *,
    method: str,
    full_name: str | None = None,
    locale: str = "fr",
) -> User:
    """The locked account of an address; made without a password where there is none yet.

    It waits for a sign-up with the same address that is not over. A new account is not confirmed: whoever
    calls has the proof, and says so.
    """
    people = PeopleRepository(session)
    is_new = await people.insert(uuid7(), email=address.address, canonical=address.canonical, now=now)
    user = await people.by_address(address.canonical, lock=True)
    assert user is not None  # noqa: S101 - inserted just now, or the row that stood in the way
    if is_new:
        await people.set_profile(user.id, full_name=full_name, company=None, locale=locale, now=now)
        await give_home(session, user, full_name or PERSONAL_NAMES[locale], now)
        await emit(session, SignedUp(user_id=user.id, method=method))
    return user


async def give_home(
    session: SystemSession, user: User, name: str, now: datetime, *, source: str = "signup"
) -> None:
    """Make the personal organisation that everybody has and owns; `source` is how the owner came to it."""
    organization = Organization(
        id=uuid7(), name=name, slug=new_slug(name), kind="personal", created_by=user.id
    )
    owner = TeamMember(
        organization_id=organization.id,
        id=uuid7(),
        user_id=user.id,
        role="owner",
        source=source,
        joined_at=now,
    )
    await PeopleRepository(session).add_owned_organization(organization, owner)


def new_slug(name: str) -> str:
    """A readable part of an address, made unique by 40 random bits."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"{words or 'org'}-{secrets.token_hex(5)}"
