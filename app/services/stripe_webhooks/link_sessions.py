"""Owns which sessions of payment links are to become orders of ours, and the ids of these orders."""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.services.stripe_webhooks.fetching import metadata_id


def is_of_link(found: Mapping[str, Any]) -> bool:
    """Whether a completed payment session is to become an order: it names us, and none of our orders."""
    return (
        found["mode"] == "payment"
        and found["status"] == "complete"
        and metadata_id(dict(found), "order_id") is None
        and metadata_id(dict(found), "organization_id") is not None
    )


def link_order_id(found: Mapping[str, Any]) -> UUID:
    """The id of the order of a session: always the same one, so that there can be no second.

    A UUIDv7 of the second at which the session was made, whose other bits are a digest of its id.
    """
    digest = int.from_bytes(hashlib.sha256(str(found["id"]).encode()).digest()[:16], "big")
    value = (int(found["created"]) * 1000) << 80
    value |= 0x7 << 76 | (digest >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | digest & (1 << 62) - 1
    return UUID(int=value)
