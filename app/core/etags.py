"""Entity tags: the version of a row as `ETag` of an answer and as `If-Match` of a write."""

import re
from collections.abc import Collection
from typing import Annotated

from fastapi import Header

ETAG = re.compile(r'\s*(?:(?:W/)?"([0-9]{1,10})"|([0-9]{1,10}))\s*', re.ASCII)

IfMatch = Annotated[
    str | None, Header(max_length=200, description="The `ETag` that you read, instead of `version`.")
]


def etag(version: int) -> str:
    """The tag of a version."""
    return f'"{version}"'


def versions_of(if_match: str | None) -> frozenset[int] | None:
    """The versions that an `If-Match` names; None without one, and for `*`, which names none."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = (ETAG.fullmatch(part) for part in if_match.split(","))
    return frozenset(int(match[1] or match[2]) for match in found if match)


def is_stale(current: int, version: int | None, etags: Collection[int] | None) -> bool:
    """Whether a write was made from another version than the row's: by its body, or by its `If-Match`."""
    return (version is not None and version != current) or (etags is not None and current not in etags)
