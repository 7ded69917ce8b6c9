"""Owns the slugs that are made from the names of organisations."""

import secrets
from collections.abc import Iterator

from app.schemas.team.organizations import RESERVED_SLUGS
from app.services.products.slugs import slug_of

LONGEST_BASE = 37
"""A slug has 48 characters at most; the rest is room for what makes it unique."""

NOTHING_LEFT = slug_of("")
"""What is made of a name without a Latin letter or a digit."""

SHORTEST = 3
TRIES = 5


def candidates(name: str) -> Iterator[str]:
    """Slugs for an organisation of this name: the plain one if it may stand, then some with random ends."""
    base = slug_of(name)[:LONGEST_BASE].strip("-")
    if base == NOTHING_LEFT and base not in name.casefold():
        base = "organization"
    if len(base) >= SHORTEST and base not in RESERVED_SLUGS:
        yield base
    for _ in range(TRIES):
        yield f"{base}-{secrets.token_hex(5)}"
