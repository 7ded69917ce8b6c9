"""Owns whether a person is told something by a channel: the default, their wish, a lock, a consent."""

from collections.abc import Collection, Mapping
from uuid import UUID

from app.core.database import ScopedSession
from app.repositories.notifications import PreferenceRepository
from app.services.notifications.categories import CATEGORIES, CONSENT_OF
from app.services.privacy.consents import has_consent

Wishes = Mapping[str, bool]
"""What a person said of one category, by channel."""


def decided(category: str, channel: str, wishes: Wishes) -> bool:
    """Whether the channel is on by lock, wish or default; a consent may be needed on top."""
    terms = CATEGORIES[category]
    if channel in terms.locked:
        return True
    return wishes.get(channel, channel in terms.default)


def is_considered(category: str, channel: str, wishes: Wishes) -> bool:
    """Whether the history tells when nothing came by this channel: it is on by default, or was wished for."""
    terms = CATEGORIES[category]
    return channel in terms.default or wishes.get(channel, False)


async def is_wanted(session: ScopedSession, user_id: UUID, category: str, channel: str) -> bool:
    """Whether a person takes what `unwilling` people do not. Asked again right before a mail is sent."""
    return not await unwilling(session, [user_id], category, channel)


async def unwilling(
    session: ScopedSession, people: Collection[UUID], category: str, channel: str
) -> set[UUID]:
    """Those of these people who do not take what somebody means to send them: they switched it off.

    A default that is off does not count here: what is urgent is mailed in such a category, too.
    """
    off: set[UUID] = set()
    if channel not in CATEGORIES[category].locked:
        off = await PreferenceRepository(session).switched_off(people, category, channel)
    purpose = CONSENT_OF.get(category)
    if purpose is None:
        return off
    return off | {one for one in people if not await has_consent(session, one, purpose)}
