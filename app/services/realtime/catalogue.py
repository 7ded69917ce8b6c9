"""The catalogue of event types, with the schema of their data and a sample of each."""

import dataclasses
import types
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from app.core.events import API_VERSION, Event
from app.schemas.realtime import EventTypeRead
from app.services.realtime.types import public_events

SAMPLE_ID = "0197a5c2-7d3e-7b1a-9c4f-2e8d6a1b5c3f"
SAMPLE_TIME = "2026-01-02T03:04:05.678Z"

SCALARS: dict[Any, Callable[[str], Any]] = {
    UUID: lambda _: SAMPLE_ID,
    datetime: lambda _: SAMPLE_TIME,
    bool: lambda _: True,
    int: lambda _: 1,
    float: lambda _: 1.0,
    str: lambda name: "EUR" if name == "currency" else "client@example.com" if "email" in name else name,
}
"""What a field of a type shows, by its name."""


def catalogue() -> list[EventTypeRead]:
    """Every type that somebody outside may hear of."""
    return [
        _DESCRIBED.get(event) or _DESCRIBED.setdefault(event, _described(event)) for event in public_events()
    ]


_DESCRIBED: dict[type[Event], EventTypeRead] = {}
"""What was described once, since schemas take their time."""


def _described(event: type[Event]) -> EventTypeRead:
    return EventTypeRead(
        type=event.type,
        description=event.description,
        audience=event.audience,  # type: ignore[arg-type]  # internal ones are left out
        read_permission=event.read_permission.value if event.read_permission else None,
        webhook=event.webhook,
        data_schema=TypeAdapter(event).json_schema(mode="serialization"),
        sample=_sample(event),
    )


def _sample(event: type[Event]) -> dict[str, Any]:
    about = event.subject
    is_shared = event.audience == "organization"
    return {
        "id": SAMPLE_ID,
        "type": event.type,
        "timestamp": SAMPLE_TIME,
        "api_version": API_VERSION,
        "livemode": True,
        "organization_id": SAMPLE_ID if is_shared else None,
        "actor": {"type": "user", "id": SAMPLE_ID},
        "object": {"type": about[0], "id": SAMPLE_ID} if about else None,
        "data": _fields(event),
    }


def _fields(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    kinds = {field.name.rstrip("_"): hints[field.name] for field in dataclasses.fields(kind)}
    return {name: _value(name, hint) for name, hint in kinds.items()}


def _value(name: str, kind: Any) -> Any:
    """A plausible value of a field."""
    if kind in SCALARS:
        return SCALARS[kind](name)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return to_jsonable_python(arguments[0])
    if origin in (Union, types.UnionType):
        return _value(name, next(choice for choice in arguments if choice is not type(None)))
    if origin in (list, tuple, frozenset):
        return [_value(name, arguments[0])]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _fields(kind)
    return {}
