"""Owns base64url without padding (RFC 4648, section 5), in its one canonical spelling."""

import base64
import binascii
import re

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def encode_base64url(data: bytes) -> str:
    """Return `data` as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """Return the bytes of canonical base64url text, or None for any other text.

    Padding, foreign characters and non-zero trailing bits are refused, so that one value has one spelling.
    """
    if _ALPHABET.fullmatch(text) is None:
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return data if encode_base64url(data) == text else None
