"""The arithmetic of the audit log: what an entry's hash covers, and how a checkpoint is signed.

Nothing here needs this service: a customer can repeat all of it from the fields of an entry.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.crypto import KeyRing

USE = "audit"
LARGEST_INTEGER = 2**53 - 1
"""JSON's readers agree on integers up to this one (RFC 7493, 2.2)."""


class Content(Protocol):
    """What happened, as the inbox and the chain hold it."""

    @property
    def organization_id(self) -> UUID: ...
    @property
    def id(self) -> UUID: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def action(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def actor_kind(self) -> str: ...
    @property
    def actor_id(self) -> UUID | None: ...
    @property
    def subject_id(self) -> UUID | None: ...
    @property
    def targets(self) -> list[dict[str, str]]: ...
    @property
    def context(self) -> dict[str, str | None]: ...
    @property
    def changes(self) -> dict[str, Any] | None: ...
    @property
    def personal(self) -> list[dict[str, str]]: ...


def moment(value: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2026-01-02T03:04:05.000006Z`."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def base64_text(value: bytes) -> str:
    """Bytes as the chain writes them."""
    return base64.b64encode(value).decode("ascii")


def hashed_fields(seq: int, content: Content) -> list[Any]:
    """What the hash of an entry covers, in its order."""
    return [
        "audit.v1",
        str(content.organization_id),
        seq,
        str(content.id),
        moment(content.occurred_at),
        content.action,
        content.outcome,
        content.actor_kind,
        str(content.actor_id) if content.actor_id else None,
        str(content.subject_id) if content.subject_id else None,
        content.targets,
        content.context,
        content.changes,
        content.personal,
    ]


def canonical(value: Any) -> bytes:
    """JCS (RFC 8785) of a JSON value without fractions.

    Where all is ASCII, as in nearly every entry, Python's own encoder writes the same seven times as fast:
    the two differ in how they order names outside of ASCII, and in fractions, which no entry has.
    """
    written = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return written.encode() if written.isascii() else rfc8785.dumps(value)


def entry_hash(prev_hash: bytes, seq: int, content: Content) -> bytes:
    """`SHA-256(prev_hash ‖ JCS(fields))`.

    A row that was tampered with may hold what JCS does not know, such as a number out of range; its hash is
    then that of nothing, which is never the right one.
    """
    try:
        written = canonical(hashed_fields(seq, content))
    except ValueError:
        written = b""
    return hashlib.sha256(prev_hash + written).digest()


def settled(value: Any) -> Any:
    """A JSON value that every reader reads alike: fractions and integers beyond 2^53 are texts."""
    if isinstance(value, dict):
        return {str(name): settled(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [settled(member) for member in value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST_INTEGER):
        return str(value)
    return value


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs checkpoints."""

    key_id: str
    public_key: bytes
    private_key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        return self.private_key.sign(message)


@lru_cache(maxsize=64)
def _signing_key(ring: KeyRing, key_id: str) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(ring.derive(USE, key_id))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(key_id, public, private)


def signing_key(ring: KeyRing) -> SigningKey:
    """The key of new checkpoints."""
    return _signing_key(ring, ring.newest)


def known_keys(ring: KeyRing) -> Iterator[SigningKey]:
    """Every key of the ring, newest first."""
    return (_signing_key(ring, key_id) for key_id in ring.kids)


def checkpoint_message(organization_id: UUID, seq: int, head_hash: bytes, signed_at: datetime) -> bytes:
    """What is signed: `JCS(["checkpoint.v1", organization_id, seq, head_hash, signed_at])`."""
    return canonical(["checkpoint.v1", str(organization_id), seq, base64_text(head_hash), moment(signed_at)])


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether Ed25519 (RFC 8032) says that the holder of this key signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
