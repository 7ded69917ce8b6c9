"""Slugs: the part of a page's address that is made from a product's name."""

import re
import unicodedata
from collections.abc import Collection
from itertools import count

MAX_BASE = 70
"""A slug has 80 characters at most; the rest is room for a number behind it."""

_NO_DECOMPOSITION = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "þ": "th", "ð": "d"})
_OTHER = re.compile(r"[^a-z0-9]+")


def slug_of(name: str) -> str:
    """A name in small ASCII letters, digits and single hyphens; `product` when nothing of it is left."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_NO_DECOMPOSITION))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return _OTHER.sub("-", letters.casefold()).strip("-")[:MAX_BASE].strip("-") or "product"


def free_slug(base: str, taken: Collection[str]) -> str:
    """`base`, or `base-2`, `base-3` … : the first that is not taken."""
    if base not in taken:
        return base
    return next(slug for number in count(2) if (slug := f"{base}-{number}") not in taken)
