"""Owns the links that end mails of a category: what they carry, what they show, and what they do."""

from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import Depends

from app.core.config import get_settings
from app.core.crypto import decode_base64url, encode_base64url, key_ring, mac, mac_matches
from app.core.database import Unscoped
from app.core.errors import NotFound
from app.repositories.notifications import PreferenceRepository, ReaderRepository
from app.schemas.notifications.preferences import SubscriptionRead
from app.services.notifications.categories import CONSENT_OF, is_switchable
from app.services.notifications.preferences.deciding import is_wanted
from app.services.privacy.consents import withdraw_by_link
from app.services.team.invitations.views import masked

VERSION = b"\x01"
USE = "unsubscribe"
ID_BYTES = 16
TAG_BYTES = 32
PATH = "/api/notifications/unsubscribe"


class Subscription(NamedTuple):
    """Whose mails of which category."""

    user_id: UUID
    category: str


def unsubscribe_url(user_id: UUID, category: str) -> str:
    """The address for `List-Unsubscribe`, which is good for as long as the keys are."""
    return f"{get_settings().api_url}{PATH}/{make_token(user_id, category)}"


def make_token(user_id: UUID, category: str) -> str:
    """base64url of version, person, category and HMAC: it has no row and no end."""
    facts = VERSION + user_id.bytes + category.encode()
    return encode_base64url(facts + mac(key_ring(), USE, facts))


def read_token(token: str) -> Subscription | None:
    """What a token of ours is about; None for any other text."""
    data = decode_base64url(token)
    if data is None or len(data) <= len(VERSION) + ID_BYTES + TAG_BYTES:
        return None
    facts, tag = data[:-TAG_BYTES], data[-TAG_BYTES:]
    if not facts.startswith(VERSION) or not mac_matches(key_ring(), USE, facts, tag):
        return None
    rest = facts[len(VERSION) :]
    return Subscription(UUID(bytes=rest[:ID_BYTES]), rest[ID_BYTES:].decode())


class UnsubscribeService:
    """What whoever holds a mail does with its link."""

    def __init__(self, session: Unscoped) -> None:
        self.session = session

    async def show(self, token: str) -> SubscriptionRead:
        """How it stands; nothing is changed. 404 for a token that is not ours, or of somebody gone."""
        whose, email = await self._read(token)
        return SubscriptionRead.model_validate(
            {
                "category": whose.category,
                "email_masked": masked(email),
                "is_subscribed": await is_wanted(self.session, whose.user_id, whose.category, "email"),
            }
        )

    async def end(self, token: str) -> SubscriptionRead:
        """Send no more mails of the category; again is no fault. The consent to news is withdrawn."""
        whose, _ = await self._read(token)
        purpose = CONSENT_OF.get(whose.category)
        if purpose is not None:
            await withdraw_by_link(self.session, whose.user_id, purpose)
        wish = {"category": whose.category, "channel": "email", "is_enabled": False, "digest": "off"}
        await PreferenceRepository(self.session).write(whose.user_id, [wish])
        return await self.show(token)

    async def _read(self, token: str) -> tuple[Subscription, str]:
        whose = read_token(token)
        if whose is None or not is_switchable(whose.category, "email"):
            raise NotFound(detail="This link is not one of ours.")
        email = await ReaderRepository(self.session).address_of(whose.user_id)
        if email is None:
            raise NotFound(detail="This link is not one of ours.")
        return whose, email


Unsubscribing = Annotated[UnsubscribeService, Depends()]
