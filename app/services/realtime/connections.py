"""Open connections: what each may and wants to get, what waits for it, and which ones an event is for."""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from app.core.access import Principal
from app.core.ids import uuid7
from app.core.metrics import STREAMS_LAGGING, STREAMS_OPEN
from app.core.permissions import Permission
from app.models.realtime import readable_types
from app.repositories.realtime import Wanted
from app.services.realtime.ring import LogEvent

MOST_EVENTS = 256
MOST_BYTES = 1024 * 1024
"""What may wait for one connection; one that falls further behind reads ring and log by itself."""

WARNING = timedelta(seconds=60)
"""How long before its session ends a stream says so."""

Ended = Literal["session_revoked", "session_expired"]


@dataclass(frozen=True, slots=True)
class Bye:
    """Why a connection is ended; `retry` is after how many milliseconds its client should come back."""

    code: Ended | Literal["slow_reader", "draining"]
    retry: int | None = None

    @property
    def has_return(self) -> bool:
        """Whether coming back with the same credential makes sense."""
        return self.code in ("slow_reader", "draining")


@dataclass(frozen=True, slots=True)
class Rights:
    """What the access check has found: that the session has ended, or until when and what it may read."""

    ended: Ended | None
    ends_at: datetime | None = None
    organization_id: UUID | None = None
    permissions: frozenset[Permission] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """The API key that a connection was opened with, and the address that it came from."""

    organization_id: UUID
    key_id: UUID
    address: str


