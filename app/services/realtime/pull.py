"""The pull API: the log as a list, one event, and the catalogue of types."""

import json
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from app.core import clock
from app.core.access import CurrentPrincipal
from app.core.config import get_settings
from app.core.database import Owner
from app.core.errors import Gone, NotFound
from app.core.ids import time_of
from app.core.paging import Rows, make_number, offset_of, page_of_all, read_number
from app.repositories.realtime import EventFilter, EventPullRepository
from app.schemas.realtime import EventQuery, EventTypeQuery, EventTypeRead
from app.services.realtime.catalogue import catalogue
from app.services.realtime.envelopes import render
from app.services.realtime.types import wanted_types


class EventPullService:
    """Reads events of the caller's organisation that its permissions cover, and the person's own."""

    def __init__(self, session: Owner, principal: CurrentPrincipal) -> None:
        self.principal = principal
        self.events = EventPullRepository(session)

    async def list(self, query: EventQuery) -> bytes:
        """A page of envelopes as JSON; with `after` oldest first, and to be gone on with by it.

        404 and 410 for `after` as in `get`; 422 `unknown_event_type`.
        """
        types = wanted_types(query.types)
        wanted = EventFilter(
            types=None if types is None else sorted(types),
            object_type=query.object_type,
            object_id=query.object_id,
            since=query.since,
            until=query.until,
        )
        after = (await self._find(query.after))[0] if query.after is not None else None
        scope = self._scope(query)
        beyond = after if query.cursor is None else read_number(query.cursor, scope)
        found = await self.events.page(
            wanted,
            is_descending=after is None and query.sort != "position",
            beyond=beyond,
            offset=offset_of(query),
            limit=query.limit + 1,
        )
        total = None
        if query.page is not None or query.count:
            total = await self.events.count(wanted, beyond=after, cap=get_settings().list_total_cap)
        items = found[: query.limit]
        has_more = len(found) > query.limit and after is None
        cursor = make_number(scope, items[-1][0]) if has_more else None
        return render([body.encode() for _, body in items], next_cursor=cursor, total=total)

    async def get(self, event_id: UUID) -> str:
        """One envelope; 404 for an event that is not the caller's, 410 for one that was pruned."""
        return (await self._find(event_id))[1]

    async def _find(self, event_id: UUID) -> tuple[int, str]:
        found = await self.events.find(event_id)
        if found is None:
            raise _why_not(event_id)
        return found

    def _scope(self, query: EventQuery) -> bytes:
        whose = [str(self.principal.organization_id), str(self.principal.actor_id)]
        return json.dumps(["events", whose, query.filters()], sort_keys=True).encode()


def _why_not(event_id: UUID) -> Gone | NotFound:
    """410 for an id whose time is beyond the retention, since only then it may have been an event."""
    oldest = clock.now() - timedelta(days=get_settings().events_retention_days)
    if event_id.version == 7 and time_of(event_id) < oldest:
        return Gone("event_expired", "This event is older than the log is kept.")
    return NotFound()


EventPull = Annotated[EventPullService, Depends()]


class EventTypeService:
    """Reads the catalogue."""

    def list(self, query: EventTypeQuery) -> Rows[EventTypeRead]:
        """A page of the catalogue, in alphabetical order."""
        chosen = [kind for kind in catalogue() if query.webhook is None or kind.webhook == query.webhook]
        return page_of_all(chosen, query, json.dumps(["event_types", query.filters()]).encode())


EventTypes = Annotated[EventTypeService, Depends()]
