"""Owns whether a person is told something by a channel: the default, their wish, a lock, a consent."""

from collections.abc import Mapping
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
    """Whether a person still takes what somebody means to send them: they did not switch it off.

    A default that is off does not count here: what is urgent is mailed in such a category, too. Asked when
    a mail is queued, and again right before it is sent.
    """
    rows = await PreferenceRepository(session).of(user_id, category)
    is_off = any(row.channel == channel and not row.is_enabled for row in rows)
    if is_off and channel not in CATEGORIES[category].locked:
        return False
    purpose = CONSENT_OF.get(category)
    return purpose is None or await has_consent(session, user_id, purpose)
