"""Owns the form of refresh tokens: session id, counter, and a MAC under the session's own key."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from app.core.crypto.encoding import decode_base64url, encode_base64url
from app.core.crypto.keyring import hmac_sha256

_PREFIX = "luneo_rt_"
_ID_BYTES = 16
_COUNTER_BYTES = 8
_TAG_BYTES = 32
# The counter lives in a signed 64-bit column; a larger one must never reach a query.
_LARGEST_COUNTER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token taken apart; nothing about it is proved until its tag was compared."""

    sid: UUID
    counter: int
    tag: bytes


def make_refresh_token(session_key: bytes, sid: UUID, counter: int) -> str:
    """Return `luneo_rt_` + base64url(`sid ‖ counter(8) ‖ HMAC-SHA256(session key, sid ‖ counter)`).

    The same session and counter give the same token, so that a lost successor can be given again.
    """
    body = _body(sid, counter)
    return _PREFIX + encode_base64url(body + hmac_sha256(session_key, body))


def parse_refresh_token(text: str) -> RefreshToken | None:
    """Take a refresh token apart, or return None for any text that cannot be one."""
    if not text.startswith(_PREFIX):
        return None
    data = decode_base64url(text.removeprefix(_PREFIX))
    if data is None or len(data) != _ID_BYTES + _COUNTER_BYTES + _TAG_BYTES:
        return None
    counter = int.from_bytes(data[_ID_BYTES : _ID_BYTES + _COUNTER_BYTES], "big")
    if counter > _LARGEST_COUNTER:
        return None
    return RefreshToken(UUID(bytes=data[:_ID_BYTES]), counter, data[_ID_BYTES + _COUNTER_BYTES :])


def refresh_tag_matches(session_key: bytes, token: RefreshToken) -> bool:
    """Say in constant time whether the token was made with this session key."""
    return hmac.compare_digest(hmac_sha256(session_key, _body(token.sid, token.counter)), token.tag)


def _body(sid: UUID, counter: int) -> bytes:
    return sid.bytes + counter.to_bytes(_COUNTER_BYTES, "big")