class Connection:
    """One stream or poll: a person's session in an organisation, or an API key."""

    def __init__(
        self,
        *,
        user_id: UUID | None = None,
        session_id: UUID | None = None,
        key: KeyCaller | None = None,
        types: frozenset[str] | None = None,
    ) -> None:
        """A person and their session, or a key. Without `types` every event is wanted."""
        self.id = uuid7()
        self.session_id = session_id
        self.key = key
        self.user_id = user_id
        """Whose role decides: the person's own, or that of whoever made the key, unknown until `open`."""
        self.types = types
        self.asked: UUID | None = None
        """The organisation in question, whether or not it may be read; unknown until `open`."""
        self.is_doubtful = False
        """Whether rights have changed, perhaps this one's, while it was being opened."""
        self.counted_as: str | None = None
        """Whose lease it holds."""
        self.wake = asyncio.Event()
        """Set when there is something to do for whoever writes to this connection."""
        self.position = 0
        """What follows it was not handed out yet, be it in the queue or still in the log."""
        self.is_live = False
        """Whether the hub puts events into the queue; otherwise the connection reads ring and log itself."""
        self.is_gone = False
        self.is_warned = False
        self.has_warning = False
        self.bye: Bye | None = None
        self.ends_at: datetime | None = None
        self.organization_id: UUID | None = None
        self.permissions: frozenset[Permission] = frozenset()
        self._own_topics = frozenset({f"user:{user_id}"}) if user_id is not None else frozenset()
        self.topics = self._own_topics
        self._last_check = 0
        self._is_lagging = False
        self._queue: deque[LogEvent] = deque()
        self._queued_bytes = 0

    @property
    def queued(self) -> tuple[int, int]:
        """How many events and bytes wait."""
        return len(self._queue), self._queued_bytes

    @property
    def is_open(self) -> bool:
        """Whether its rights are known, and kept up to date from then on."""
        return self.asked is not None

    def wants(self, event: LogEvent) -> bool:
        """Whether this connection may get an event and has asked for its type."""
        if self.types is not None and event.type not in self.types:
            return False
        if event.extra_topic in self.topics:
            return True
        return event.topic in self.topics and (
            event.audience != "organization" or event.permission in self.permissions
        )

    def wanted(self) -> Wanted:
        """The same for the table."""
        readable = readable_types(Principal(kind="user", permissions=self.permissions))
        return Wanted(sorted(self.topics), readable, None if self.types is None else sorted(self.types))

    def offer(self, event: LogEvent) -> None:
        """Queue an event that is wanted; with too much in the queue, read the log from the last one on."""
        if not self.is_live or self.bye or event.pos <= self.position or not self.wants(event):
            return
        size = len(event.frame)
        if len(self._queue) >= MOST_EVENTS or self._queued_bytes + size > MOST_BYTES:
            self._fall_behind()
        else:
            self._queue.append(event)
            self._queued_bytes += size
        self.wake.set()

    def take(self) -> list[LogEvent]:
        """Hand out what waits."""
        events = list(self._queue)
        self._empty()
        if events:
            self.position = events[-1].pos
        return events

    def go_live(self, position: int) -> None:
        """All up to `position` was handed out; from there on the hub brings the events."""
        self.position = max(self.position, position)
        self.is_live = True
        self._set_lagging(False)

    def reached(self, hub_position: int) -> int:
        """Up to where all that this connection is to get was handed out."""
        return max(self.position, hub_position) if self.is_live and not self._queue else self.position

    def apply(self, rights: Rights, number: int) -> bool:
        """Take over what the check `number` has found; False when a later one has spoken already."""
        if number < self._last_check:
            return False
        self._last_check = number
        self.ends_at = rights.ends_at
        self.organization_id = rights.organization_id
        self.permissions = rights.permissions
        self.topics = self._own_topics
        if rights.organization_id is not None:
            self.topics |= {f"org:{rights.organization_id}"}
        return True

    def drop_unwanted(self) -> None:
        """Take out of the queue what was put there under rights that are gone."""
        kept = [event for event in self._queue if self.wants(event)]
        self._queue = deque(kept)
        self._queued_bytes = sum(len(event.frame) for event in kept)

    def is_due(self, now: datetime) -> bool:
        """Whether its session ends now, or so soon that it must be said."""
        if self.ends_at is None or self.bye is not None:
            return False
        return self.ends_at <= now or (not self.is_warned and self.ends_at - WARNING <= now)

    def warn_if_due(self, now: datetime) -> None:
        """Say once that the session ends soon; activity elsewhere may have moved its end."""
        is_soon = self.ends_at is not None and self.ends_at - WARNING <= now
        if is_soon and not self.is_warned:
            self.has_warning = True
            self.wake.set()
        self.is_warned = is_soon

    def end(self, bye: Bye) -> None:
        """Bring nothing more, and let whoever writes say why; the first reason counts."""
        self.bye = self.bye or bye
        self.wake.set()

    def leave(self) -> None:
        """The client has gone."""
        self.is_gone = True
        self._empty()
        self._set_lagging(False)
        self.wake.set()

    def _fall_behind(self) -> None:
        self._empty()
        self.is_live = False
        self._set_lagging(True)

    def _empty(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    def _set_lagging(self, is_lagging: bool) -> None:
        if is_lagging != self._is_lagging:
            self._is_lagging = is_lagging
            STREAMS_LAGGING.inc(1 if is_lagging else -1)


class Registry:
    """The connections of a process, by topic."""

    def __init__(self) -> None:
        self.all: set[Connection] = set()
        self._by_topic: dict[str, set[Connection]] = {}

    def enter(self, connection: Connection) -> None:
        """Count a connection, and hand it what comes on its topics."""
        self.all.add(connection)
        self._subscribe(connection, connection.topics)
        STREAMS_OPEN.set(len(self.all))

    def leave(self, connection: Connection) -> None:
        """Forget a connection; it may be forgotten already."""
        self.all.discard(connection)
        self._unsubscribe(connection, connection.topics)
        STREAMS_OPEN.set(len(self.all))

    def apply(self, connection: Connection, rights: Rights, number: int) -> None:
        """Take over what an access check has found."""
        before = connection.topics
        if connection.apply(rights, number) and connection in self.all:
            self._unsubscribe(connection, before - connection.topics)
            self._subscribe(connection, connection.topics - before)

    def offer(self, event: LogEvent) -> None:
        """Hand an event to the connections of its topics, once to each."""
        connections = self._by_topic.get(event.topic, set())
        if event.extra_topic is not None:
            connections = connections | self._by_topic.get(event.extra_topic, set())
        for connection in connections:
            connection.offer(event)

    def _subscribe(self, connection: Connection, topics: frozenset[str]) -> None:
        for topic in topics:
            self._by_topic.setdefault(topic, set()).add(connection)

    def _unsubscribe(self, connection: Connection, topics: frozenset[str]) -> None:
        for topic in topics:
            others = self._by_topic.get(topic)
            if others is not None:
                others.discard(connection)
                if not others:
                    del self._by_topic[topic]
