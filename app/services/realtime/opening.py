"""Opens streams and polls: a place, the rights of the moment, and where in the log the reader begins."""

from dataclasses import dataclass
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import Row

from app.core import clock
from app.core.access import CurrentPrincipal, ended_session
from app.core.client_address import client_address
from app.core.config import get_settings
from app.core.errors import NotFound, TooManyRequests, Unauthenticated, Unavailable, database_unavailable
from app.core.key_access import ended_key_error
from app.core.metrics import STREAM_RESETS
from app.repositories.realtime import LogReader, StreamSessionRepository
from app.services.realtime.access import numbers, rights_of, rights_of_key
from app.services.realtime.connections import Connection, KeyCaller, Rights
from app.services.realtime.cursors import Start, judge_cursor, make_cursor, reset
from app.services.realtime.hub import LEASE, Hub
from app.services.realtime.reading import TABLE_PAGE, read_on
from app.services.realtime.ring import LogEvent

MOST_MISSED = 5_000
"""Whoever missed more events loads afresh, which is cheaper."""

READY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Opened:
    """An open connection, how it begins, and the first of what was missed."""

    connection: Connection
    start: Start
    position: int
    """All up to here was handed out before; `first` follows."""
    cursor: str
    first: list[LogEvent]


def hub_of(request: Request) -> Hub:
    """The hub of the process; 503 where none runs."""
    hub = cast("Hub | None", request.app.state.hub)
    if hub is None:
        raise database_unavailable()
    return hub


HubOf = Annotated[Hub, Depends(hub_of)]


def address_of(request: Request) -> str:
    """The caller's address."""
    return client_address(request.scope, get_settings().trusted_proxies)


AddressOf = Annotated[str, Depends(address_of)]


class StreamOpener:
    """Lets the caller into the hub."""

    def __init__(self, hub: HubOf, principal: CurrentPrincipal, address: AddressOf) -> None:
        self.hub = hub
        self.principal = principal
        self.address = address

    async def open(
        self,
        *,
        asked: UUID | None,
        types: frozenset[str] | None,
        topics: str | None,
        cursor: str | None,
        needs_place: bool,
    ) -> Opened:
        """Enter the hub; whoever opens must `close`. `needs_place`: it stays, and counts as a stream.

        404 for topics beyond the caller's own, which no service offers yet; 401 for a session or a key that
        has ended meanwhile; 429 `too_many_streams`; 503 `server_draining`, `stream_capacity`.
        """
        if topics:
            raise NotFound()
        if not await self.hub.wait_until_ready(READY_SECONDS):
            raise database_unavailable()
        if needs_place:
            self._refuse_when_full()
        connection = self._connection(types)
        self.hub.enter(connection)
        try:
            if needs_place:
                await self._take_lease(connection)
            row = await self._judge(connection, asked)
            start, first = await self._begin(connection, cursor, row)
        except BaseException:
            await close(self.hub, connection)
            raise
        if start.reason is not None:
            STREAM_RESETS.labels(start.reason).inc()
        position = connection.position if start.position is None else start.position
        return Opened(connection, start, position, make_cursor(self.hub.epoch, position), first)

    def _refuse_when_full(self) -> None:
        if self.hub.is_draining:
            raise Unavailable(
                "server_draining",
                "This server is being replaced; connect again.",
                headers={"Retry-After": "1"},
            )
        if len(self.hub.registry.all) >= self.hub.settings.max_streams_per_process:
            raise Unavailable(
                "stream_capacity",
                "This server has no room for more streams; retry.",
                headers={"Retry-After": "2"},
            )

    async def _take_lease(self, connection: Connection) -> None:
        counted_as = self.principal.limit_key
        most = self.hub.settings.max_streams
        if not await self.hub.limiter.take_lease(LEASE, counted_as, str(connection.id), most):
            raise TooManyRequests(
                "too_many_streams",
                f"You have {most} streams open; close one, or share one among your windows.",
                headers={"Retry-After": "5"},
            )
        connection.counted_as = counted_as

    def _connection(self, types: frozenset[str] | None) -> Connection:
        principal = self.principal
        if principal.key_id is not None and principal.organization_id is not None:
            key = KeyCaller(principal.organization_id, principal.key_id, self.address)
            return Connection(key=key, types=types)
        return Connection(user_id=principal.user_id, session_id=principal.session_id, types=types)

    async def _judge(self, connection: Connection, asked: UUID | None) -> Row[tuple[int, int]]:
        """The access check, again if rights have changed while it was being made."""
        while True:
            connection.is_doubtful = False
            number = next(numbers)
            async with self.hub.database.system(autocommit=True) as session:
                row = await _facts(StreamSessionRepository(session), connection, asked)
            if not connection.is_doubtful:
                break
        key, now = connection.key, clock.now()
        rights = rights_of(row, now) if key is None else rights_of_key(row, key.address, now)
        if row is None or rights.ended is not None or _is_revoked(connection):
            raise _ended(connection, rights)
        if key is None:
            connection.asked = row.asked_id
        else:
            connection.asked, connection.user_id = row.organization_id, row.created_by
        self.hub.registry.apply(connection, rights, number)
        return row

    async def _begin(
        self, connection: Connection, cursor: str | None, row: Row[tuple[int, int]]
    ) -> tuple[Start, list[LogEvent]]:
        """Where the reader begins, and what it has missed so far as it is read already."""
        start = judge_cursor(cursor, epoch=self.hub.epoch, head=row.head, floor=row.floor)
        if start.position is None:
            connection.go_live(self.hub.position)
            return start, []
        connection.position = start.position
        missed = await read_on(self.hub, connection)
        if len(missed) > MOST_MISSED or (
            not connection.is_live and await self._is_too_much(connection, missed)
        ):
            connection.go_live(self.hub.position)
            return reset("too_many"), []
        return start, missed

    async def _is_too_much(self, connection: Connection, missed: list[LogEvent]) -> bool:
        if len(missed) < TABLE_PAGE:
            return False
        left = MOST_MISSED - len(missed)
        async with self.hub.database.system(autocommit=True) as session:
            found = await LogReader(session).count(
                connection.wanted(), after=connection.position, upto=self.hub.position, limit=left + 1
            )
        return found > left


async def close(hub: Hub, connection: Connection) -> None:
    """Give back the connection's place and lease."""
    hub.leave(connection)
    if connection.counted_as is not None:
        await hub.limiter.release_lease(LEASE, connection.counted_as, str(connection.id))


async def _facts(
    repository: StreamSessionRepository, connection: Connection, asked: UUID | None
) -> Row[Any] | None:
    """What the access check asks about the session or the key, and where the log stands."""
    if connection.key is not None:
        return await repository.opening_by_key(connection.key.organization_id, connection.key.key_id)
    assert connection.session_id is not None  # noqa: S101 - whoever has no key has a session
    return await repository.opening(connection.session_id, asked)


def _ended(connection: Connection, rights: Rights) -> Unauthenticated:
    if connection.key is None:
        return ended_session(rights.ended)
    return ended_key_error("api_key_expired" if rights.ended == "session_expired" else "api_key_invalid")


def _is_revoked(connection: Connection) -> bool:
    return connection.bye is not None and not connection.bye.has_return


Opener = Annotated[StreamOpener, Depends()]
