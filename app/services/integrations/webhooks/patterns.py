"""Which types of events an endpoint asks for: a type, `design.*`, or `*`."""

from collections.abc import Collection, Iterable

from app.core.events import REGISTRY
from app.core.permissions import Permission

EVERYTHING = "*"


def patterns_of(event_type: str) -> list[str]:
    """Every pattern that names this type: `a.b.c` is named by itself, `a.b.*`, `a.*` and `*`."""
    parts = event_type.split(".")
    prefixes = [".".join(parts[:length]) + ".*" for length in range(len(parts) - 1, 0, -1)]
    return [event_type, *prefixes, EVERYTHING]


def wants(patterns: Collection[str], event_type: str) -> bool:
    """Whether an endpoint with these patterns gets events of this type."""
    return not set(patterns).isdisjoint(patterns_of(event_type))


def needed_for(patterns: Collection[str]) -> frozenset[Permission]:
    """What somebody has to be allowed to read in order to be sent events of these types."""
    carried = [event for event in REGISTRY.values() if event.webhook and wants(patterns, event.type)]
    return frozenset(event.read_permission for event in carried if event.read_permission is not None)


def unknown_patterns(patterns: Iterable[str]) -> list[int]:
    """The places of patterns that name no type which webhooks carry."""
    known = {pattern for event in REGISTRY.values() if event.webhook for pattern in patterns_of(event.type)}
    return [place for place, pattern in enumerate(patterns) if pattern not in known]
