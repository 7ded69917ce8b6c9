"""Owns the registry of what events of Stripe do here, what an effect is given, and how it may fail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.clients.stripe import StripeClient
from app.services.stripe_webhooks.areas import load_areas

if TYPE_CHECKING:
    from app.core.database import SystemSession


class EventUnresolved(Exception):
    """What the event is about is not here yet, as when our own commit is late: it is tried again.

    After ten minutes it is dead (`unresolved`) or skipped, depending on whether its metadata names us.
    """


class EventOutrun(Exception):
    """What was fetched may be older than what was applied meanwhile: it is fetched once more."""


class EventDead(Exception):
    """The event cannot have its effect before somebody changes something; an alert tells the operators.

    `code` is a stable word such as `unknown_price`. Nothing of the transaction is kept.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


class CustomerConflict(EventDead):
    """An id of Stripe belongs to another organisation than the one that claims it; nothing is changed."""

    def __init__(self, stripe_id: str) -> None:
        super().__init__("customer_conflict", stripe_id)
        self.stripe_id = stripe_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEventRow:
    """An event as its effects see it.

    `hint` is the object as it was delivered, which says what the event is about and never what is true.
    `fetched_at` is the database's time before the object was fetched: a mirror whose `synced_at` is not
    older stays as it is.
    """

    id: str
    type: str
    livemode: bool
    created_at: datetime
    """When it happened, by Stripe's clock, in whole seconds."""
    received_at: datetime
    fetched_at: datetime
    object_type: str | None
    object_id: str | None
    hint: dict[str, Any]
    organization_id: UUID | None

    @property
    def owner(self) -> UUID:
        """The organisation; effects without `platform=True` are called only when there is one."""
        if self.organization_id is None:
            raise EventUnresolved(f"{self.id} belongs to no organisation")
        return self.organization_id

    def is_superseded(self, synced_at: datetime | None) -> bool:
        """Whether a mirror of this age already holds what was fetched, or something newer."""
        return synced_at is not None and synced_at >= self.fetched_at


Effect = Callable[["SystemSession", dict[str, Any], StripeEventRow], Awaitable[str | None]]
"""Applies what was fetched; a word that it answers (`superseded`) is kept in the event's result."""

Further = Callable[[StripeClient, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Fetches more than the object: the members that it answers are added to what effects are given."""


@dataclass(frozen=True, slots=True)
class Registered:
    """An effect and what it needs."""

    effect: Effect
    also: Further | None
    is_platform: bool


_EFFECTS: dict[str, list[Registered]] = {}


def on_stripe(*types: str, also: Further | None = None, platform: bool = False) -> Callable[[Effect], Effect]:
    """Register `async def effect(session, fetched, event) -> None` for these types of events.

    It stands in a module `stripe_effects` below app.services. `fetched` is the object as Stripe holds it now,
    in the form of `processing.FETCHED`, or `{}` for what is gone at Stripe. It runs in the transaction that
    marks the event as done, under a lock on the object, and has to bear any order, number and age of events:
    it writes rows, emits and queues commands, and calls no network. `also` fetches more, before the
    transaction. With `platform` it is called for objects that belong to no organisation. Several effects of
    a type run in the order of their modules' names. Raises EventUnresolved, EventOutrun, EventDead or
    CustomerConflict.
    """

    def register(effect: Effect) -> Effect:
        for kind in types:
            _EFFECTS.setdefault(kind, []).append(Registered(effect, also, platform))
        return effect

    return register


def effects_of(event_type: str) -> list[Registered]:
    """What is registered for a type of events."""
    load_areas()
    return list(_EFFECTS.get(event_type, ()))


def handled_types() -> frozenset[str]:
    """The types of events that have an effect."""
    load_areas()
    return frozenset(_EFFECTS)
