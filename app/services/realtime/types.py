"""Which types of events a reader asks for, and what the catalogue says of each type."""

from collections.abc import Iterable

from app.core.errors import FieldError, Invalid
from app.core.events import REGISTRY, Event


def public_events() -> list[type[Event]]:
    """The classes that somebody outside may hear of, by type."""
    return [event for _, event in sorted(REGISTRY.items()) if event.audience != "internal"]


def wanted_types(patterns: str | None, *, within: str = "*") -> frozenset[str] | None:
    """The types that a comma list such as `order.*,session.revoked` names; None without a list: all.

    `within` narrows what may be named at all. 422 `unknown_event_type` for a pattern that names none.
    """
    known = set(_matching(within, (event.type for event in public_events())))
    if patterns is None:
        return None if within == "*" else frozenset(known)
    found: set[str] = set()
    for pattern in patterns.split(","):
        named = set(_matching(pattern.strip(), known))
        if not named:
            detail = "There is no such type of event; GET /api/events/types lists them."
            raise Invalid(
                "unknown_event_type", detail, errors=[FieldError("/types", "unknown_event_type", detail)]
            )
        found |= named
    return frozenset(found)


def _matching(pattern: str, types: Iterable[str]) -> Iterable[str]:
    if pattern == "*":
        return types
    if pattern.endswith(".*"):
        return (name for name in types if name.startswith(pattern[:-1]))
    return (name for name in types if name == pattern)
