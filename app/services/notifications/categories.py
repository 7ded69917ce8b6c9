"""Owns the categories of what people are told: by which channels each comes unless they say otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from app.schemas.notifications.words import Channel

CHANNELS: tuple[Channel, ...] = get_args(Channel)


@dataclass(frozen=True, slots=True)
class Terms:
    """The channels that are on by default, and those that nobody can switch off."""

    default: frozenset[str]
    locked: frozenset[str] = frozenset()


def _terms(default: str, locked: str = "") -> Terms:
    return Terms(frozenset(default.split()), frozenset(locked.split()))


CATEGORIES: Mapping[str, Terms] = {
    "security": _terms("in_app email push", locked="in_app email"),
    "account": _terms("in_app email", locked="email"),
    "billing": _terms("in_app email"),
    "billing_failure": _terms("in_app email push", locked="email"),
    "team": _terms("in_app email"),
    "orders": _terms("in_app"),
    "order_customer": _terms("email", locked="email"),
    "products": _terms("in_app"),
    "designs": _terms("in_app"),
    "ar": _terms("in_app"),
    "support": _terms("in_app email push"),
    "integrations": _terms("in_app email"),
    "monitoring": _terms("in_app email push"),
    "analytics": _terms("in_app email"),
    "community": _terms("in_app push"),
    "courses": _terms("in_app email"),
    "product_news": _terms(""),
}

ALWAYS_TOLD = frozenset({"security", "account"})
"""What reaches even those who were suspended or have left."""

CONSENT_OF: Mapping[str, str] = {"product_news": "marketing_email"}
"""Categories of which nothing is sent without this consent."""


def is_switchable(category: str, channel: str) -> bool:
    """Whether people may switch this channel of a category off."""
    terms = CATEGORIES.get(category)
    return terms is not None and channel not in terms.locked
