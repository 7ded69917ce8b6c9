"""The long poll: the same log, topics and rules as the stream, one answer at a time."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request

from app.core.access import asked_organization
from app.core.event_stream import until_gone
from app.schemas.realtime import PollQuery
from app.services.realtime.connections import Connection
from app.services.realtime.cursors import Mode, Reason, make_cursor
from app.services.realtime.envelopes import render
from app.services.realtime.hub import Hub
from app.services.realtime.opening import Opened, Opener, close
from app.services.realtime.reading import read_on
from app.services.realtime.ring import LogEvent
from app.services.realtime.types import wanted_types


class PollService:
    """Answers polls."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self.hub: Hub = opener.hub

    async def poll(self, query: PollQuery, request: Request) -> bytes:
        """What follows the cursor as JSON, as soon as there is anything, at the latest after `query.wait`.

        Without a cursor, or with one that cannot be honoured, only the present position.
        """
        opened = await self.opener.open(
            asked=asked_organization(request),
            types=wanted_types(query.types),
            topics=query.topics,
            cursor=query.cursor,
            needs_place=query.wait > 0,
        )
        connection = opened.connection
        try:
            if opened.start.mode != "replay":
                return _render([], opened.cursor, opened.start.mode, opened.start.reason)
            return await self._answer(opened, query, request)
        finally:
            await close(self.hub, connection)

    async def _answer(self, opened: Opened, query: PollQuery, request: Request) -> bytes:
        connection, time = opened.connection, asyncio.get_running_loop().time
        until = time() + query.wait
        events, has_waited = opened.first, False
        while not events:
            connection.wake.clear()
            is_over = connection.bye is not None or connection.is_gone
            can_read = not (connection.is_live or is_over)
            events = await read_on(self.hub, connection) if can_read else connection.take()
            if events or is_over or (connection.is_live and time() >= until):
                break
            if connection.is_live:
                await _rest(connection, until, request)
                has_waited = True
        position = connection.reached(self.hub.position)
        if len(events) > query.limit:
            events = events[: query.limit]
            position = events[-1].pos
        mode: Mode = "replay" if events and not has_waited else "live"
        return _render(events, make_cursor(self.hub.epoch, position), mode)


def _render(events: Sequence[LogEvent], cursor: str, mode: Mode, reason: Reason | None = None) -> bytes:
    envelopes = [event.envelope for event in events]
    return render(envelopes, next_cursor=cursor, total=None, mode=mode, reason=reason)


async def _rest(connection: Connection, until: float, request: Request) -> None:
    """Wait for something to do, for the time to be up, or for the client to go away."""
    try:
        async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
            watcher = group.create_task(_watch(request, connection))
            await connection.wake.wait()
            watcher.cancel()
    except TimeoutError:
        pass


async def _watch(request: Request, connection: Connection) -> None:
    """Let go of the connection when its client goes away."""
    await until_gone(request.receive)
    connection.leave()


Polls = Annotated[PollService, Depends()]
