"""Owns the tokens and codes of mails: derived from the id of a row or from bare facts, and never stored."""

import hmac
from uuid import UUID

from app.core.crypto.encoding import decode_base64url, encode_base64url
from app.core.crypto.keyring import KeyRing, hmac_sha256, mac, mac_matches

EMAIL_TOKEN_PREFIX = "luneo_ot_"  # noqa: S105 - the public prefix of a token is no secret.
MFA_TOKEN_PREFIX = "luneo_mfa_"  # noqa: S105 - the public prefix of a token is no secret.
AUTH_CODE_PREFIX = "luneo_ac_"

_USE = "one-time"
_ID_BYTES = 16
_TAG_BYTES = 32


def derive_token(ring: KeyRing, prefix: str, use: str, row_id: UUID) -> str:
    """Return the token of a row: `prefix` + base64url(`row id ‖ HMAC-SHA256(one-time key, use ‖ row id)`)."""
    return prefix + encode_base64url(row_id.bytes + mac(ring, _USE, use.encode() + row_id.bytes))


def read_token(ring: KeyRing, prefix: str, use: str, token: str) -> UUID | None:
    """Return the row id of a token that this service made for `use`, or None for any other text.

    A forged token is thereby refused without a query. Tokens of older keys of the ring are read, too.
    """
    if not token.startswith(prefix):
        return None
    data = decode_base64url(token.removeprefix(prefix))
    if data is None or len(data) != _ID_BYTES + _TAG_BYTES:
        return None
    row_id, tag = data[:_ID_BYTES], data[_ID_BYTES:]
    return UUID(bytes=row_id) if mac_matches(ring, _USE, use.encode() + row_id, tag) else None


def sign_facts(ring: KeyRing, prefix: str, use: str, facts: bytes) -> str:
    """Return a token without a row, which carries what it is about: `prefix` + base64url(`facts ‖ HMAC`).

    Whoever holds it can read the facts. It is good for as long as its reader says, and more than once.
    """
    return prefix + encode_base64url(facts + mac(ring, _USE, _labelled(use, facts)))


def read_facts(ring: KeyRing, prefix: str, use: str, token: str) -> bytes | None:
    """Return the facts of a token that this service made for `use`, or None for any other text."""
    if not token.startswith(prefix):
        return None
    data = decode_base64url(token.removeprefix(prefix))
    if data is None or len(data) < _TAG_BYTES:
        return None
    facts, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
    return facts if mac_matches(ring, _USE, _labelled(use, facts), tag) else None


def derive_code(ring: KeyRing, use: str, row_id: UUID) -> str:
    """Return the code of a row: 6 ASCII digits, which say nothing about the row's token."""
    return _code(ring.derive(_USE), use, row_id)


def code_matches(ring: KeyRing, use: str, row_id: UUID, code: str) -> bool:
    """Say whether `code` is the code of the row under any key of the ring, in constant time per key."""
    found = False
    for key in ring.derive_all(_USE):
        # Bytes are compared, because comparing text raises for characters outside ASCII.
        found |= hmac.compare_digest(_code(key, use, row_id).encode(), code.encode(errors="replace"))
    return found


def _code(key: bytes, use: str, row_id: UUID) -> str:
    # The leading word keeps codes apart from tokens: whoever holds one cannot work out the other.
    digest = hmac_sha256(key, b"code\x00" + use.encode() + row_id.bytes)
    return f"{int.from_bytes(digest[:8], 'big') % 1_000_000:06d}"


def _labelled(use: str, facts: bytes) -> bytes:
    # The leading word keeps these tokens apart from those of rows, and the zero the use from the facts.
    return b"facts\x00" + use.encode() + b"\x00" + facts
