"""Owns pages in the order of a chain, whose cursors carry a number."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from app.core.access import Principal
from app.core.config import get_settings
from app.core.paging import PageQuery, Rows, make_number, offset_of, read_number


class Numbered(Protocol):
    """What has a place in a chain."""

    @property
    def seq(self) -> int: ...


T = TypeVar("T", bound=Numbered)


def scope_of(name: str, principal: Principal, query: PageQuery) -> bytes:
    """What a cursor is bound to: the list, the caller, the filters."""
    whose = [str(principal.organization_id), str(principal.actor_id)]
    return json.dumps([name, whose, query.filters()], sort_keys=True).encode()


async def total_of(query: PageQuery, count: Callable[[int], Awaitable[int]]) -> int | None:
    """How many there are, if that was asked for; counted up to the cap."""
    if query.page is None and not query.count:
        return None
    return await count(get_settings().list_total_cap)


async def numbered_page(
    query: PageQuery,
    scope: bytes,
    *,
    fetch: Callable[[int | None, int, int], Awaitable[Sequence[T]]],
    count: Callable[[int], Awaitable[int]],
) -> Rows[T]:
    """A page of what `fetch(before, offset, limit)` answers, newest first; 422 for a foreign cursor."""
    before = None if query.cursor is None else read_number(query.cursor, scope)
    total = await total_of(query, count)
    found = await fetch(before, offset_of(query), query.limit + 1)
    items = found[: query.limit]
    has_more = len(found) > query.limit
    return Rows(items, make_number(scope, items[-1].seq) if has_more else None, total)
