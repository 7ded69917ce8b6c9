"""Events and connections made by hand, for tests that need no database."""

from uuid import UUID

from app.core.ids import uuid7
from app.repositories.realtime import LogRow
from app.services.realtime.connections import Connection
from app.services.realtime.ring import LogEvent

EPOCH = "epoch777"


def log_event(
    pos: int,
    topic: str = "user:a",
    *,
    extra: str | None = None,
    kind: str = "test.seen",
    organization_id: UUID | None = None,
    body: str = "{}",
) -> LogEvent:
    """An event of the log as the hub loads it; the topic says whose it is."""
    audience = {"org": "organization", "user": "personal"}.get(topic.partition(":")[0], "topic")
    return LogEvent(LogRow(pos, kind, audience, topic, extra, organization_id, body), EPOCH)


def connection(*, user_id: UUID | None = None, types: frozenset[str] | None = None) -> Connection:
    """A connection of somebody, not open yet."""
    return Connection(user_id=user_id or uuid7(), session_id=uuid7(), types=types)
