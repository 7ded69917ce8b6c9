"""Owns how credentials of connections are sealed: each opens only in the column and row it was made for."""

import hashlib
import secrets
from uuid import UUID

from app.core.crypto import key_ring, seal, unseal
from app.models.integrations import Integration

ACCESS, REFRESH = "integrations.access_token_sealed", "integrations.refresh_token_sealed"
VERIFIER, CODE = "oauth_states.pkce_verifier_sealed", "oauth_states.code_sealed"
REVOCATION = "integration_revocations.token_sealed"


def sealed(column: str, row_id: UUID, text: str) -> bytes:
    """The text, for this column of this row."""
    return seal(key_ring(), text.encode(), context=f"{column}:{row_id}")


def opened(column: str, row_id: UUID, value: bytes) -> str:
    """The text of a sealed value; SealBroken when its key left the ring."""
    return unseal(key_ring(), value, context=f"{column}:{row_id}").decode()


def access_token(row: Integration) -> str | None:
    """The access token, or whatever stands in its place; SealBroken."""
    value = row.access_token_sealed
    return None if value is None else opened(ACCESS, row.id, value)


def refresh_token(row: Integration) -> str | None:
    """The refresh token; SealBroken."""
    value = row.refresh_token_sealed
    return None if value is None else opened(REFRESH, row.id, value)


def random_token() -> str:
    """32 random bytes as text: a state, a completion token, a PKCE verifier."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is kept of a token that comes back; surrogates that no token has are replaced."""
    return hashlib.sha256(token.encode(errors="replace")).digest()
