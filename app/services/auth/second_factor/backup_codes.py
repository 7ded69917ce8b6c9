"""Owns the form of backup codes: a selector that finds the row, and a secret of which only a hash is kept."""

import asyncio
import secrets

from app.core.passwords import hash_password

COUNT = 10
FEW = 3
"""With this many left or fewer, people are told to make new ones."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O and U, which are mistaken for other characters."""

_PART = 4
_MISREAD = str.maketrans("ILO", "110")


def new_codes() -> list[str]:
    """Ten fresh codes, `K7QF-9XWT-3HJM`, whose selectors differ."""
    selectors: set[str] = set()
    while len(selectors) < COUNT:
        selectors.add(_random(_PART))
    return [f"{selector}-{_random(_PART)}-{_random(_PART)}" for selector in sorted(selectors)]


def split(code: str) -> tuple[str, str]:
    """Selector and secret of a code as somebody typed it: in any case, with or without hyphens."""
    plain = code.replace("-", "").upper().translate(_MISREAD)
    return plain[:_PART], plain[_PART:]


async def hashed(codes: list[str]) -> list[tuple[str, str]]:
    """Selector and argon2id hash of each code. Never call it in a transaction: it takes a while."""
    parts = [split(code) for code in codes]
    hashes = await asyncio.gather(*(hash_password(secret) for _, secret in parts))
    return [(selector, digest) for (selector, _), digest in zip(parts, hashes, strict=True)]


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
