"""The routes of streams: the stream under its addresses, the long poll, and tickets."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app.core.access import Principal, allow, asked_organization
from app.core.errors import problems
from app.core.event_stream import EventStream
from app.core.limits import limited
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.schemas.realtime import EventPoll, PollQuery, StreamQuery, TicketRead
from app.services.realtime.polling import Polls
from app.services.realtime.stream import Streams
from app.services.realtime.tickets import AskedByStream, TicketMarker, Tickets

router = APIRouter(route_class=StrictRoute, prefix="/api/realtime", tags=["realtime"])
events_alias_router = APIRouter(route_class=StrictRoute, prefix="/api/events", tags=["events"])
notifications_alias_router = APIRouter(
    route_class=StrictRoute, prefix="/api/notifications", tags=["notifications"]
)

SignedIn = Annotated[Principal, Depends(allow())]
Poller = Annotated[Principal, Depends(allow(key=Permission.events_read))]
Follower = Annotated[
    Principal, Depends(TicketMarker("allow", is_key_ok=True, key_scope=Permission.events_read))
]
Asked = Annotated[StreamQuery, Query()]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The last `id` that was received; it goes before `cursor`."),
]

IN_ORGANIZATION = {"parameters": [{"$ref": "#/components/parameters/OrganizationId"}]}
"""These routes ask for no permission, and are about an organisation nevertheless."""

STREAM: dict[str, Any] = {
    "response_class": EventStream,
    "status_code": 200,
    "openapi_extra": IN_ORGANIZATION,
    "dependencies": [
        Depends(limited("stream_open_ip", by="address")),
        Depends(limited("stream_open", by="principal")),
    ],
    "responses": problems(
        {
            401: ["ticket_invalid"],
            404: ["not_found"],
            422: ["unknown_event_type"],
            429: ["too_many_streams"],
            503: ["server_draining", "stream_capacity"],
        }
    ),
}


@router.post(
    "/tickets",
    dependencies=[Depends(limited("stream_tickets", by="principal"))],
    openapi_extra=IN_ORGANIZATION,
)
async def create_stream_ticket(_: SignedIn, tickets: Tickets, request: Request) -> TicketRead:
    """Get a ticket for one stream.

    For browsers' EventSource, which cannot send headers: open the stream with `?ticket=` within 30 seconds.
    """
    return await tickets.issue(asked_organization(request))


@router.get("/stream", **STREAM)
async def stream_events(
    _: Follower, streams: Streams, asked: AskedByStream, query: Asked, last_event_id: LastEventId = None
) -> EventStream:
    """Stream events as they happen.

    Server-sent events: `id` is a cursor, `event` the type and `data` the event, with the notice itself as
    `data.notification` in `notification.created`, null when it is gone. It begins with `hello`, whose
    `mode` says how: `live`; `replay`, the missed events up to `synced`; or `reset`, when the cursor was no
    good: load afresh and go on from `cursor`. `ping` comes every 15 seconds, `bye` says why it ends. Return
    with `Last-Event-ID`. Load first, then stream from the `X-Realtime-Cursor` of what was loaded.
    """
    return EventStream(await streams.open(asked, query, last_event_id))


@events_alias_router.get("/stream", deprecated=True, **STREAM)
async def stream_events_alias(
    _: Follower, streams: Streams, asked: AskedByStream, query: Asked, last_event_id: LastEventId = None
) -> EventStream:
    """Stream events as they happen, under an older address.

    See `GET /api/realtime/stream`.
    """
    return EventStream(await streams.open(asked, query, last_event_id))


@notifications_alias_router.get("/stream", deprecated=True, **STREAM)
async def stream_notifications_alias(
    _: Follower, streams: Streams, asked: AskedByStream, query: Asked, last_event_id: LastEventId = None
) -> EventStream:
    """Stream notifications as they happen, under an older address.

    See `GET /api/realtime/stream` with `types=notification.*`.
    """
    return EventStream(await streams.open(asked, query, last_event_id, within="notification.*"))


@router.get(
    "/events",
    response_model=EventPoll,
    openapi_extra=IN_ORGANIZATION,
    dependencies=[Depends(limited("events_pull", by="principal"))],
    responses=problems(
        {
            404: ["not_found"],
            422: ["unknown_event_type"],
            429: ["too_many_streams"],
            503: ["server_draining", "stream_capacity"],
        }
    ),
)
async def poll_events(
    _: Poller, polls: Polls, query: Annotated[PollQuery, Query()], request: Request
) -> Response:
    """Poll for events, where streams do not pass.

    With `wait` the answer comes as soon as there is an event. Without `cursor` it is the present position, to
    begin with. It counts as a stream while it waits.
    """
    return Response(await polls.poll(query, request), media_type="application/json")
