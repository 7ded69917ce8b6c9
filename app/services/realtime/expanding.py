"""What streams add to events: the things that these are about, as they are at the moment of sending.

The log holds ids. So what was changed or deleted meanwhile is shown as it is now, and nothing that a person
wrote stands in the log.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.core.database import Database, SystemSession
from app.services.realtime.ring import LogEvent

Representations = Mapping[UUID, Mapping[str, Any]]
"""Things as JSON values, by their ids; one that is gone is missing."""

Load = Callable[[SystemSession, Collection[UUID]], Awaitable[Representations]]

LOADERS: dict[str, Load] = {}
"""How the things are loaded that event classes name in `expand`: by one statement for all."""


def representation(name: str) -> Callable[[Load], Load]:
    """Register `async def f(session: SystemSession, ids: Collection[UUID]) -> Representations`.

    Whoever may get an event gets the thing with it, so nothing else is judged.
    """

    def register(load: Load) -> Load:
        if name in LOADERS:
            raise TypeError(f"two functions load the representation {name}")
        LOADERS[name] = load
        return load

    return register


async def expand(database: Database, events: Sequence[LogEvent]) -> list[LogEvent]:
    """The same events with their things in `data`, null for one that is gone: a statement for each kind."""
    shown = list(events)
    for name in sorted({event.expand for event in events if event.expand is not None}):
        of_name = ((number, event) for number, event in enumerate(events) if event.expand == name)
        ids = {number: UUID(event.data[f"{name}_id"]) for number, event in of_name}
        async with database.system(autocommit=True) as session:
            found = await LOADERS[name](session, set(ids.values()))
        for number, identifier in ids.items():
            shown[number] = shown[number].expanded(name, found.get(identifier))
    return shown
