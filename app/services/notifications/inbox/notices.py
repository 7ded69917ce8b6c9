"""Owns what a notice is made of, and who makes those of an event."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID

from app.core.database import SystemSession
from app.core.events import Event
from app.core.permissions import Permission
from app.schemas.notifications.words import Level

MailRule = Literal["never", "as_category", "unless_switched_off"]
"""Whether the notice is mailed too: never where its area mails the event itself."""


class Words(NamedTuple):
    """A notice in one language."""

    title: str
    message: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """An event, as the makers of notices get it."""

    event_id: UUID
    type: str
    organization_id: UUID | None
    actor_id: UUID | None
    data: Mapping[str, Any]
    private: Mapping[str, Any]

    @property
    def organization(self) -> UUID:
        """The organisation of an event that has one."""
        if self.organization_id is None:
            raise LookupError(f"{self.type} has no organisation")
        return self.organization_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell, to whom, in both languages.

    It goes to members whose role has `holders` now, and to `people`: members too, unless `is_for_anybody`.
    The person who did it is left out, unless `is_for_actor`. `path` is one of the application.
    """

    category: str
    level: Level
    words: Mapping[str, Words]
    holders: Permission | None = None
    people: Collection[UUID] = ()
    is_for_anybody: bool = False
    is_for_actor: bool = False
    organization_id: UUID | None = None
    path: str | None = None
    mail: MailRule = "never"
    template: str = "notification"
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What a template of its own names beside the words, by language."""

    key: str | None = None
    """What makes two of them one; unsaid: the event."""

    ids: Mapping[str, Any] = field(default_factory=dict)


Maker = Callable[[SystemSession, Fact], Awaitable[list[Notice]]]

MAKERS: dict[str, Maker] = {}
"""Who makes the notices of an event, by its type."""


def notices_for(*classes: type[Event]) -> Callable[[Maker], Maker]:
    """Register the maker of these events, which name the handler `notifications`."""

    def register(maker: Maker) -> Maker:
        for kind in classes:
            if kind.type in MAKERS:
                raise TypeError(f"two makers tell of {kind.type}")
            MAKERS[kind.type] = maker
        return maker

    return register


def in_both(fr: Words, en: Words) -> dict[str, Words]:
    """The two languages of a notice."""
    return {"fr": fr, "en": en}
