"""Owns sealed columns: values encrypted at rest that open only in the row they were made for."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.crypto.keyring import KeyRing

_FORMAT = 1
_USE = "seal"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class SealBroken(Exception):
    """A sealed value does not open: another row's, damaged, or of a key that is not in the ring."""


def seal(ring: KeyRing, plaintext: bytes, *, context: str) -> bytes:
    """Encrypt `plaintext` with AES-256-GCM under the newest key.

    `context` is `table.column:row_id`; it is authenticated but not stored, so that a value which was moved to
    another row does not open. The form is `0x01 ‖ len(kid) ‖ kid ‖ nonce(12) ‖ ciphertext+tag(16)`.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(ring.derive(_USE)).encrypt(nonce, plaintext, context.encode())
    return sealed_by(ring) + nonce + sealed


def sealed_by(ring: KeyRing) -> bytes:
    """Return how every value begins that was sealed with the newest key, and no other."""
    kid = ring.newest.encode("ascii")
    return bytes([_FORMAT, len(kid)]) + kid


def unseal(ring: KeyRing, sealed: bytes, *, context: str) -> bytes:
    """Decrypt what `seal` made for the same `context`; SealBroken for anything else."""
    kid = sealed_kid(sealed)
    if kid not in ring:
        raise SealBroken("The value was sealed with a key that is not in the ring.")
    rest = sealed[2 + len(kid) :]
    if len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise SealBroken("The value is too short to be sealed.")
    try:
        return AESGCM(ring.derive(_USE, kid)).decrypt(
            rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], context.encode()
        )
    except InvalidTag:
        raise SealBroken("The value was changed or belongs to another row.") from None


def sealed_kid(sealed: bytes) -> str:
    """Return the id of the key that a value was sealed with; SealBroken if it cannot be read."""
    if len(sealed) < 2 or sealed[0] != _FORMAT:
        raise SealBroken("The value is not of a known sealed form.")
    try:
        return sealed[2 : 2 + sealed[1]].decode("ascii")
    except UnicodeDecodeError:
        raise SealBroken("The value names no readable key id.") from None
