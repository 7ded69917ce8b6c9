"""The link by which a buyer without an account follows an order: what it says, and until when."""

import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.core.crypto import EMAIL_TOKEN_PREFIX, every_mac, key_ring, mac, read_facts

TRACK_USE = "order-track"
BUYER_USE = "order-track-buyer"

_FACTS = struct.Struct(">16s16sQ16s")
_BUYER_BYTES = 16


@dataclass(frozen=True, slots=True)
class TrackLink:
    """An order, its buyer (a digest of the address) and the moment at which the link ends."""

    organization_id: UUID
    order_id: UUID
    expires_at: datetime
    buyer: bytes

    @classmethod
    def to(cls, organization_id: UUID, order_id: UUID, canonical: str, expires_at: datetime) -> "TrackLink":
        """The link for the buyer with this canonical address."""
        buyer = mac(key_ring(), BUYER_USE, canonical.encode())[:_BUYER_BYTES]
        return cls(organization_id, order_id, expires_at, buyer)

    @classmethod
    def read(cls, token: str) -> "TrackLink | None":
        """The link that this service made, also one that has ended; None for any other text."""
        facts = read_facts(key_ring(), EMAIL_TOKEN_PREFIX, TRACK_USE, token)
        if facts is None:
            return None
        organization_id, order_id, seconds, buyer = _FACTS.unpack(facts)
        expires_at = datetime.fromtimestamp(seconds, UTC)
        return cls(UUID(bytes=organization_id), UUID(bytes=order_id), expires_at, buyer)

    @property
    def facts(self) -> bytes:
        """What the token carries."""
        seconds = int(self.expires_at.timestamp())
        return _FACTS.pack(self.organization_id.bytes, self.order_id.bytes, seconds, self.buyer)

    def is_for(self, canonical: str | None) -> bool:
        """Whether the order still belongs to the buyer whom the link was mailed to."""
        if canonical is None:
            return False
        digests = every_mac(key_ring(), BUYER_USE, canonical.encode())
        return any(hmac.compare_digest(digest[:_BUYER_BYTES], self.buyer) for digest in digests)
