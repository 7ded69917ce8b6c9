"""Owns what other areas ask of the inbox, the outbox and the jobs when they apply something of Stripe's."""

from typing import TYPE_CHECKING
from uuid import UUID

from app.repositories.stripe_webhooks.commands import CommandRepository
from app.repositories.stripe_webhooks.events import EventRepository
from app.repositories.stripe_webhooks.queue import wake_catalog_check

if TYPE_CHECKING:
    from app.core.database import ScopedSession
    from app.services.stripe_webhooks.commands import StripeCommandRow
    from app.services.stripe_webhooks.effects import StripeEventRow


async def was_told_before(session: "ScopedSession", event: "StripeEventRow") -> bool:
    """Whether another event of the same type about the same object has had its effect already."""
    return event.object_id is not None and await EventRepository(session).was_applied(
        event.type, event.object_id
    )


async def have_catalog_checked(session: "ScopedSession") -> None:
    """Have every price compared with Stripe's, once this transaction is committed."""
    await wake_catalog_check(session)


async def is_being_told(session: "ScopedSession", organization_id: UUID, *kinds: str, **params: str) -> bool:
    """Whether a command of one of these kinds, with these among its params, is on its way: what Stripe says
    may be out of date.
    """
    return await CommandRepository(session).has_open(organization_id, kinds, params)


async def was_told_meanwhile(session: "ScopedSession", command: "StripeCommandRow") -> bool:
    """Whether another command of the same kind ended while this one was under way: nobody knows which of both
    Stripe has heard last.
    """
    since = command.first_sent_at or command.created_at
    return await CommandRepository(session).has_ended_since(
        command.organization_id, command.kind, since, besides=command.id
    )
