"""The format of API keys: prefix of the installation, 36 random characters, 6 characters of CRC32."""

import hashlib
import re
import secrets
import string
import zlib

from app.core.config import Settings

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""Base62."""

PREFIXES = ("luneo_live_", "luneo_test_")
"""Those of production and of every other installation."""

_SECRET_LENGTH = 36
_CHECKSUM_LENGTH = 6
_KEY = re.compile(r"(luneo_(?:live|test)_)[0-9A-Za-z]{42}", re.ASCII)


def make_api_key(settings: Settings) -> str:
    """A new key of this installation, with 214 random bits."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(_SECRET_LENGTH))
    body = prefix_of(settings) + secret
    return body + _checksum(body)


def prefix_of(settings: Settings) -> str:
    """How the keys of this installation begin."""
    return PREFIXES[0] if settings.environment == "production" else PREFIXES[1]


def looks_like_api_key(token: str) -> bool:
    """Whether a bearer token is meant as an API key, good or not."""
    return token.startswith(PREFIXES)


def is_api_key(key: str, settings: Settings) -> bool:
    """Whether this can be a key of this installation: shape, checksum and prefix are right."""
    match = _KEY.fullmatch(key)
    return (
        match is not None
        and match[1] == prefix_of(settings)
        and _checksum(key[:-_CHECKSUM_LENGTH]) == key[-_CHECKSUM_LENGTH:]
    )


def hash_api_key(key: str) -> bytes:
    """Under what the key is kept: SHA-256, since 214 random bits cannot be guessed."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits.rjust(_CHECKSUM_LENGTH, "0")
