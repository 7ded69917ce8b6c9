"""Owns what a trip to another provider carries: state, nonce and PKCE verifier, all derived from its row."""

import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from app.core.crypto.encoding import encode_base64url
from app.core.crypto.keyring import KeyRing, hmac_sha256
from app.core.crypto.one_time import EMAIL_TOKEN_PREFIX, read_token

_RING_USE = "one-time"
_STATE_USE = b"external_sign_in"


@dataclass(frozen=True, slots=True)
class TripSecrets:
    """What belongs to one trip. `state` and `nonce` travel through the browser, `verifier` never does."""

    row_id: UUID
    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """The S256 challenge of the verifier (RFC 7636, 4.2)."""
        return encode_base64url(hashlib.sha256(self.verifier.encode()).digest())


def begin_trip(ring: KeyRing, row_id: UUID) -> TripSecrets:
    """Return the secrets of a new trip, derived with the newest key."""
    return _derive(ring, ring.newest, row_id)


def read_trip(ring: KeyRing, state: str) -> TripSecrets | None:
    """Return the secrets of the trip whose state this is, or None for any text that is no state of ours.

    They are derived with the key that made the state, so a trip survives a change of keys on its way.
    """
    row_id = read_token(ring, EMAIL_TOKEN_PREFIX, _STATE_USE.decode(), state)
    if row_id is None:
        return None
    for kid in ring.kids:
        found = _derive(ring, kid, row_id)
        if hmac.compare_digest(found.state, state):
            return found
    return None


def _derive(ring: KeyRing, kid: str, row_id: UUID) -> TripSecrets:
    key = ring.derive(_RING_USE, kid)

    def text(label: bytes) -> str:
        # The leading word keeps these values apart from tokens and codes, which are of the same key.
        return encode_base64url(hmac_sha256(key, label + b"\x00" + _STATE_USE + row_id.bytes))

    tag = hmac_sha256(key, _STATE_USE + row_id.bytes)
    return TripSecrets(
        row_id=row_id,
        state=EMAIL_TOKEN_PREFIX + encode_base64url(row_id.bytes + tag),
        nonce=text(b"nonce"),
        verifier=text(b"verifier"),
    )
