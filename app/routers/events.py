"""The routes of the event log: the list, one event, and the types there are."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.core.access import Principal, allow
from app.core.errors import problems
from app.core.limits import limited
from app.core.paging import Page, Rows
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.base import PathId
from app.schemas.realtime import EventEnvelope, EventQuery, EventTypeQuery, EventTypeRead
from app.services.realtime.pull import EventPull, EventTypes

router = APIRouter(route_class=StrictRoute, prefix="/api/events", tags=["events"])

Reader = Annotated[Principal, Depends(allow(Permission.events_read, key=True))]

READS = [Depends(limited("events_pull", by="principal"))]
JSON = "application/json"


@router.get(
    "",
    response_model=Page[EventEnvelope],
    dependencies=READS,
    responses=problems(
        {
            404: ["not_found"],
            410: ["event_expired"],
            422: ["unknown_event_type", "page_too_deep", "cursor_invalid"],
        }
    ),
)
async def list_events(_: Reader, events: EventPull, query: Annotated[EventQuery, Query()]) -> Response:
    """List events.

    Those of the organisation that you may read, and your own; newest first. To catch up, send the last id
    that you have seen as `after` until the page is empty. Events are kept for 30 days.
    """
    return Response(await events.list(query), media_type=JSON)


@router.get(
    "/types",
    response_model=Page[EventTypeRead],
    dependencies=READS,
    responses=problems({422: ["page_too_deep", "cursor_invalid"]}),
)
async def list_event_types(
    _: Reader, types: EventTypes, query: Annotated[EventTypeQuery, Query()]
) -> Rows[EventTypeRead]:
    """List the types of events.

    Each with the schema of its data and a sample.
    """
    return types.list(query)


@router.get(
    "/{event_id}",
    response_model=EventEnvelope,
    dependencies=READS,
    responses=problems({404: ["not_found"], 410: ["event_expired"]}),
)
async def get_event(_: Reader, events: EventPull, event_id: PathId) -> Response:
    """Get an event.

    It is the same, byte for byte, as webhooks carried it.
    """
    return Response(await events.get(event_id), media_type=JSON)
