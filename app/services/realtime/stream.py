"""What a stream sends: hello, what was missed, what happens, pings, and a word at the end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from pydantic_core import to_jsonable_python

from app.core import clock
from app.core.event_stream import frame
from app.core.metrics import STREAM_DELIVERIES
from app.schemas.realtime import StreamQuery
from app.services.realtime.connections import Bye
from app.services.realtime.cursors import make_cursor
from app.services.realtime.hub import Hub
from app.services.realtime.opening import Opened, Opener, close
from app.services.realtime.reading import read_on
from app.services.realtime.ring import LogEvent
from app.services.realtime.types import wanted_types

RETRY_MS = 2000
PING_SECONDS = 15
AGAIN_SECONDS = 0.5
"""How long a stream that reads the table waits when the database is away."""

CHUNK_BYTES = 64 * 1024
PRESENCE = {"away_seconds": 120, "offline_seconds": 300}
"""After how long without a sign of life a person counts as away, and as offline."""

log = logging.getLogger(__name__)


class Stream:
    """The bytes of one stream; `core/event_stream.py` sends them."""

    def __init__(self, hub: Hub, opened: Opened) -> None:
        self.hub = hub
        self.opened = opened
        self.connection = opened.connection
        self._epoch = hub.epoch
        self._written = 0
        """The position of the last event that was written."""
        self._is_log_away = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Whole events, until the reader or the server has had enough."""
        connection, time = self.connection, asyncio.get_running_loop().time
        yield self._hello()
        events, has_synced = self.opened.first, self.opened.start.mode != "replay"
        ping_at = time() + PING_SECONDS
        while not connection.is_gone:
            for chunk, last, count in pieces(events):
                yield chunk
                self._written = last
                STREAM_DELIVERIES.inc(count)
            if time() >= ping_at:
                yield self._say("ping", {"server_time": clock.now()})
                ping_at = time() + PING_SECONDS
            connection.wake.clear()
            events = await self._next()
            if events or self._has_more:
                continue
            if connection.is_live and not has_synced:
                yield self._say("synced", {"cursor": self._cursor()})
                has_synced = True
            elif connection.bye is not None:
                yield self._goodbye(connection.bye)
                return
            elif connection.has_warning:
                connection.has_warning = False
                yield self._say("auth_expiring", {"auth_expires_at": connection.ends_at})
            else:
                await self._rest(min(ping_at, time() + AGAIN_SECONDS) if self._is_log_away else ping_at)

    def leave(self) -> None:
        """The reader is gone."""
        self.connection.leave()

    def too_slow(self) -> bytes:
        """The last words to a reader that does not read: it goes on after the last event that it was sent."""
        return frame("bye", _bye(Bye("slow_reader")), cursor=make_cursor(self._epoch, self._written))

    async def close(self) -> None:
        """Give back the place of this stream."""
        await close(self.hub, self.connection)

    @property
    def _has_more(self) -> bool:
        """Whether the log has to be read on at once."""
        connection = self.connection
        return not (connection.is_live or connection.bye or self._is_log_away)

    async def _next(self) -> list[LogEvent]:
        """What waits in the queue, or what comes next in the log; nothing more of it once there is a bye."""
        connection = self.connection
        if connection.is_live or connection.bye is not None:
            return connection.take()
        try:
            events = await read_on(self.hub, connection)
        except Exception as error:
            log.warning("A stream cannot read the log, trying again: %s", error)
            self._is_log_away = True
            return []
        self._is_log_away = False
        return events

    async def _rest(self, until: float) -> None:
        """Wait for something to do."""
        try:
            async with asyncio.timeout_at(until):
                await self.connection.wake.wait()
        except TimeoutError:
            pass

    def _cursor(self) -> str:
        """The present cursor; right whenever all that was handed out has been written."""
        self._written = self.connection.reached(self.hub.position)
        return make_cursor(self._epoch, self._written)

    def _say(self, kind: str, data: Mapping[str, Any]) -> bytes:
        return frame(kind, to_jsonable_python(data), cursor=self._cursor())

    def _hello(self) -> bytes:
        opened, connection = self.opened, self.connection
        data = {
            "v": 1,
            "connection_id": connection.id,
            "cursor": opened.cursor,
            "mode": opened.start.mode,
            "reason": opened.start.reason,
            "heartbeat_seconds": PING_SECONDS,
            "server_time": clock.now(),
            "auth_expires_at": connection.ends_at,
            "organization": connection.organization_id,
            "presence": PRESENCE,
        }
        self._written = opened.position
        return b"retry: %d\n" % RETRY_MS + frame("hello", to_jsonable_python(data), cursor=opened.cursor)

    def _goodbye(self, bye: Bye) -> bytes:
        retry = b"" if bye.retry is None else b"retry: %d\n" % bye.retry
        return retry + self._say("bye", _bye(bye))


class StreamService:
    """Opens streams."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener

    async def open(
        self, asked: UUID | None, query: StreamQuery, last_event_id: str | None, *, within: str = "*"
    ) -> Stream:
        """A stream of what the query names and the pattern `within` allows; raises what opening raises."""
        opened = await self.opener.open(
            asked=asked,
            types=wanted_types(query.types, within=within),
            topics=query.topics,
            cursor=last_event_id or query.cursor or query.last_event_id,
            needs_place=True,
        )
        return Stream(self.opener.hub, opened)


Streams = Annotated[StreamService, Depends()]


def _bye(bye: Bye) -> dict[str, Any]:
    return {"code": bye.code, "reconnect": bye.has_return}


def pieces(events: Sequence[LogEvent]) -> Iterator[tuple[bytes, int, int]]:
    """The events on the wire in chunks of about CHUNK_BYTES: bytes, position of the last, and how many."""
    frames: list[bytes] = []
    size = 0
    for event in events:
        frames.append(event.frame)
        size += len(event.frame)
        if size >= CHUNK_BYTES:
            yield b"".join(frames), event.pos, len(frames)
            frames, size = [], 0
    if frames:
        yield b"".join(frames), events[-1].pos, len(frames)
