"""Owns the pages of the inbox, whose ids are Stripe's texts: its cursors carry a moment and such an id."""

import hashlib
import json
from datetime import datetime

from app.core.crypto import decode_base64url, encode_base64url, key_ring, mac, mac_matches
from app.core.errors import FieldError, Invalid
from app.core.paging import TAG_BYTES, PageQuery

Position = tuple[datetime, str]
"""When the last event of a page was received, and its id."""


def scope_of(query: PageQuery, caller: str) -> bytes:
    """What a cursor is bound to: the list, its filters, and whose it is."""
    return json.dumps(["stripe_events", caller, query.filters()], sort_keys=True).encode()


def make_position(scope: bytes, position: Position) -> str:
    """A cursor behind a position, signed so that nobody can make or move one."""
    content = json.dumps([position[0].isoformat(), position[1]]).encode()
    return encode_base64url(mac(key_ring(), "cursor", hashlib.sha256(scope).digest() + content) + content)


def read_position(scope: bytes, cursor: str | None) -> Position | None:
    """Where a page begins; None for the first. 422 `cursor_invalid` for what this list has not made."""
    if cursor is None:
        return None
    raw = decode_base64url(cursor) or b""
    tag, content = raw[:TAG_BYTES], raw[TAG_BYTES:]
    if not content or not mac_matches(key_ring(), "cursor", hashlib.sha256(scope).digest() + content, tag):
        detail = "This cursor is not of this list; begin without one."
        raise Invalid("cursor_invalid", detail, errors=[FieldError("/cursor", "cursor_invalid", detail)])
    moment, identifier = json.loads(content)
    return datetime.fromisoformat(moment), str(identifier)
