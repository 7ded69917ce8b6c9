"""Owns the alerts about Stripe: what the platform's operators have to look at."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.events import Audience, AuditSpec, Event

OPERATORS = "It is about the platform, and stands in the inbox, the outbox or the list of differences."


@dataclass(frozen=True, kw_only=True)
class StripeAlert(Event):
    """Something about Stripe that a person has to look at. `error` is a short text without personal data."""

    audience: ClassVar[Audience] = "internal"
    audit: ClassVar[AuditSpec | str] = OPERATORS

    id: str
    stripe_id: str | None
    organization_id: UUID | None
    error: str


@dataclass(frozen=True, kw_only=True)
class StripeEventDied(StripeAlert):
    """An event of Stripe will not be tried again."""

    type: ClassVar[str] = "stripe.event_dead"
    description: ClassVar[str] = "An event of Stripe could not be processed and is not tried again."
    subject: ClassVar[tuple[str, str] | None] = ("stripe_event", "id")

    event_type: str


@dataclass(frozen=True, kw_only=True)
class StripeCustomerConflict(StripeAlert):
    """An object of Stripe is claimed by two organisations."""

    type: ClassVar[str] = "stripe.customer_conflict"
    description: ClassVar[str] = "An object of Stripe is claimed by an organisation that does not own it."

    kind: str


@dataclass(frozen=True, kw_only=True)
class StripeCommandFailed(StripeAlert):
    """Stripe refused what it was told to do, or could not be reached for too long."""

    type: ClassVar[str] = "stripe.command_failed"
    description: ClassVar[str] = "Something that Stripe was told to do has failed."
    subject: ClassVar[tuple[str, str] | None] = ("stripe_command", "id")

    kind: str


@dataclass(frozen=True, kw_only=True)
class StripeDifferenceFound(StripeAlert):
    """Reconciliation found that Stripe and our rows disagree."""

    type: ClassVar[str] = "stripe.difference_found"
    description: ClassVar[str] = "Stripe and our rows disagree about an object."
    subject: ClassVar[tuple[str, str] | None] = ("stripe_difference", "id")

    kind: str
