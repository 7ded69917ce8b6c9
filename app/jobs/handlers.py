"""What happens after an event: the registry of handlers, and the job that runs those of one event."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core import clock
from app.core.access import Principal
from app.core.database import Database, SystemSession
from app.core.events import REGISTRY, open_private
from app.core.metrics import HANDLE_LAG
from app.jobs.queue import job
from app.models.realtime import EventLog
from app.repositories.realtime import EventLogRepository


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """An event of the log, as its handlers get it."""

    pos: int
    event_id: UUID
    type: str
    audience: str
    topic: str
    extra_topic: str | None
    organization_id: UUID | None
    user_id: UUID | None
    object_type: str | None
    object_id: str | None
    actor_type: str
    actor_id: UUID | None
    session_id: UUID | None
    api_key_id: UUID | None
    outcome: str
    request_id: str | None
    is_webhook: bool
    body: str
    private_sealed: bytes | None
    occurred_at: datetime

    @property
    def data(self) -> dict[str, Any]:
        """The payload, as JSON values."""
        payload: dict[str, Any] = json.loads(self.body)["data"]
        return payload

    @property
    def private(self) -> dict[str, Any]:
        """What `emit` was given for handlers only; empty when there was nothing or the person was erased."""
        return open_private(self.event_id, self.private_sealed)

    @classmethod
    def of(cls, row: EventLog) -> "EventRow":
        """The values of a row, free of its session."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


Handler = Callable[[SystemSession, EventRow], Awaitable[None]]

HANDLERS: dict[str, Handler] = {}
"""Every handler by the name under which event classes ask for it."""


def handler(name: str) -> Callable[[Handler], Handler]:
    """Register `async def h(session: SystemSession, event: EventRow) -> None` for the classes that name it.

    It runs in a transaction of its own, once per event. It writes rows, emits and defers jobs; it makes no
    network call, because its transaction is open.
    """

    def register(function: Handler) -> Handler:
        if name in HANDLERS:
            raise TypeError(f"two handlers have the name {name}")
        HANDLERS[name] = function
        return function

    return register


async def row_of(database: Database, event_id: UUID) -> EventRow | None:
    """An event of the log; None when it is gone."""
    async with database.system(autocommit=True) as session:
        row = await EventLogRepository(session).find(event_id)
    return EventRow.of(row) if row is not None else None


async def handle_event(database: Database, event_id: UUID) -> None:
    """Run every handler of the event's class that has not done its work yet; an event may be gone by then.

    One that raises does not stop the others. Raises an ExceptionGroup of what they raised, and LookupError
    for a class that this code does not know, as an older process of a deployment may not.
    """
    event = await row_of(database, event_id)
    if event is None:
        return
    if event.type not in REGISTRY:
        raise LookupError(f"no event class has the type {event.type}")
    errors: list[Exception] = []
    for name in REGISTRY[event.type].handlers:
        try:
            await _run(database, event, name)
        except Exception as error:
            error.add_note(f"handler {name} of event {event_id} ({event.type})")
            errors.append(error)
    HANDLE_LAG.observe(max((clock.now() - event.occurred_at).total_seconds(), 0.0))
    if errors:
        raise ExceptionGroup(f"{len(errors)} handlers of {event.type} failed", errors)
    if event.private_sealed is not None:
        async with database.transaction() as session:
            await EventLogRepository(session).forget_private(event_id)


async def _run(database: Database, event: EventRow, name: str) -> None:
    """The effect and the record that it happened, in one transaction."""
    function = HANDLERS[name]
    actor = Principal(kind="system", name=name)
    async with database.transaction(principal=actor, request_id=event.request_id) as session:
        if await EventLogRepository(session).claim(event.event_id, name):
            await function(session, event)


@job("events.handle", queue="events", retry_after=(5, 30, 300, 1800, 7200, 21_600))
async def handle(database: Database, *, event_id: str) -> None:
    """Deferred by the sequencer, in the transaction that puts the event into the log."""
    await handle_event(database, UUID(event_id))
