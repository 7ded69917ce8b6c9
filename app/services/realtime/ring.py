"""The newest events in memory, from which most readers that come back are served."""

import json
from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

from app.core.event_stream import frame
from app.core.events import REGISTRY
from app.repositories.realtime import LogRow
from app.services.realtime.cursors import make_cursor

RING_EVENTS = 10_000


class LogEvent:
    """An event of the log as it is sent: written once, however many read it."""

    __slots__ = (
        "_begin",
        "audience",
        "expand",
        "extra_topic",
        "frame",
        "organization_id",
        "permission",
        "pos",
        "topic",
        "type",
    )

    def __init__(self, row: LogRow, epoch: str) -> None:
        self.pos = row.pos
        self.type = row.type
        self.audience = row.audience
        self.topic = row.topic
        self.extra_topic = row.extra_topic
        self.organization_id = row.organization_id
        # A type that only newer processes know has no permission here, so nobody in an organisation gets it.
        known = REGISTRY.get(row.type)
        self.permission = known.read_permission if known else None
        self.expand = known.expand if known else None
        self.frame = frame(row.type, row.body, cursor=make_cursor(epoch, row.pos))
        self._begin = len(self.frame) - len(row.body.encode()) - 2

    @property
    def envelope(self) -> bytes:
        """The body of the row, byte for byte, unless it was expanded."""
        return self.frame[self._begin : -2]

    def expanded(self, name: str, thing: Any) -> "LogEvent":
        """The same event with a thing in its payload."""
        envelope = json.loads(self.envelope)
        envelope["data"][name] = thing
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        made = copy(self)
        made.frame = self.frame[: self._begin] + body + b"\n\n"
        return made

    @property
    def data(self) -> dict[str, Any]:
        """The payload, as JSON values."""
        payload: dict[str, Any] = json.loads(self.envelope)["data"]
        return payload


class Ring:
    """The last events that anybody may get, in order, and by topic."""

    def __init__(self, size: int = RING_EVENTS) -> None:
        self.begin = 0
        """Every event after this position that anybody may get is here."""
        self._size = size
        self._events: deque[LogEvent] = deque()
        self._by_topic: dict[str, deque[LogEvent]] = {}

    def clear(self, begin: int) -> None:
        """Forget all events; those after a position will follow."""
        self.begin = begin
        self._events.clear()
        self._by_topic.clear()

    def add(self, event: LogEvent) -> None:
        """Take the next event, and forget the oldest when there are too many."""
        self._events.append(event)
        for topic in _topics(event):
            self._by_topic.setdefault(topic, deque()).append(event)
        if len(self._events) > self._size:
            self._forget(self._events.popleft())

    def _forget(self, event: LogEvent) -> None:
        self.begin = event.pos
        for topic in _topics(event):
            events = self._by_topic[topic]
            events.popleft()
            if not events:
                del self._by_topic[topic]

    def after(
        self, position: int, topics: Iterable[str], is_wanted: Callable[[LogEvent], bool]
    ) -> list[LogEvent]:
        """What these topics hold after a position that is not before `begin`, in order and each once."""
        found: dict[int, LogEvent] = {}
        for topic in topics:
            for event in reversed(self._by_topic.get(topic, ())):
                if event.pos <= position:
                    break
                found[event.pos] = event
        return [found[pos] for pos in sorted(found) if is_wanted(found[pos])]


def _topics(event: LogEvent) -> set[str]:
    return {event.topic} if event.extra_topic is None else {event.topic, event.extra_topic}
